//! The provider's network interface. It passes HTTP requests to a [`Bank`], sends events, and injects faults.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use harness::background_runtime::BackgroundRuntime;
use harness::http_server;
use harness::stripe_event::StripeEvent;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use url::form_urlencoded;

use super::bank::{Answer, Bank, Change, order_in};
use super::between;
use super::provider_fault::ProviderFault;

/// A running provider. Dropping this value ends the provider.
pub(super) struct Provider {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: BackgroundRuntime,
}

struct State {
    bank: Mutex<Bank>,
    /// The start of the hunt. The times in requests are measured from this start.
    began: Instant,
    /// Whether the provider injects faults into requests.
    is_faulty: AtomicBool,
    rng: Mutex<Rng>,
    /// The channel on which a waiting fault gets the next `POST` request; `None` if no fault waits.
    catching: Mutex<Option<oneshot::Sender<Caught>>>,
    /// The queue of events that the webhook must get.
    events: mpsc::UnboundedSender<StripeEvent>,
}

/// An executed request whose sender has no response yet.
pub(super) struct Caught {
    /// The process that sent the request.
    pub(super) process: usize,
    /// The provider sends the response when this value is dropped.
    pub(super) _held_back: oneshot::Sender<()>,
}

/// The minimum delay of a late request and of a late response.
const SOONEST_REQUEST: Duration = Duration::from_millis(400);
/// The maximum delay of a late request and of a late response.
const LATEST_REQUEST: Duration = Duration::from_millis(4_500);
/// The longest time until a customer or a bank acts on an intent.
const SLOWEST_CUSTOMER: Duration = Duration::from_millis(1_500);

/// Whether the provider replays its first response to a repeated key. The provider does so in rounds with an even seed.
fn remembers_keys(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

impl Provider {
    /// Starts a provider, which sends events about its intents to `events`.
    pub(super) async fn start(
        seed: u64,
        began: Instant,
        events: mpsc::UnboundedSender<StripeEvent>,
    ) -> Self {
        let state = Arc::new(State {
            began,
            bank: Mutex::new(Bank::new(seed, remembers_keys(seed))),
            is_faulty: AtomicBool::new(false),
            rng: Mutex::new(Rng::with_seed(seed)),
            catching: Mutex::default(),
            events,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let listener = listener.into_std().expect("a socket");
        let runtime = BackgroundRuntime::start("provider");
        let serving = Arc::clone(&state);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            http_server::serve(listener, move |request| {
                respond(Arc::clone(&serving), request)
            })
            .await;
        });
        Self {
            address,
            state,
            _runtime: runtime,
        }
    }

    /// The provider's URL for the process with this number.
    pub(super) fn url(&self, process: usize) -> String {
        format!("http://{}/{process}/", self.address)
    }

    /// Waits at most `limit` for the next `POST` request. The provider executes that request and holds the response
    /// back.
    pub(super) async fn catch(&self, limit: Duration) -> Option<Caught> {
        let (caught, catching) = oneshot::channel();
        *self.state.catching.lock() = Some(caught);
        let caught = tokio::time::timeout(limit, catching).await;
        caught.ok()?.ok()
    }

    /// Starts or stops the injection of faults into requests.
    pub(super) fn set_faulty(&self, is_faulty: bool) {
        self.state.is_faulty.store(is_faulty, Ordering::SeqCst);
    }

    /// Calls `look` with the provider's state, and returns the result.
    pub(super) fn books<T>(&self, look: impl FnOnce(&Bank) -> T) -> T {
        look(&self.state.bank.lock())
    }
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let request = ProviderRequest::read(request).await?;
    let fault = match state.is_faulty.load(Ordering::SeqCst) {
        true => ProviderFault::draw(&mut state.rng.lock()),
        false => None,
    };
    let (status, body) = match fault {
        None => {
            let answer = state.answer(&request);
            state.hold_back(&request).await;
            answer
        }
        Some(fault) => state.respond_with_fault(fault, request).await?,
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response
        .body(Full::new(body.to_string().into()))
        .expect("a status and a body"))
}

struct ProviderRequest {
    /// The process that sent the request.
    process: usize,
    method: Method,
    path: String,
    form: BTreeMap<String, String>,
    key: Option<String>,
    arrived: Instant,
}

impl ProviderRequest {
    async fn read(request: Request<Incoming>) -> Result<Self, &'static str> {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|_| "the request broke off")?.to_bytes();
        let key = parts.headers.get("idempotency-key");
        let path = parts.uri.path().trim_start_matches('/');
        let (process, path) = path.split_once('/').unwrap_or_default();
        Ok(Self {
            process: process.parse().unwrap_or(usize::MAX),
            method: parts.method,
            path: path.to_owned(),
            form: form(&body),
            key: key.and_then(|key| key.to_str().ok()).map(str::to_owned),
            arrived,
        })
    }

    /// The time at which the process got the client's request. `None` if the process's request to the provider does not
    /// contain this time.
    fn sent(&self, began: Instant) -> Option<Instant> {
        let sent = self.form.get("metadata[sent_ms]")?.parse().ok()?;
        Some(began + Duration::from_millis(sent))
    }

    fn order(&self, bank: &Bank) -> Option<usize> {
        let intent = self.path.split('/').nth(2).unwrap_or_default();
        order_in(&self.form).or_else(|| bank.order_of(intent))
    }
}

