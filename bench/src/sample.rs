//! Numbers that were measured more than once: what half of them stayed below, and how far they lie apart.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// One number, measured in several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// The spread of what each round measured.
    ///
    /// # Panics
    ///
    /// When there was no round.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let sorted = sorted(rounds);
        Self {
            median: at(&sorted, 0.5),
            least: sorted[0],
            most: sorted[sorted.len() - 1],
        }
    }

    /// How it looks in a cell: the median, and behind it how far the rounds lie apart, if there were some.
    pub(crate) fn in_words(self) -> String {
        if self.least == self.most {
            return number(self.median);
        }
        format!(
            "{} ({}–{})",
            number(self.median),
            number(self.least),
            number(self.most)
        )
    }

    /// What [`to_json`](Self::to_json) made.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            median: value["median"].as_f64()?,
            least: value["least"].as_f64()?,
            most: value["most"].as_f64()?,
        })
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.in_words())
    }
}

/// Round by round, one measure divided by another of the same round.
pub(crate) fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(a, b)| a / b).collect()
}

/// Round by round, one measure less another of the same round.
pub(crate) fn differences(from: &[f64], less: &[f64]) -> Vec<f64> {
    from.iter().zip(less).map(|(a, b)| a - b).collect()
}

/// What all but the given part of some durations stayed below, in microseconds.
pub(crate) fn percentile(took: &[Duration], part: f64) -> f64 {
    let took: Vec<f64> = took.iter().map(|took| micros(*took)).collect();
    at(&sorted(&took), part)
}

/// A duration in microseconds.
pub(crate) fn micros(took: Duration) -> f64 {
    took.as_nanos() as f64 / 1e3
}

/// Three digits, more before the point if there are more.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The value that the given part of all lies below or at.
fn at(sorted: &[f64], part: f64) -> f64 {
    assert!(!sorted.is_empty(), "nothing was measured");
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends_whatever_the_order() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
        assert_eq!(spread.in_words(), "2.00 (1.00–3.00)");
    }

    #[test]
    fn all_but_a_hundredth_stay_below_p99() {
        let took: Vec<_> = (1..=1000).rev().map(Duration::from_micros).collect();
        let parts = [0.5, 0.99, 0.999, 1.0].map(|part| percentile(&took, part));
        assert_eq!(parts, [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(percentile(&took[..1], 0.999), 1000.0);
    }

    #[test]
    fn rounds_are_compared_with_their_own_baseline() {
        assert_eq!(ratios(&[10.0, 30.0], &[5.0, 10.0]), [2.0, 3.0]);
        assert_eq!(differences(&[10.0, 30.0], &[5.0, 10.0]), [5.0, 20.0]);
    }
}
