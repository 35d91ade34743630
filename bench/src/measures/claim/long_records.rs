//! Measures whether a refused claim costs the server more if the record is long.

use http::StatusCode;
use shared::idempotency::{Blocked, ClaimOutcome, SavedResponse, WriteResult};

use super::{Bench, Call, Compared, Of, operation, started};
use crate::section::Limit;

/// The length of a long checkpoint. It is close to the limit for checkpoints.
const LONG_NOTE: usize = 65_000;
/// The length of a long result.
const LONG_RESULT: usize = 5_000_000;
/// The length of a short checkpoint and of a short result.
const SHORT: usize = 100;

impl Bench {
    /// Measures Redis's time for a conflict with a long checkpoint, and for a mismatch with a long result. Both are compared
    /// with short records.
    pub(super) async fn flatness(&mut self, rounds: usize) -> [Compared; 2] {
        let conflicts = [self.at_work(LONG_NOTE).await, self.at_work(SHORT).await];
        let mismatches = [self.done(LONG_RESULT).await, self.done(SHORT).await];
        [
            self.flat("conflict", LONG_NOTE, conflicts, rounds).await,
            self.flat("mismatch", LONG_RESULT, mismatches, rounds).await,
        ]
    }

    async fn flat(
        &mut self,
        what: &str,
        bytes: usize,
        [long, short]: [Call; 2],
        rounds: usize,
    ) -> Compared {
        let what = format!("server time of a {what} over {bytes} bytes / over {SHORT}");
        // A ratio up to this limit counts as equal, because of noise.
        let mut compared = Compared::new(what, "µs", Limit::AtMost(1.25));
        for _ in 0..rounds {
            compared
                .engine
                .push(self.measured(Of::ServerTime, &long).await);
            compared
                .beside
                .push(self.measured(Of::ServerTime, &short).await);
        }
        compared
    }

    /// Prepares a claim of a key whose attempt has a checkpoint of this length.
    async fn at_work(&mut self, note: usize) -> Call {
        let operation = operation(&self.fresh_key(), 10);
        let mut lease = started(&self.engine, &operation).await;
        let noted = lease.checkpoint(vec![b'x'; note]).await;
        assert_eq!(noted, WriteResult::Stored(()), "the note is kept");
        Call::Blocked(operation, |outcome| {
            matches!(outcome, ClaimOutcome::Blocked(Blocked::InProgress { .. }))
        })
    }

    /// Prepares a claim of a key that has the result of a different operation. The result has this length.
    async fn done(&mut self, result: usize) -> Call {
        let key = self.fresh_key();
        let lease = started(&self.engine, &operation(&key, 10)).await;
        let response = SavedResponse::new(StatusCode::OK, vec![b'x'; result]);
        let completed = lease.complete(response).await;
        let is_kept = matches!(completed, WriteResult::Stored(_));
        assert!(is_kept, "the result is kept: {completed:?}");
        Call::Blocked(operation(&key, 20), |outcome| {
            matches!(outcome, ClaimOutcome::Blocked(Blocked::Mismatch))
        })
    }
}
