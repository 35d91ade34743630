//! Measures the server's time for a refused claim of a long record. The claim returns the whole record, as a `GET` does.

use http::StatusCode;
use shared::idempotency::{Blocked, ClaimOutcome, SavedResponse, WriteResult};

use super::{Bench, Call, Compared, Of, operation, started};
use crate::section::Limit;

/// The length of a checkpoint near the limit.
const LONG_NOTE: usize = 65_000;
/// The length of a long result.
const LONG_RESULT: usize = 1_000_000;

impl Bench {
    /// Redis's time for a conflict with a long checkpoint and for a mismatch with a long result, compared with a `GET`.
    pub(super) async fn long_records(&mut self, rounds: usize) -> [Compared; 2] {
        let conflict = self.at_work(LONG_NOTE).await;
        let mismatch = self.done(LONG_RESULT).await;
        [
            self.long("conflict", LONG_NOTE, conflict, rounds).await,
            self.long("mismatch", LONG_RESULT, mismatch, rounds).await,
        ]
    }

    async fn long(
        &mut self,
        what: &str,
        bytes: usize,
        (claim, get): (Call, Call),
        rounds: usize,
    ) -> Compared {
        let what = format!(
            "server time of a {what} with a record of {bytes} bytes / of a `GET` of the record"
        );
        let mut compared = Compared::new(what, "µs", Limit::AtMost(1.5));
        for _ in 0..rounds {
            compared
                .engine
                .push(self.measured(Of::ServerTime, &claim).await);
            compared
                .beside
                .push(self.measured(Of::ServerTime, &get).await);
        }
        compared
    }

    /// A claim of a key whose attempt has a checkpoint.
    async fn at_work(&mut self, note: usize) -> (Call, Call) {
        let operation = operation(&self.fresh_key(), 10);
        let mut lease = started(&self.engine, &operation).await;
        let noted = lease.checkpoint(vec![b'x'; note]).await;
        assert_eq!(noted, WriteResult::Stored(()), "the note is kept");
        let get = Call::Get(operation.clone());
        let claim = Call::Blocked(operation, |outcome| {
            matches!(outcome, ClaimOutcome::Blocked(Blocked::InProgress { .. }))
        });
        (claim, get)
    }

    /// A claim whose key has the result of a different operation.
    async fn done(&mut self, result: usize) -> (Call, Call) {
        let key = self.fresh_key();
        let lease = started(&self.engine, &operation(&key, 10)).await;
        let response = SavedResponse::new(StatusCode::OK, vec![b'x'; result]);
        let completed = lease.complete(response).await;
        let is_kept = matches!(completed, WriteResult::Stored(_));
        assert!(is_kept, "the result is kept: {completed:?}");
        let other = operation(&key, 20);
        let get = Call::Get(other.clone());
        let claim = Call::Blocked(other, |outcome| {
            matches!(outcome, ClaimOutcome::Blocked(Blocked::Mismatch))
        });
        (claim, get)
    }
}
