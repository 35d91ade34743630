//! Lambda's Runtime API, as thin as it can be: it hands an event to the process that asks for one, and notes when its answer has
//! arrived.
//!
//! The harness of the tests watches processes and keeps what they say; here nothing runs beside a measured call. What remains is
//! measured too ([`overhead`]). It serves one process.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::http_server;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// A Runtime API; dropping it ends it.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    /// What an invocation is told of the time that it has.
    timeout: Duration,
    next: AtomicU64,
    polls: tokio::sync::Mutex<Polls>,
    calls: Calls,
    _serving: JoinSet<()>,
}

/// An event on its way; the answer is its own.
pub(crate) struct Call {
    handed_over: Instant,
    answered: oneshot::Receiver<(Result<Bytes, Bytes>, Instant)>,
}

/// What came back for an event.
pub(crate) struct Answered {
    /// What the process said: an answer, or an error of the function.
    pub(crate) said: Result<Bytes, Bytes>,
    /// When it had arrived.
    pub(crate) at: Instant,
    /// How long that was after the event had been handed over.
    pub(crate) took: Duration,
}

/// Who waits for work.
struct Polls {
    arriving: mpsc::UnboundedReceiver<Poll>,
    /// Who was seen waiting already.
    seen: Option<Poll>,
}

/// A process that waits for work.
struct Poll {
    at: Instant,
    event: oneshot::Sender<Event>,
}

/// An event as a process gets it.
struct Event {
    id: String,
    deadline_ms: i64,
    payload: Bytes,
}

/// Who waits for the answer to which event.
type Calls = Arc<Mutex<HashMap<String, oneshot::Sender<(Result<Bytes, Bytes>, Instant)>>>>;

const ROOT: &str = "/2018-06-01/runtime/";

impl RuntimeApi {
    pub(crate) async fn start(timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (polls, arriving) = mpsc::unbounded_channel();
        let calls = Calls::default();
        let settled = Arc::clone(&calls);
        let mut serving = JoinSet::new();
        serving.spawn(http_server::serve(listener, move |request| {
            respond(request, polls.clone(), Arc::clone(&settled))
        }));
        Self {
            address,
            timeout,
            next: AtomicU64::new(1),
            polls: tokio::sync::Mutex::new(Polls {
                arriving,
                seen: None,
            }),
            calls,
            _serving: serving,
        }
    }

    /// Where the process finds it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the process asks for work, and returns when that was. It goes on waiting.
    pub(crate) async fn asked_at(&self) -> Instant {
        let mut polls = self.polls.lock().await;
        let poll = polls.next().await;
        let at = poll.at;
        polls.seen = Some(poll);
        at
    }

    /// Hands an event to the process as soon as it asks for one.
    pub(crate) async fn call(&self, payload: Bytes) -> Call {
        let poll = self.polls.lock().await.next().await;
        // The ids of Lambda are UUIDs, and there are clients that want one.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let (settle, answered) = oneshot::channel();
        self.calls.lock().insert(id.clone(), settle);
        let timeout_ms = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let event = Event {
            id,
            deadline_ms: Timestamp::now().as_millisecond() + timeout_ms,
            payload,
        };
        let handed_over = Instant::now();
        // Fails when the process is gone; then no answer comes.
        let _ = poll.event.send(event);
        Call {
            handed_over,
            answered,
        }
    }
}

impl Polls {
    async fn next(&mut self) -> Poll {
        match self.seen.take() {
            Some(poll) => poll,
            // The server holds the other end, and lives as long as this does.
            None => self.arriving.recv().await.expect("the server runs"),
        }
    }
}

impl Call {
    /// What came back. Waits for ever where nothing does.
    pub(crate) async fn answered(self) -> Answered {
        match self.answered.await {
            Ok((said, at)) => Answered {
                said,
                at,
                took: at - self.handed_over,
            },
            Err(_) => std::future::pending().await,
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    polls: mpsc::UnboundedSender<Poll>,
    calls: Calls,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let route = parts.uri.path().strip_prefix(ROOT).unwrap_or_default();
    let said = match (parts.method, route) {
        (Method::GET, "invocation/next") => {
            let (event, handed_over) = oneshot::channel();
            let at = Instant::now();
            // Fails only while everything ends.
            let _ = polls.send(Poll { at, event });
            return Ok(match handed_over.await {
                Ok(event) => deliver(event),
                Err(_) => std::future::pending().await,
            });
        }
        (Method::POST, route) => body.collect().await.map(|body| (route, body.to_bytes())),
        _ => return Ok(status(StatusCode::NOT_FOUND)),
    };
    // A body that breaks off belongs to a process that is about to end.
    let Ok((route, body)) = said else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let at = Instant::now();
    let mut words = route.split('/').skip(1);
    let (id, word) = (words.next().unwrap_or_default(), words.next());
    let said = match word {
        Some("response") => Ok(body),
        _ => Err(body),
    };
    if let Some(settle) = calls.lock().remove(id) {
        // Fails when nobody waits for it any more.
        let _ = settle.send((said, at));
    }
    Ok(status(StatusCode::ACCEPTED))
}

fn deliver(event: Event) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", event.id)
        .header("lambda-runtime-deadline-ms", event.deadline_ms)
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:bench",
        )
        .header(
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        )
        .body(Full::new(event.payload))
        .expect("an id, a number and two texts are valid header values")
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    response
}

/// How long a call takes that nobody works on: a client on this thread that answers at once. So much of every latency is this
/// module's and the kernel's.
pub(crate) async fn overhead(payload: &Bytes, calls: usize) -> Vec<Duration> {
    let api = RuntimeApi::start(Duration::from_secs(60)).await;
    let mut client = JoinSet::new();
    client.spawn(answer_at_once(api.address()));
    let mut took = Vec::new();
    for _ in 0..calls {
        let call = api.call(payload.clone()).await;
        took.push(call.answered().await.took);
    }
    took
}

/// Asks for work and answers it, for ever.
async fn answer_at_once(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let next = format!("GET {ROOT}invocation/next HTTP/1.1\r\nhost: {address}\r\n\r\n");
    loop {
        let event = exchange(&mut stream, &next).await;
        let id = event
            .lines()
            .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "));
        let id = id.unwrap_or_default();
        let answer = format!(
            "POST {ROOT}invocation/{id}/response HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        exchange(&mut stream, &answer).await;
    }
}

/// Sends a request and reads the answer, which has a `content-length`.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    let written = stream.write_all(request.as_bytes()).await;
    written.expect("the server runs");
    let mut answer = Vec::new();
    loop {
        let read = stream.read_buf(&mut answer).await.expect("the server runs");
        assert!(read > 0, "the server runs");
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            return head.to_owned();
        }
    }
}
