//! A server that counts executions. Contestants call the server for each execution. The server can hold its answers back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harness::http_server;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running counter. The server ends when this value is dropped.
pub(crate) struct ExecutionCounter {
    address: SocketAddr,
    executions_by_key: Arc<Mutex<HashMap<String, usize>>>,
    /// Whether the server sends its answers.
    is_open: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

/// The time limit for the start of the work, longer than any contestant needs after it has received the Lambda event.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(2);

impl ExecutionCounter {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let executions_by_key = Arc::default();
        let (is_open, gate) = watch::channel(true);
        let mut serving = JoinSet::new();
        let counting = Arc::clone(&executions_by_key);
        serving.spawn(http_server::serve(listener, move |request| {
            answer(request, Arc::clone(&counting), gate.clone())
        }));
        Self {
            address,
            executions_by_key,
            is_open,
            _serving: serving,
        }
    }

    /// The URL for contestants' work.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/work", self.address)
    }

    /// Holds all answers back until the next call of `open`.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Sends the answers that were held back, and sends later answers at once.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// The number of executions of a key.
    pub(crate) fn executions(&self, key: &str) -> usize {
        self.executions_by_key
            .lock()
            .get(key)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until the work of a key has started; `false` on a timeout.
    pub(crate) async fn has_started(&self, key: &str) -> bool {
        let started = async {
            while self.executions(key) == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, started).await.is_ok()
    }
}

async fn answer(
    request: Request<Incoming>,
    executions_by_key: Arc<Mutex<HashMap<String, usize>>>,
    mut gate: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let report: Value = serde_json::from_slice(&body).unwrap_or_default();
    let key = report["key"].as_str().unwrap_or_default().to_owned();
    *executions_by_key.lock().entry(key).or_default() += 1;
    // An error means that the counter has ended.
    let _ = gate.wait_for(|is_open| *is_open).await;
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}
