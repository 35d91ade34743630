//! Faults of requests to the provider.

use fastrand::Rng;

/// A fault of a request or of its response.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProviderFault {
    /// The request never arrives at the provider.
    Lost,
    /// The request arrives late, and the provider never sends the response.
    Late,
    /// The provider executes the request. The response is late. It can arrive after the sender's timeout or after the end of
    /// the sender's lease.
    AnswerLate,
    /// The provider executes the request, and the response never arrives.
    AnswerLost,
    /// The provider executes the request and then breaks the connection.
    Broken,
    /// The provider answers with a server error and does not execute the request.
    ErrorBefore,
    /// The provider executes the request and then answers with a server error.
    ErrorAfter,
    /// The provider answers 429 (too many requests) and does not execute the request.
    TooMany,
    /// The provider answers that another request uses the intent, and does not execute the request.
    Busy,
    /// The provider answers that the intent does not exist, and does not execute the request.
    Missing,
}

/// The faults to draw from. Late requests and late responses are in this list several times, because they can arrive during
/// another attempt.
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
/// While the provider injects faults, 1 of `FAULT_ODDS` requests, on average, has a fault.
const FAULT_ODDS: u32 = 2;

impl ProviderFault {
    /// Draws the fault of the next request; `None` for no fault.
    pub(super) fn draw(rng: &mut Rng) -> Option<Self> {
        let is_unlucky = rng.u32(..FAULT_ODDS) == 0;
        is_unlucky.then(|| rng.choice(DRAWN)).flatten()
    }
}
