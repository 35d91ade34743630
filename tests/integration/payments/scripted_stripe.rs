//! A provider with scripted responses: Stripe's payment intents and idempotency keys, in memory.
//!
//! If a key is repeated with the same form, the provider replays its response, like Stripe. If a key is repeated with
//! another form, the provider rejects the request (<https://docs.stripe.com/api/idempotent_requests>). Localstripe does
//! not implement idempotency keys.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use harness::http_server;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running provider. Dropping this value stops the provider.
pub(super) struct ScriptedStripe {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

/// The kinds of requests that the provider accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Create,
    Confirm,
    Cancel,
    Inspect,
}

/// The status and the body of a response.
type Reply = (u16, Value);

#[derive(Default)]
struct State {
    intents: BTreeMap<String, Value>,
    /// For each idempotency key: the body of its first request, and the id of the intent that this
    /// request created.
    keys: BTreeMap<String, (Bytes, String)>,
    /// The requests so far, in order.
    asked: Vec<Step>,
    /// For each step that the provider rejects, the error response.
    refused: BTreeMap<Step, Reply>,
    /// The status that an intent gets when it is confirmed. `None` means `succeeded`.
    confirmed: Option<&'static str>,
}

impl ScriptedStripe {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let mut serving = JoinSet::new();
        serving.spawn(http_server::serve(listener, move |request| {
            respond(Arc::clone(&shared), request)
        }));
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Makes the provider reject all later requests of this kind. The rejected requests have no
    /// effect.
    pub(super) fn refuse(&self, step: Step, status: u16, kind: &str) {
        let body = json!({"error": {"type": kind}});
        self.state.lock().refused.insert(step, (status, body));
    }

    /// Ends all rejections that [`refuse`](Self::refuse) has started.
    pub(super) fn heal(&self) {
        self.state.lock().refused.clear();
    }

    /// Changes a member of every intent.
    pub(super) fn set(&self, member: &str, value: &Value) {
        for intent in self.state.lock().intents.values_mut() {
            intent[member] = value.clone();
        }
    }

    /// All intents, the oldest first.
    pub(super) fn intents(&self) -> Vec<Value> {
        self.state.lock().intents.values().cloned().collect()
    }

    /// The idempotency keys of the requests that created an intent.
    pub(super) fn keys(&self) -> Vec<String> {
        self.state.lock().keys.keys().cloned().collect()
    }

    /// Changes the stored form of every key. So the provider rejects a later request with one of
    /// these keys.
    pub(super) fn change_forms(&self) {
        for (form, _) in self.state.lock().keys.values_mut() {
            *form = Bytes::from_static(b"another=form");
        }
    }

    /// The requests so far, in order.
    pub(super) fn asked(&self) -> Vec<Step> {
        self.state.lock().asked.clone()
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let key = parts.headers.get("idempotency-key");
    let key = key.map(|key| key.to_str().expect("a text").to_owned());
    let path: Vec<_> = parts.uri.path().split('/').skip(3).collect();
    let (status, body) = state.lock().reply(&parts.method, &path, key, body);
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response
        .body(Full::new(body.to_string().into()))
        .expect("an answer"))
}

impl State {
    fn reply(&mut self, method: &Method, path: &[&str], key: Option<String>, form: Bytes) -> Reply {
        let (step, intent) = match (method, path) {
            (&Method::POST, []) => (Step::Create, ""),
            (&Method::POST, [intent, "confirm"]) => (Step::Confirm, *intent),
            (&Method::POST, [intent, "cancel"]) => (Step::Cancel, *intent),
            (&Method::GET, [intent]) => (Step::Inspect, *intent),
            _ => panic!("{method} {path:?}"),
        };
        self.asked.push(step);
        if let Some(reply) = self.refused.get(&step) {
            return reply.clone();
        }
        if step == Step::Create {
            return self.create(key.expect("an Idempotency-Key"), form);
        }
        let Some(found) = self.intents.get_mut(intent) else {
            return (404, json!({"error": {"type": "invalid_request_error"}}));
        };
        match (step, found["status"].as_str()) {
            (Step::Confirm, Some("requires_confirmation")) => {
                found["status"] = self.confirmed.unwrap_or("succeeded").into();
            }
            (Step::Cancel, Some(status)) if status.starts_with("requires_") => {
                found["status"] = "canceled".into();
            }
            (Step::Confirm | Step::Cancel, _) => {
                return (400, json!({"error": {"type": "invalid_request_error"}}));
            }
            _ => {}
        }
        (200, found.clone())
    }

    fn create(&mut self, key: String, form: Bytes) -> Reply {
        match self.keys.get(&key) {
            Some((first, id)) if *first == form => return (200, self.intents[id].clone()),
            Some(_) => return (400, json!({"error": {"type": "idempotency_error"}})),
            None => {}
        }
        let id = format!("pi_{:04}", self.intents.len());
        let intent = intent(&id, &form);
        self.intents.insert(id.clone(), intent.clone());
        self.keys.insert(key, (form, id));
        (200, intent)
    }
}

fn intent(id: &str, form: &Bytes) -> Value {
    let query = String::from_utf8_lossy(form);
    let url = Url::parse(&format!("http://form/?{query}")).expect("a form");
    let members: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let metadata = members.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
        Some((name.to_owned(), json!(value)))
    });
    json!({
        "id": id, "object": "payment_intent", "status": "requires_confirmation", "livemode": false,
        "amount": members["amount"].parse::<i64>().expect("a number"),
        "currency": members["currency"], "metadata": Value::from_iter(metadata),
        "client_secret": format!("{id}_secret"), "next_action": null, "last_payment_error": null,
    })
}
