//! The example payment functions in Python and Node, as separate processes. They call the function
//! `idempotency` and a simulated provider.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use harness::Outcome;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::caller::{Caller, begin, status, with};

/// The program that runs the example of a language, and the example's file.
type Language = [&'static str; 2];

const PYTHON: Language = ["python3", "payment.py"];
const NODE: Language = ["node", "payment.mjs"];

/// The function `idempotency` and the provider. One HTTP server on the loopback interface serves
/// both.
struct World {
    caller: Caller,
    /// The number of replies of the function that will be lost, counted from the next reply. Each
    /// of these replies is lost after its request took effect.
    lost: AtomicUsize,
    provider: Mutex<Provider>,
}

/// The provider, and the requests that it received.
struct Provider {
    answers_with: Reply,
    keys: Vec<String>,
}

#[derive(Clone, Copy)]
enum Reply {
    Status(u16),
    /// The provider makes the charge, and then breaks the connection.
    Nothing,
}

/// An error that breaks the connection, so that the client gets no reply.
#[derive(Debug, thiserror::Error)]
#[error("reply lost")]
struct Lost;

struct Stage {
    world: Arc<World>,
    address: String,
    /// The HTTP server of the function and the provider. Dropping this value ends the server.
    _server: JoinSet<()>,
}

impl Stage {
    async fn new() -> Self {
        let world = Arc::new(World {
            caller: Caller::redis().await,
            lost: AtomicUsize::new(0),
            provider: Mutex::new(Provider {
                answers_with: Reply::Status(201),
                keys: Vec::new(),
            }),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&world)));
        Self {
            world,
            address,
            _server: server,
        }
    }

    /// Runs an example payment function for this order. Returns the response of the example.
    async fn pays(&self, language: Language, order: &Value) -> Value {
        self.pays_at(language, order, &self.address).await
    }

    async fn pays_at(&self, [program, file]: Language, order: &Value, provider: &str) -> Value {
        let examples =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/idempotency/examples");
        let output = Command::new(program)
            .arg(examples.join(file))
            .arg(json!({"order": order}).to_string())
            .env("IDEMPOTENCY_ENDPOINT", &self.address)
            .env("PROVIDER_URL", format!("{provider}/charges"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|error| panic!("`{program}` is missing on PATH: {error}"));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn provider_answers(&self, reply: Reply) {
        self.world.provider.lock().answers_with = reply;
    }

    /// The idempotency keys of the charges that the provider received.
    fn charges(&self) -> Vec<String> {
        self.world.provider.lock().keys.clone()
    }

    async fn state(&self) -> Value {
        self.world.caller.ask(&status("o-1")).await
    }
}

async fn serve(listener: TcpListener, world: Arc<World>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let world = Arc::clone(&world);
        connections.spawn(async move {
            let service = service_fn(|request| world.answer(request));
            // An error means that the reply is lost on purpose, or that the client is gone.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl World {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        match (parts.method, parts.uri.path()) {
            (Method::POST, "/2015-03-31/functions/idempotency/invocations") => {
                self.invoke(body).await
            }
            (Method::POST, "/charges") => {
                let key = parts.headers["idempotency-key"].to_str().expect("ASCII");
                self.charge(key)
            }
            _ => Ok(reply(StatusCode::NOT_FOUND, "null")),
        }
    }

    async fn invoke(&self, event: Bytes) -> Result<Response<Full<Bytes>>, Lost> {
        let Outcome::Answered(answer) = self.caller.lambda.invoke_bytes(event).await else {
            return Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, "null"));
        };
        let lose = |left: usize| left.checked_sub(1);
        let is_lost = self
            .lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose);
        match is_lost {
            Ok(_) => Err(Lost),
            Err(_) => Ok(reply(StatusCode::OK, answer)),
        }
    }

    fn charge(&self, key: &str) -> Result<Response<Full<Bytes>>, Lost> {
        let mut provider = self.provider.lock();
        provider.keys.push(key.to_owned());
        match provider.answers_with {
            Reply::Status(status) => {
                let status = StatusCode::from_u16(status).expect("a status");
                let charge = format!(r#"{{"id":"ch-{}"}}"#, provider.keys.len());
                Ok(reply(status, charge))
            }
            Reply::Nothing => Err(Lost),
        }
    }
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn order(amount: u64) -> Value {
    json!({"id": "o-1", "amount": amount})
}

async fn pays_once_and_replays_elsewhere(first: Language, second: Language) {
    let stage = Stage::new().await;

    let paid = stage.pays(first, &order(10)).await;

    assert_eq!(paid, json!({"status": 201, "charge": {"id": "ch-1"}}));
    assert_eq!(stage.pays(second, &order(10)).await, paid);
    let mismatch = json!({"status": 409, "reason": "mismatch"});
    assert_eq!(stage.pays(first, &order(20)).await, mismatch);
    assert_eq!(stage.charges().len(), 1);
}

async fn pays_although_replies_are_lost(language: Language) {
    let stage = Stage::new().await;
    stage.world.lost.store(2, Ordering::SeqCst);

    let paid = stage.pays(language, &order(10)).await;

    assert_eq!(paid["status"], 201);
    assert_eq!(stage.charges().len(), 1);
    let completed = stage.state().await;
    assert_eq!(
        (&completed["attempt"], &completed["response"]),
        (&json!(1), &paid)
    );
}

async fn leaves_a_lost_charge_unknown(language: Language) {
    let stage = Stage::new().await;
    stage.provider_answers(Reply::Nothing);

    let doubtful = stage.pays(language, &order(10)).await;

    assert_eq!(doubtful, json!({"status": 502, "reason": "unknown"}));
    stage.provider_answers(Reply::Status(201));
    let again = stage.pays(language, &order(10)).await;
    assert_eq!(again, json!({"status": 409, "reason": "unknown"}));
    assert_eq!(stage.state().await["checkpoint"], json!({"charging": 10}));
    assert_eq!(stage.charges().len(), 1);
}

async fn stores_a_refusal_and_marks_a_failure_unknown(language: Language) {
    let stage = Stage::new().await;
    stage.provider_answers(Reply::Status(402));
    let declined = json!({"status": 402, "reason": "declined"});
    assert_eq!(stage.pays(language, &order(10)).await, declined);
    stage.provider_answers(Reply::Status(500));
    assert_eq!(stage.pays(language, &order(10)).await, declined);

    let other = with(order(10), "id", "o-2");
    assert_eq!(stage.pays(language, &other).await["status"], 502);

    assert_eq!(stage.charges().len(), 2);
}

async fn retries_after_a_failure_without_effect(language: Language) {
    let stage = Stage::new().await;
    let refusing = harness::FaultProxy::refusing();
    let nowhere = format!("http://{}", refusing.address());

    let refused = stage.pays_at(language, &order(10), &nowhere).await;

    assert_eq!(
        refused,
        json!({"status": 503, "reason": "nothing happened"})
    );
    assert_eq!(stage.pays(language, &order(10)).await["status"], 201);
    assert_eq!(stage.state().await["attempt"], 2);
    let derived = stage.world.caller.started(&begin("o-2")).await["derived_key"].clone();
    let [sent] = &stage.charges()[..] else {
        panic!("{:?}", stage.charges())
    };
    assert!(sent.len() == 64 && derived != sent.as_str(), "{sent}");
}

/// Defines each of these tests once for each language.
macro_rules! in_every_language {
    ($($story:ident)*) => {
        in_every_language!(@python PYTHON $($story)*);
        in_every_language!(@node NODE $($story)*);
    };
    (@$module:ident $language:ident $($story:ident)*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $story() {
                    super::$story(super::$language).await;
                }
            )*
        }
    };
}

in_every_language! {
    pays_although_replies_are_lost
    leaves_a_lost_charge_unknown
    stores_a_refusal_and_marks_a_failure_unknown
    retries_after_a_failure_without_effect
}

#[tokio::test]
async fn languages_share_the_result() {
    pays_once_and_replays_elsewhere(PYTHON, NODE).await;
    pays_once_and_replays_elsewhere(NODE, PYTHON).await;
}
