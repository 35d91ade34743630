//! What an execution leaves at the provider.

use std::time::Instant;

/// One execution of the work of an order: it was charged, or declined by a call that nothing fences.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The `id` in the answer to the request.
    pub(super) result: String,
    pub(super) is_charge: bool,
    /// When a process had the client's request; `None`: it does not say.
    pub(super) sent: Option<Instant>,
    /// When the provider had the process's request.
    pub(super) arrived: Instant,
    /// When it was done.
    pub(super) done: Instant,
}
