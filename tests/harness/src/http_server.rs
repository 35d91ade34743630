//! An HTTP server on an existing listener. The caller's function returns the answers.

use std::error::Error;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers every request with the result of `respond`, until this future is dropped. Dropping the future closes the
/// connections. An error of `respond` breaks the connection.
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
        // After an error, the connection still works, only with more latency.
        let _ = stream.set_nodelay(true);
        let service = service_fn(respond.clone());
        connections.spawn(async move {
            // An error means that the client is gone, or that `respond` returned an error to break the connection.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
