//! The provider's network interface: HTTP in front of a [`Bank`], with lost responses and events.

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
use super::mishap::Mishap;

/// A running provider. Dropping it ends it.
pub(super) struct Provider {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: BackgroundRuntime,
}

struct State {
    bank: Mutex<Bank>,
    /// The start of the hunt, from which senders count.
    began: Instant,
    /// Whether requests may have faults.
    is_faulty: AtomicBool,
    rng: Mutex<Rng>,
    /// The receiver of the next request that changes something.
    catching: Mutex<Option<oneshot::Sender<Caught>>>,
    events: mpsc::UnboundedSender<StripeEvent>,
}

/// An executed request whose sender has no response yet.
pub(super) struct Caught {
    /// The process that sent the request.
    pub(super) process: usize,
    /// The response is sent when this is dropped.
    pub(super) _held_back: oneshot::Sender<()>,
}

/// The lateness of late requests and responses.
const SOONEST_REQUEST: Duration = Duration::from_millis(400);
const LATEST_REQUEST: Duration = Duration::from_millis(4_500);
/// The longest time that a customer or a bank takes.
const SLOWEST_CUSTOMER: Duration = Duration::from_millis(1_500);

/// Whether the provider replays its response to a repeated key. Every second seed has one that does.
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

    /// The provider's URL for a process.
    pub(super) fn url(&self, process: usize) -> String {
        format!("http://{}/{process}/", self.address)
    }

    /// Waits at most `limit` for the next request that changes something. It is executed, and its response is held back.
    pub(super) async fn catch(&self, limit: Duration) -> Option<Caught> {
        let (caught, catching) = oneshot::channel();
        *self.state.catching.lock() = Some(caught);
        let caught = tokio::time::timeout(limit, catching).await;
        caught.ok()?.ok()
    }

    /// Switches faults of requests on or off.
    pub(super) fn set_faulty(&self, is_faulty: bool) {
        self.state.is_faulty.store(is_faulty, Ordering::SeqCst);
    }

    /// Reads the provider's state.
    pub(super) fn books<T>(&self, look: impl FnOnce(&Bank) -> T) -> T {
        look(&self.state.bank.lock())
    }
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let asked = Asked::read(request).await?;
    let mishap = match state.is_faulty.load(Ordering::SeqCst) {
        true => Mishap::draw(&mut state.rng.lock()),
        false => None,
    };
    let (status, body) = match mishap {
        None => {
            let answer = state.answer(&asked);
            state.hold_back(&asked).await;
            answer
        }
        Some(mishap) => state.suffer(mishap, asked).await?,
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response
        .body(Full::new(body.to_string().into()))
        .expect("a status and a body"))
}

struct Asked {
    /// The process that sent the request.
    process: usize,
    method: Method,
    path: String,
    form: BTreeMap<String, String>,
    key: Option<String>,
    arrived: Instant,
}

impl Asked {
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

    /// The time at which a process got the client's request, if the request contains it.
    fn sent(&self, began: Instant) -> Option<Instant> {
        let sent = self.form.get("metadata[sent_ms]")?.parse().ok()?;
        Some(began + Duration::from_millis(sent))
    }

    fn order(&self, bank: &Bank) -> Option<usize> {
        let intent = self.path.split('/').nth(2).unwrap_or_default();
        order_in(&self.form).or_else(|| bank.order_of(intent))
    }
}

impl fmt::Display for Asked {
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
    fn answer(self: &Arc<Self>, asked: &Asked) -> Answer {
        let mut bank = self.bank.lock();
        let (answer, change) = match bank.remembered(asked.key.as_deref()) {
            Some(answer) => (answer, None),
            None => done(&mut bank, asked, self.began),
        };
        bank.remember(asked.key.as_deref(), &answer);
        let (order, status) = (asked.order(&bank), answer.1["status"].as_str());
        let line = format!("{asked} -> {} {}", answer.0, status.unwrap_or_default());
        bank.note(order, line);
        drop(bank);
        if let Some(change) = change {
            self.tell(&change);
        }
        answer
    }

