//! The store of a process without a configured store: it refuses every call.

use async_trait::async_trait;
use foundation::Deadline;

use super::{
    Answer, Blocked, Change, ClaimOutcome, ClaimRequest, Fence, Found, Grant, Resolution,
    ResolveResult, Store, StoreError, Version, WriteResult,
};
use crate::{OwnerId, RecordKey, SavedResponse};

/// A store that refuses every call.
pub(crate) struct Reject;

#[async_trait]
impl Store for Reject {
    async fn claim(
        &self,
        _: &RecordKey,
        _: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<ClaimOutcome<Grant>>, StoreError> {
        Err(StoreError::NoStore)
    }

    async fn look(
        &self,
        _: &RecordKey,
        _: &ClaimRequest,
        _: Deadline,
    ) -> Result<Answer<Option<Blocked>>, StoreError> {
        Err(StoreError::NoStore)
    }

    async fn change(
        &self,
        _: &RecordKey,
        _: &Fence,
        _: &Change,
        _: Deadline,
    ) -> Result<Answer<WriteResult<Option<SavedResponse>>>, StoreError> {
        Err(StoreError::NoStore)
    }

    async fn read(&self, _: &RecordKey, _: Deadline) -> Result<Found, StoreError> {
        Err(StoreError::NoStore)
    }

    async fn list(&self, _: u32, _: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        Err(StoreError::NoStore)
    }

    async fn resolve(
        &self,
        _: &RecordKey,
        _: Version,
        _: OwnerId,
        _: &Resolution,
        _: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        Err(StoreError::NoStore)
    }
}
