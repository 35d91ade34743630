//! The processes of a function, each of which takes one invocation at a time, as on Lambda.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use crate::lambda::{Lambda, Outcome};
use crate::test_request::TestRequest;

/// Processes, and who of them is idle.
pub(super) struct Pool {
    pub(super) processes: Vec<Lambda>,
    /// What the requests say of running again; `None`: what they run knows by itself.
    pub(super) policy: Option<&'static str>,
    idle: Mutex<Vec<usize>>,
    places: Semaphore,
    rng: Mutex<Rng>,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// 0: nothing, within its patience or ever.
    pub(super) status: u16,
    pub(super) body: String,
}

impl Told {
    pub(super) const NOTHING: Self = Self {
        status: 0,
        body: String::new(),
    };

    /// Whether it will never be told anything else.
    pub(super) fn is_final(&self) -> bool {
        [201, 402].contains(&self.status)
    }

    /// Whether nobody knows what became of it.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == 409 && self.body.contains("outcome-unknown")
    }
}

impl Pool {
    pub(super) fn new(
        processes: Vec<Lambda>,
        policy: Option<&'static str>,
        seed: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            policy,
            idle: Mutex::new((0..processes.len()).collect()),
            places: Semaphore::new(processes.len()),
            processes,
            rng: Mutex::new(Rng::with_seed(seed)),
        })
    }

    /// Sends a request to some idle process and waits for the answer, but not for longer than `patience`; the process is busy
    /// until it has answered all the same.
    pub(super) async fn request(
        self: &Arc<Self>,
        request: &TestRequest,
        patience: Duration,
    ) -> Told {
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
        let (pool, event) = (Arc::clone(self), request.event());
        tokio::spawn(async move {
            let outcome = pool.processes[number].invoke(event).await;
            // Fails only when the client has given up.
            let _ = answered.send(outcome);
            pool.idle.lock().push(number);
            pool.places.add_permits(1);
        });
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Outcome::Answered(answer))) => told(&answer),
            _ => Told::NOTHING,
        }
    }
}

fn told(answer: &Value) -> Told {
    Told {
        status: answer["statusCode"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or_default(),
        body: answer["body"].as_str().unwrap_or_default().to_owned(),
    }
}
