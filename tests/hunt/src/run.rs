//! The record of an execution at the provider.

use std::time::Instant;

/// One execution of an order's work: a charge, or a decline by a direct call.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The `id` in the response to the request.
    pub(super) result: String,
    /// Whether the execution is a charge. Otherwise it is a decline.
    pub(super) is_charge: bool,
    /// The time at which a process got the client's request; `None` if the request to the provider does not contain this time.
    pub(super) sent: Option<Instant>,
    /// The time at which the provider got the process's request.
    pub(super) arrived: Instant,
    /// The time at which the request was executed.
    pub(super) done: Instant,
}
