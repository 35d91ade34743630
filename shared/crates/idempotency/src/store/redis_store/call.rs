//! The arguments of one operation of `record.lua`, by name. An argument for a header field is text with the width of
//! that field.

use std::time::Duration;

use bytes::Bytes;

use crate::OwnerId;
use crate::decision::{Change, ClaimRequest, Fence, Resolution};
use crate::record::{COUNT_WIDTH, LEASE_WIDTH, TIME_WIDTH, Version, field};
use crate::store_time::whole_ms;

/// The arguments of one operation.
pub(super) struct Call {
    arguments: Vec<(&'static str, Bytes)>,
}

impl Call {
    pub(super) fn claim(claim: &ClaimRequest, retention: Duration) -> Self {
        let kept_for = whole_ms(retention.saturating_add(claim.lease)).to_string();
        Self::about("claim", claim, claim.lease, retention).with("kept_for", kept_for)
    }

    pub(super) fn look(claim: &ClaimRequest, retention: Duration) -> Self {
        Self::about("look", claim, claim.lease, retention)
    }

    pub(super) fn change(fence: &Fence, change: &Change, retention: Duration) -> Self {
        let (operation, lease) = match change {
            Change::Complete(_) => ("complete", fence.claim.lease),
            Change::Release => ("release", fence.claim.lease),
            Change::Renew(lease) => ("renew", *lease),
            Change::Checkpoint(_) => ("checkpoint", fence.claim.lease),
            Change::MarkUnknown => ("mark_unknown", fence.claim.lease),
        };
        let mut call = Self::about(operation, &fence.claim, lease, retention)
            .with("attempt", field(fence.attempt, COUNT_WIDTH));
        if change.names_rev() {
            call = call.with("follows", field(fence.rev, COUNT_WIDTH));
        }
        match change {
            Change::Complete(response) => call.with("body", response.to_bytes()),
            Change::Checkpoint(checkpoint) => call.with("body", checkpoint.clone()),
            Change::Release | Change::Renew(_) | Change::MarkUnknown => call,
        }
    }

    pub(super) fn resolve(
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
        retention: Duration,
    ) -> Self {
        let (operation, body) = match resolution {
            Resolution::Completed(response) => ("resolve_completed", Some(response.to_bytes())),
            Resolution::Released => ("resolve_released", None),
            Resolution::Reopened => ("resolve_reopened", None),
        };
        let call = Self::of(operation)
            .with("owner", owner.to_string())
            .with("retention", whole_ms(retention).to_string())
            .with("seen_owner", seen.owner.to_string())
            .with("seen_rev", field(seen.rev, COUNT_WIDTH))
            .with("seen_first_at", field(seen.first_at.as_ms(), TIME_WIDTH));
        match body {
            Some(body) => call.with("body", body),
            None => call,
        }
    }

    pub(super) fn read() -> Self {
        Self::of("read")
    }

    /// The arguments in the form that the Redis client takes.
    pub(super) fn arguments(&self) -> Vec<(&str, &[u8])> {
        self.arguments
            .iter()
            .map(|(name, value)| (*name, value.as_ref()))
            .collect()
    }

    fn of(operation: &'static str) -> Self {
        let mut arguments = Vec::with_capacity(MOST_ARGUMENTS);
        arguments.push(("operation", Bytes::from_static(operation.as_bytes())));
        Self { arguments }
    }

    fn about(
        operation: &'static str,
        claim: &ClaimRequest,
        lease: Duration,
        retention: Duration,
    ) -> Self {
        let bound = claim.policy.to_bound_ms();
        Self::of(operation)
            .with("owner", claim.owner.to_string())
            .with("fingerprint", claim.fingerprint.to_string())
            .with("bound", field(bound, TIME_WIDTH))
            .with("lease", field(whole_ms(lease), LEASE_WIDTH))
            .with("retention", whole_ms(retention).to_string())
    }

    fn with(mut self, name: &'static str, value: impl Into<Bytes>) -> Self {
        self.arguments.push((name, value.into()));
        self
    }
}

/// The largest number of arguments of one operation, which is a checkpoint.
const MOST_ARGUMENTS: usize = 9;
