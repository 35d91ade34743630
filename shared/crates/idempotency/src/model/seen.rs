//! The record that a reconciler has read.

use super::protocol::Protocol;
use crate::record::Version;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reconciler {
    pub(super) looks_left: u8,
    pub(super) seen: Option<Seen>,
}

/// The entry that the reconciler has read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) attempt: u64,
    pub(super) generation: u8,
    pub(super) request: u8,
}

impl Reconciler {
    pub(super) fn new(protocol: &Protocol) -> Self {
        Self {
            looks_left: protocol.resolutions,
            seen: None,
        }
    }
}
