//! A request that was sent and has no answer yet.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::invocation::{Outcome, Settled};
use super::log::FunctionLog;
use crate::answer::Answer;
use crate::secrets::Secrets;
use crate::test_request::TestRequest;

/// A request without an answer yet. Awaiting it returns the checked answer.
#[must_use = "the answer is checked when it is awaited"]
pub struct Pending {
    pub(super) request: TestRequest,
    pub(super) settled: oneshot::Receiver<Settled>,
    pub(super) log: Arc<FunctionLog>,
    pub(super) secrets: Arc<Secrets>,
}

impl Pending {
    /// The outcome of the request, for tests that expect no answer.
    pub async fn outcome(self) -> Outcome {
        super::settled(self.settled).await.outcome.parsed()
    }
}

impl IntoFuture for Pending {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match super::settled(self.settled).await.outcome.parsed() {
                Outcome::Answered(result) => Answer::check(&result, &self.request, &self.secrets),
                other => panic!(
                    "no answer to {:?}: {other:?}; the log:\n{}",
                    self.request,
                    self.log.text()
                ),
            }
        })
    }
}
