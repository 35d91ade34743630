//! The processes of a function. Each process handles one invocation at a time, as on Lambda.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use harness::lambda::{Lambda, Outcome, STOPPED};
use harness::test_request::TestRequest;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::between;

/// [`wait_for_room`](Pool::wait_for_room) waits until the number of idle processes is at least the number of all
/// processes divided by `ROOM`.
const ROOM: usize = 2;
/// The longest pause between two checks for idle processes. Each waiting client draws a different pause, so that the clients
/// do not all start at once.
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// A pool of processes.
pub(super) struct Pool {
    pub(super) processes: Vec<Lambda>,
    /// For each process, the time of its last freeze or thaw, or `None` if the process was never frozen.
    frozen: Vec<Mutex<Option<Instant>>>,
    /// The numbers of the idle processes.
    idle: Mutex<Vec<usize>>,
    /// A semaphore with one permit for each idle process.
    places: Semaphore,
    rng: Mutex<Rng>,
    /// The start of the hunt.
    began: Instant,
}

/// The outcome of a request.
pub(super) enum RequestOutcome {
    Answered(ClientResponse),
    /// The client gets no response, because the hunt killed the process or froze it for too long.
    NoResponse,
    /// The process crashed or timed out, although the hunt had not killed or frozen it.
    Failure(String),
}

/// A response to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientResponse {
    /// The HTTP status; zero if the response has none.
    pub(super) status: u16,
    pub(super) body: String,
}

impl ClientResponse {
    /// Whether the response is final. Within the retention, every later response to the request must be the same.
    pub(super) fn is_final(&self) -> bool {
        [201, 402].contains(&self.status)
    }

    /// Whether the response reports an unknown outcome.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == 409 && self.body.contains("outcome-unknown")
    }

    /// Whether the response reports that the key belongs to another request.
    pub(super) fn is_mismatch(&self) -> bool {
        self.status == 422
    }
}

impl Pool {
    pub(super) fn new(processes: Vec<Lambda>, seed: u64, began: Instant) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::new((0..processes.len()).collect()),
            places: Semaphore::new(processes.len()),
            frozen: processes.iter().map(|_| Mutex::default()).collect(),
            processes,
            rng: Mutex::new(Rng::with_seed(seed)),
            began,
        })
    }

    /// Records that the process with this number is frozen or thawed now. Does nothing if the process is not in this pool.
    pub(super) fn note_freeze(&self, number: usize) {
        if let Some(frozen) = self.frozen.get(number) {
            *frozen.lock() = Some(Instant::now());
        }
    }

    /// Waits until half of the processes are idle, so that a request at a planned time finds an idle process.
    pub(super) async fn wait_for_room(&self) {
        let room = self.processes.len() / ROOM;
        while self.places.available_permits() < room {
            let pause = between(&mut self.rng.lock(), Duration::ZERO..LONGEST_LOOK);
            sleep(pause).await;
        }
    }

    /// Waits until all processes are idle.
    pub(super) async fn rest(&self) {
        let all = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let places = self.places.acquire_many(all).await;
        drop(places.expect("places are never closed"));
    }

    /// Sends a request to an idle process and waits at most `patience` for the response. Returns `None` if no response comes in
    /// this time. The process stays busy until it answers.
    ///
    /// `on_outcome` gets the outcome of the request, even after `patience`. A late response is an outcome too, because a
    /// gateway with a longer timeout would deliver this response to the client. `on_outcome` also gets the time from the start
    /// of the hunt to the arrival of the request in the process.
    pub(super) async fn request(
        self: &Arc<Self>,
        request: &TestRequest,
        patience: Duration,
        on_outcome: impl FnOnce(RequestOutcome, Duration) + Send + 'static,
    ) -> Option<ClientResponse> {
        let place = self
            .places
            .acquire()
            .await
            .expect("places are never closed");
        place.forget();
        let number = {
            let mut idle = self.idle.lock();
            let which = self.rng.lock().usize(..idle.len());
            idle.swap_remove(which)
        };
        let (answered, answer) = oneshot::channel();
        let sent = Instant::now();
        let since = sent.saturating_duration_since(self.began);
        let request = request
            .clone()
            .header("x-sent-ms", &since.as_millis().to_string());
        let (pool, event) = (Arc::clone(self), request.event());
        tokio::spawn(async move {
            let outcome = pool.processes[number].invoke(event).await;
            let outcome = pool.request_outcome(number, sent, outcome);
            let response = match &outcome {
                RequestOutcome::Answered(response) => Some(response.clone()),
                RequestOutcome::NoResponse | RequestOutcome::Failure(_) => None,
            };
            on_outcome(outcome, since);
            // Sending fails only if the client no longer waits.
            let _ = answered.send(response);
            pool.idle.lock().push(number);
            pool.places.add_permits(1);
        });
        tokio::time::timeout(patience, answer).await.ok()?.ok()?
    }

    fn request_outcome(&self, number: usize, sent: Instant, outcome: Outcome) -> RequestOutcome {
        let was_frozen = self.frozen[number].lock().is_some_and(|at| at >= sent);
        match outcome {
            Outcome::Answered(answer) => RequestOutcome::Answered(client_response(&answer)),
            Outcome::TimedOut if was_frozen => RequestOutcome::NoResponse,
            Outcome::Crashed { reason } if reason == STOPPED => RequestOutcome::NoResponse,
            outcome => RequestOutcome::Failure(format!("{outcome:?}")),
        }
    }
}

fn client_response(answer: &Value) -> ClientResponse {
    ClientResponse {
        status: answer["statusCode"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or_default(),
        body: answer["body"].as_str().unwrap_or_default().to_owned(),
    }
}
