//! Does a claim that is refused cost the server more where the record is long?

use http::StatusCode;
use shared::idempotency::{Completion, Noted, Operation, Outcome, SavedResponse};

use super::{Bench, Compared, claim, operation, started};
use crate::report::Limit;

/// What an attempt may note at most, nearly; a long result; and short ones of both.
const LONG_NOTE: usize = 65_000;
const LONG_RESULT: usize = 5_000_000;
const SHORT: usize = 100;

impl Bench {
    /// What a conflict costs the server over a long checkpoint, and a mismatch over a long result, beside short ones.
    pub(super) async fn flatness(&mut self) -> Vec<Compared> {
        let long = [(LONG_NOTE, "conflict"), (LONG_RESULT, "mismatch")];
        let mut all = Vec::new();
        for (long, what) in long {
            let mut standing = Vec::new();
            for size in [long, SHORT] {
                standing.push(match what {
                    "conflict" => self.at_work(size).await,
                    _ => self.done(size).await,
                });
            }
            let [mut engine, mut beside] = [Vec::new(), Vec::new()];
            for _ in 0..self.rounds {
                for (operation, costs) in standing.iter().zip([&mut engine, &mut beside]) {
                    self.reset().await;
                    for _ in 0..self.calls {
                        let outcome = claim(&self.engine, operation).await;
                        let is_so = match outcome {
                            Outcome::InProgress { .. } => what == "conflict",
                            Outcome::Mismatch => what == "mismatch",
                            _ => false,
                        };
                        assert!(is_so, "a {what} is {outcome:?}");
                    }
                    costs.push(self.micros_per_call().await);
                }
            }
            all.push(Compared {
                what: format!("server time of a {what} over {long} bytes / over {SHORT}"),
                unit: "µs",
                // As good as flat: what lies between is the machine's mood.
                limit: Limit::AtMost(1.25),
                engine,
                beside,
            });
        }
        all
    }

    /// An operation whose key is held by an attempt that left a note.
    async fn at_work(&mut self, note: usize) -> Operation {
        let operation = operation(&self.fresh_key(), 10);
        let mut lease = started(&self.engine, &operation).await;
        let noted = lease.checkpoint(vec![b'x'; note]).await;
        assert_eq!(noted, Noted::Done, "the note is kept");
        operation
    }

    /// An operation whose key stands for another one, which has a result.
    async fn done(&mut self, result: usize) -> Operation {
        let key = self.fresh_key();
        let lease = started(&self.engine, &operation(&key, 10)).await;
        let response = SavedResponse::new(StatusCode::OK, vec![b'x'; result]);
        let completed = lease.complete(response).await;
        let is_kept = matches!(completed, Completion::Completed(_));
        assert!(is_kept, "the result is kept: {completed:?}");
        operation(&key, 20)
    }
}