    /// Holds the response back while a fault acts on its sender.
    async fn hold_back(&self, asked: &Asked) {
        if asked.method != Method::POST {
            return;
        }
        let Some(catching) = self.catching.lock().take() else {
            return;
        };
        let (held_back, let_go) = oneshot::channel();
        let process = asked.process;
        let caught = Caught {
            process,
            _held_back: held_back,
        };
        if catching.send(caught).is_ok() {
            // The error is the signal: the sender was dropped.
            let _ = let_go.await;
        }
    }

    /// The response to a request with a fault. An error breaks the connection.
    async fn suffer(
        self: &Arc<Self>,
        mishap: Mishap,
        asked: Asked,
    ) -> Result<Answer, &'static str> {
        self.note(mishap, &asked);
        Ok(match mishap {
            Mishap::Lost => std::future::pending().await,
            Mishap::Late => {
                let (state, late) = (Arc::clone(self), self.draw_lateness());
                tokio::spawn(async move {
                    sleep(late).await;
                    state.answer(&asked);
                });
                std::future::pending().await
            }
            Mishap::AnswerLate => {
                let answer = self.answer(&asked);
                sleep(self.draw_lateness()).await;
                answer
            }
            Mishap::AnswerLost => {
                self.answer(&asked);
                std::future::pending().await
            }
            Mishap::Broken => {
                self.answer(&asked);
                return Err("the connection breaks");
            }
            Mishap::ErrorBefore => self.error(&asked),
            Mishap::ErrorAfter => {
                self.answer(&asked);
                self.error(&asked)
            }
            Mishap::TooMany => (429, json!({"error": {"type": "rate_limit_error"}})),
            Mishap::Busy => (409, json!({"error": {"type": "idempotency_error"}})),
            Mishap::Missing => (404, json!({"error": {"type": "invalid_request_error"}})),
        })
    }

    fn note(&self, mishap: Mishap, asked: &Asked) {
        let mut bank = self.bank.lock();
        let order = asked.order(&bank);
        bank.note(order, format!("{asked}: {mishap:?}"));
    }

    fn draw_lateness(&self) -> Duration {
        between(&mut self.rng.lock(), SOONEST_REQUEST..LATEST_REQUEST)
    }

    /// A server error, which the provider replays to the same key, as Stripe does.
    fn error(&self, asked: &Asked) -> Answer {
        let error = (500, json!({"error": {"type": "api_error"}}));
        self.bank.lock().remember(asked.key.as_deref(), &error);
        error
    }

    /// Sends the event of a change, and schedules the next change that happens without a request.
    fn tell(self: &Arc<Self>, change: &Change) {
        let number = self.rng.lock().u64(..);
        let event = StripeEvent::about(&format!("evt_{number:016x}"), change.kind, &change.intent);
        // Fails only after the end of the hunt.
        let _ = self.events.send(event);
        if let (Some(next), Some(id)) = (change.next, change.intent["id"].as_str()) {
            let (state, id) = (Arc::clone(self), id.to_owned());
            let pause = between(&mut self.rng.lock(), Duration::ZERO..SLOWEST_CUSTOMER);
            tokio::spawn(async move {
                sleep(pause).await;
                let change = state.bank.lock().go_on(&id, next);
                if let Some(change) = change {
                    state.tell(&change);
                }
            });
        }
    }
}

fn done(bank: &mut Bank, asked: &Asked, began: Instant) -> (Answer, Option<Change>) {
    let path: Vec<_> = asked.path.trim_start_matches("v1/").split('/').collect();
    match (&asked.method, &path[..]) {
        (&Method::POST, ["charges"]) => {
            let sent = asked.sent(began);
            (bank.charge(&asked.form, sent, asked.arrived), None)
        }
        (&Method::POST, ["payment_intents"]) => bank.create(asked.form.clone()),
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
