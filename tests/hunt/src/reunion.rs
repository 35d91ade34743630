//! When callers come back for a key: before, around and after the end of its retention.
//!
//! What matters is the instant at which a finished record is over: one caller reads it, MongoDB deletes it, another one claims the
//! key anew, and the first one goes on by what it has read.

use std::time::Duration;

use fastrand::Rng;

/// Callers that come back for one key, each at a time of its own after the key was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reunion(pub(super) Vec<Caller>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// How long after the answer it comes.
    pub(super) after: Duration,
    /// Whether it wants something else than the first request did.
    pub(super) wants_other: bool,
}

/// How long before the end the first ones come. The record was stored a little before its answer was heard.
const EARLY: Duration = Duration::from_millis(100);
/// Over which time they come: nearly at once, within the pause of the TTL monitor, or across several of its deletions.
const SPREADS: [Duration; 3] = [
    Duration::from_millis(120),
    Duration::from_millis(300),
    Duration::from_millis(800),
];
const MOST_CALLERS: usize = 6;
/// One of so many reunions has callers that want something else.
const REUSED: u32 = 4;

impl Reunion {
    /// Draws one around the end of a retention. Only where `may_reuse`, some callers want something else.
    pub(super) fn draw(rng: &mut Rng, retention: Duration, may_reuse: bool) -> Self {
        let spread = rng.choice(SPREADS).unwrap_or_default();
        let is_reused = may_reuse && rng.u32(..REUSED) == 0;
        let mut callers = Vec::new();
        if rng.bool() {
            callers.push(Caller {
                after: retention.saturating_sub(EARLY).mul_f64(rng.f64()),
                wants_other: false,
            });
        }
        for _ in 0..rng.usize(2..=MOST_CALLERS) {
            callers.push(Caller {
                after: retention.saturating_sub(EARLY) + spread.mul_f64(rng.f64()),
                wants_other: is_reused && rng.bool(),
            });
        }
        Self(callers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_callers_come_around_the_end_and_some_before() {
        let retention = Duration::from_secs(5);
        let mut rng = Rng::with_seed(1);
        let reunions: Vec<_> = (0..100)
            .map(|_| Reunion::draw(&mut rng, retention, true))
            .collect();
        let callers = |is_wanted: fn(&Caller) -> bool| {
            let all = reunions.iter().flat_map(|reunion| &reunion.0);
            all.filter(|caller| is_wanted(caller)).count()
        };
        for Reunion(callers) in &reunions {
            let around = callers
                .iter()
                .filter(|caller| caller.after >= retention - EARLY);
            assert!(around.count() >= 2);
        }
        assert!(callers(|caller| caller.after < Duration::from_secs(4)) > 20);
        assert!(callers(|caller| caller.after > Duration::from_secs(5)) > 100);
        assert!(callers(|caller| caller.wants_other) > 20);
        let same = Reunion::draw(&mut rng, retention, false);
        assert!(same.0.iter().all(|caller| !caller.wants_other));
    }
}