impl fmt::Display for ProviderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            method,
            path,
            ..
        } = self;
        write!(f, "process {process} to the provider: {method} {path}")
    }
}

impl State {
    fn answer(self: &Arc<Self>, request: &ProviderRequest) -> Answer {
        let mut bank = self.bank.lock();
        let (answer, change) = match bank.remembered(request.key.as_deref()) {
            Some(answer) => (answer, None),
            None => done(&mut bank, request, self.began),
        };
        bank.remember(request.key.as_deref(), &answer);
        let (order, status) = (request.order(&bank), answer.1["status"].as_str());
        let line = format!("{request} -> {} {}", answer.0, status.unwrap_or_default());
        bank.note(order, line);
        drop(bank);
        if let Some(change) = change {
            self.send_event(&change);
        }
        answer
    }

    /// If a fault waits for a request, holds the response back until the fault has killed or frozen the sender of the
    /// request.
    async fn hold_back(&self, request: &ProviderRequest) {
        if request.method != Method::POST {
            return;
        }
        let Some(catching) = self.catching.lock().take() else {
            return;
        };
        let (held_back, let_go) = oneshot::channel();
        let process = request.process;
        let caught = Caught {
            process,
            _held_back: held_back,
        };
        if catching.send(caught).is_ok() {
            // This wait ends with an error when the fault drops `Caught`.
            let _ = let_go.await;
        }
    }

    /// Returns the response to a request with a fault. An `Err` breaks the connection.
    async fn respond_with_fault(
        self: &Arc<Self>,
        fault: ProviderFault,
        request: ProviderRequest,
    ) -> Result<Answer, &'static str> {
        self.note(fault, &request);
        Ok(match fault {
            ProviderFault::Lost => std::future::pending().await,
            ProviderFault::Late => {
                let (state, late) = (Arc::clone(self), self.draw_lateness());
                tokio::spawn(async move {
                    sleep(late).await;
                    state.answer(&request);
                });
                std::future::pending().await
            }
            ProviderFault::AnswerLate => {
                let answer = self.answer(&request);
                sleep(self.draw_lateness()).await;
                answer
            }
            ProviderFault::AnswerLost => {
                self.answer(&request);
                std::future::pending().await
            }
            ProviderFault::Broken => {
                self.answer(&request);
                return Err("the connection breaks");
            }
            ProviderFault::ErrorBefore => self.error(&request),
            ProviderFault::ErrorAfter => {
                self.answer(&request);
                self.error(&request)
            }
            ProviderFault::TooMany => (429, json!({"error": {"type": "rate_limit_error"}})),
            ProviderFault::Busy => (409, json!({"error": {"type": "idempotency_error"}})),
            ProviderFault::Missing => (404, json!({"error": {"type": "invalid_request_error"}})),
        })
    }

    fn note(&self, fault: ProviderFault, request: &ProviderRequest) {
        let mut bank = self.bank.lock();
        let order = request.order(&bank);
        bank.note(order, format!("{request}: {fault:?}"));
    }

    fn draw_lateness(&self) -> Duration {
        between(&mut self.rng.lock(), SOONEST_REQUEST..LATEST_REQUEST)
    }

    /// A server error. If the provider remembers keys, it replays this error to later requests with the same key, as
    /// Stripe does.
    fn error(&self, request: &ProviderRequest) -> Answer {
        let error = (500, json!({"error": {"type": "api_error"}}));
        self.bank.lock().remember(request.key.as_deref(), &error);
        error
    }

    /// Sends Stripe's event about a change. If a customer or a bank acts next, this function also schedules that
    /// action.
    fn send_event(self: &Arc<Self>, change: &Change) {
        let number = self.rng.lock().u64(..);
        let event = StripeEvent::about(&format!("evt_{number:016x}"), change.kind, &change.intent);
        // Sending fails only if the receiver has ended. The receiver ends after the hunt.
        let _ = self.events.send(event);
        if let (Some(next), Some(id)) = (change.next, change.intent["id"].as_str()) {
            let (state, id) = (Arc::clone(self), id.to_owned());
            let pause = between(&mut self.rng.lock(), Duration::ZERO..SLOWEST_CUSTOMER);
            tokio::spawn(async move {
                sleep(pause).await;
                let change = state.bank.lock().advance(&id, next);
                if let Some(change) = change {
                    state.send_event(&change);
                }
            });
        }
    }
}

fn done(bank: &mut Bank, request: &ProviderRequest, began: Instant) -> (Answer, Option<Change>) {
    let path: Vec<_> = request.path.trim_start_matches("v1/").split('/').collect();
    match (&request.method, &path[..]) {
        (&Method::POST, ["charges"]) => {
            let sent = request.sent(began);
            (bank.charge(&request.form, sent, request.arrived), None)
        }
        (&Method::POST, ["payment_intents"]) => bank.create(request.form.clone()),
        (&Method::POST, ["payment_intents", id, "confirm"]) => bank.confirm(id),
        (&Method::POST, ["payment_intents", id, "cancel"]) => bank.cancel(id),
        (&Method::GET, ["payment_intents", id]) => (bank.inspect(id), None),
        _ => (
            (404, json!({"error": {"type": "invalid_request_error"}})),
            None,
        ),
    }
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}
