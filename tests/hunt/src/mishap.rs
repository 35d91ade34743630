//! What happens to a request to the provider while requests fare badly.

use fastrand::Rng;

/// Something that happens to a request, or to its answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mishap {
    /// It never arrives.
    Lost,
    /// It arrives late, and is never answered.
    Late,
    /// It is done, and its answer is late: for some, within their patience, and when their lease is over.
    AnswerLate,
    /// It is done, and its answer never arrives.
    AnswerLost,
    /// It is done, and the connection breaks.
    Broken,
    /// An error of the server's, before it is done.
    ErrorBefore,
    /// The same, after it is done.
    ErrorAfter,
    /// Too many requests: nothing is done.
    TooMany,
    /// Another request holds the intent: nothing is done.
    Busy,
    /// There is no such thing, it says: nothing is done.
    Missing,
}

/// What is drawn from. What comes late is named more often: it meets another attempt.
const DRAWN: [Mishap; 15] = [
    Mishap::Lost,
    Mishap::Lost,
    Mishap::Late,
    Mishap::Late,
    Mishap::Late,
    Mishap::AnswerLate,
    Mishap::AnswerLate,
    Mishap::AnswerLost,
    Mishap::AnswerLost,
    Mishap::Broken,
    Mishap::ErrorBefore,
    Mishap::ErrorAfter,
    Mishap::TooMany,
    Mishap::Busy,
    Mishap::Missing,
];
/// One of so many requests fares badly.
const UNLUCKY: u32 = 2;

impl Mishap {
    /// What happens to the next request; `None`: nothing.
    pub(super) fn draw(rng: &mut Rng) -> Option<Self> {
        let is_unlucky = rng.u32(..UNLUCKY) == 0;
        is_unlucky.then(|| rng.choice(DRAWN)).flatten()
    }
}
