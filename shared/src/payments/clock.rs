//! What time it is, for people: no decision depends on it.

use jiff::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "a payment says since when it is what it is; who may run and what counts is decided elsewhere"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
