//! The clients and their requests.

use std::sync::LazyLock;
use std::time::Duration;

use super::protocol::Protocol;
use crate::decision::ClaimRequest;
use crate::{Fingerprint, OwnerId};

pub(super) const LEASE: u64 = 1;

// Built once, because a search needs them in every step.
static OWNERS: LazyLock<[OwnerId; 256]> = LazyLock::new(|| {
    std::array::from_fn(|number| {
        OwnerId::from_hex(&format!("{:032x}", number + 1)).expect("an owner")
    })
});
static FINGERPRINTS: LazyLock<[Fingerprint; 2]> = LazyLock::new(|| {
    ["a", "b"].map(|digit| Fingerprint::from_hex(&digit.repeat(64)).expect("a fingerprint"))
});

/// The claim of a client.
pub(super) fn claim(protocol: &Protocol, id: u8) -> ClaimRequest {
    ClaimRequest {
        owner: owner(id),
        fingerprint: FINGERPRINTS[usize::from(protocol.request_of(usize::from(id)))],
        policy: protocol.policy,
        lease: Duration::from_millis(LEASE),
        retention: protocol.retention(),
    }
}

pub(super) fn owner(number: u8) -> OwnerId {
    OWNERS[usize::from(number)]
}
