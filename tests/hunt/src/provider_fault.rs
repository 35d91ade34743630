//! Faults of requests to the provider.

use fastrand::Rng;

/// A fault of a request or of its response.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProviderFault {
    /// The request never arrives.
    Lost,
    /// The request arrives late and is never answered.
    Late,
    /// The request is executed and the response is late, possibly after the sender's timeout or lease.
    AnswerLate,
    /// The request is executed and the response never arrives.
    AnswerLost,
    /// The request is executed and the connection breaks.
    Broken,
    /// A server error before the request is executed.
    ErrorBefore,
    /// A server error after the request is executed.
    ErrorAfter,
    /// Too many requests: nothing is executed.
    TooMany,
    /// The provider answers that another request uses the intent: nothing is executed.
    Busy,
    /// The provider answers that the intent does not exist: nothing is executed.
    Missing,
}

/// The distribution of faults. Late requests and responses are more frequent, because they can arrive during another attempt.
const DRAWN: [ProviderFault; 15] = [
    ProviderFault::Lost,
    ProviderFault::Lost,
    ProviderFault::Late,
    ProviderFault::Late,
    ProviderFault::Late,
    ProviderFault::AnswerLate,
    ProviderFault::AnswerLate,
    ProviderFault::AnswerLost,
    ProviderFault::AnswerLost,
    ProviderFault::Broken,
    ProviderFault::ErrorBefore,
    ProviderFault::ErrorAfter,
    ProviderFault::TooMany,
    ProviderFault::Busy,
    ProviderFault::Missing,
];
/// While faults are switched on, one request in this many has a fault.
const FAULT_ODDS: u32 = 2;

impl ProviderFault {
    /// Draws the fault of the next request; `None` for no fault.
    pub(super) fn draw(rng: &mut Rng) -> Option<Self> {
        let is_unlucky = rng.u32(..FAULT_ODDS) == 0;
        is_unlucky.then(|| rng.choice(DRAWN)).flatten()
    }
}
