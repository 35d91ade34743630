//! No store is configured that may decide: nothing runs.

use async_trait::async_trait;
use foundation::Deadline;

use super::{
    Answer, Change, Changed, Claim, Claimed, Fence, Found, Settled, Settlement, Standing, Store,
    Undecided, Version,
};
use crate::{OwnerId, RecordKey};

/// The store where none may decide.
pub(crate) struct Reject;

#[async_trait]
impl Store for Reject {
    async fn claim(
        &self,
        _: &RecordKey,
        _: &Claim,
        _: Deadline,
    ) -> Result<Answer<Claimed>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn look(
        &self,
        _: &RecordKey,
        _: &Claim,
        _: Deadline,
    ) -> Result<Answer<Standing>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn change(
        &self,
        _: &RecordKey,
        _: &Fence,
        _: &Change,
        _: Deadline,
    ) -> Result<Answer<Changed>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn read(&self, _: &RecordKey, _: Deadline) -> Result<Found, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn list(&self, _: u32, _: Deadline) -> Result<Vec<RecordKey>, Undecided> {
        Err(Undecided::NoStore)
    }

    async fn settle(
        &self,
        _: &RecordKey,
        _: Version,
        _: OwnerId,
        _: &Settlement,
        _: Deadline,
    ) -> Result<Settled, Undecided> {
        Err(Undecided::NoStore)
    }
}
