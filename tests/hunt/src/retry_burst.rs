//! Retries of a key before, around and after the end of its retention.
//!
//! The critical moment is the expiry of a finished record. Caller A reads the record, and MongoDB deletes the record. Then caller
//! B claims the key anew, and caller A acts on the deleted record.

use std::time::Duration;

use fastrand::Rng;

/// Callers that retry one key, each at its own time after the final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RetryBurst(pub(super) Vec<Caller>);

/// One caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The time between the final response and the caller's first retry.
    pub(super) after: Duration,
    /// Whether the caller sends a different request with the same key.
    pub(super) is_different: bool,
}

/// The earliest retry comes this time before the end of the retention. The record was stored before its response arrived,
/// so the record expires a little earlier than one retention after the response.
const EARLY: Duration = Duration::from_millis(100);
/// A burst spreads its retries over one of these times. They are less than one pause of the TTL monitor, a little more than one
/// pause, and several pauses.
const SPREADS: [Duration; 3] = [
    Duration::from_millis(120),
    Duration::from_millis(300),
    Duration::from_millis(800),
];
const MOST_CALLERS: usize = 6;
/// If reuse is allowed, the callers in 1 of `REUSED` bursts, on average, can send a different request with the same key.
const REUSED: u32 = 4;

impl RetryBurst {
    /// Draws a burst around the end of a retention. If `may_reuse` is true, callers of some bursts send a different request with
    /// the same key.
    pub(super) fn draw(rng: &mut Rng, retention: Duration, may_reuse: bool) -> Self {
        let spread = rng.choice(SPREADS).unwrap_or_default();
        let is_reused = may_reuse && rng.u32(..REUSED) == 0;
        let mut callers = Vec::new();
        if rng.bool() {
            callers.push(Caller {
                after: retention.saturating_sub(EARLY).mul_f64(rng.f64()),
                is_different: false,
            });
        }
        for _ in 0..rng.usize(2..=MOST_CALLERS) {
            callers.push(Caller {
                after: retention.saturating_sub(EARLY) + spread.mul_f64(rng.f64()),
                is_different: is_reused && rng.bool(),
            });
        }
        Self(callers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_callers_retry_around_the_end_of_the_retention_and_some_before() {
        let retention = Duration::from_secs(5);
        let mut rng = Rng::with_seed(1);
        let retry_bursts: Vec<_> = (0..100)
            .map(|_| RetryBurst::draw(&mut rng, retention, true))
            .collect();
        let callers = |is_wanted: fn(&Caller) -> bool| {
            let all = retry_bursts.iter().flat_map(|burst| &burst.0);
            all.filter(|caller| is_wanted(caller)).count()
        };
        for RetryBurst(callers) in &retry_bursts {
            let around = callers
                .iter()
                .filter(|caller| caller.after >= retention - EARLY);
            assert!(around.count() >= 2);
        }
        assert!(callers(|caller| caller.after < Duration::from_secs(4)) > 20);
        assert!(callers(|caller| caller.after > Duration::from_secs(5)) > 100);
        assert!(callers(|caller| caller.is_different) > 20);
        let same = RetryBurst::draw(&mut rng, retention, false);
        assert!(same.0.iter().all(|caller| !caller.is_different));
    }
}
