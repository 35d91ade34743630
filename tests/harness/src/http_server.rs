//! HTTP in front of a function of the harness, on a listener that is there already.

use std::error::Error;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers every request with what `respond` makes of it, until this is dropped, and the connections with it. An error breaks the
/// connection instead.
pub async fn serve<R, B, E>(
    listener: TcpListener,
    respond: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static,
) where
    R: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Only latency is lost without it.
        let _ = stream.set_nodelay(true);
        let service = service_fn(respond.clone());
        connections.spawn(async move {
            // An error says that the client is gone, or that the connection was to break.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
