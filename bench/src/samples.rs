//! Repeated measurements: medians and spreads.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The results of several subjects, for example contestants, by round.
pub(crate) struct Samples<K>(BTreeMap<K, Vec<f64>>);

/// The median, the least and the greatest value of one number over several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl<K> Default for Samples<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Samples<K> {
    /// Adds the result of a subject in one round.
    pub(crate) fn add(&mut self, of: K, value: f64) {
        self.0.entry(of).or_default().push(value);
    }

    /// The results of all rounds. Empty for a subject that took no part.
    pub(crate) fn of(&self, of: K) -> &[f64] {
        self.0.get(&of).map_or(&[], Vec::as_slice)
    }

    /// The spread over the rounds. `None` for a subject that took no part.
    pub(crate) fn spread(&self, of: K) -> Option<Spread> {
        self.0.get(&of).map(|rounds| Spread::of(rounds))
    }

    /// The spread of the ratio of two subjects over the rounds. Each ratio is computed from the results of one round.
    pub(crate) fn times(&self, of: K, beside: K) -> Spread {
        Spread::of(&ratios(self.of(of), self.of(beside)))
    }
}

impl Spread {
    /// The spread of these results.
    ///
    /// # Panics
    ///
    /// Panics if there was no round.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let [least, median, most] = [0.0, 0.5, 1.0].map(|part| quantile(rounds, part));
        Self {
            median,
            least,
            most,
        }
    }
}

/// The text in a table cell: the median, then the least and the greatest value if they differ.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&number(self.median))?;
        if self.least == self.most {
            return Ok(());
        }
        write!(formatter, " ({}–{})", number(self.least), number(self.most))
    }
}

/// The ratios of `above` to `below`, one for each round.
pub(crate) fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(a, b)| a / b).collect()
}

/// The differences `from` minus `less`, one for each round.
pub(crate) fn differences(from: &[f64], less: &[f64]) -> Vec<f64> {
    from.iter().zip(less).map(|(a, b)| a - b).collect()
}

/// The given percentile of durations, in microseconds.
pub(crate) fn percentile(took: &[Duration], part: f64) -> f64 {
    let took: Vec<_> = took.iter().copied().map(micros).collect();
    quantile(&took, part)
}

/// A duration in microseconds.
pub(crate) fn micros(took: Duration) -> f64 {
    took.as_nanos() as f64 / 1e3
}

/// A duration in milliseconds.
pub(crate) fn millis(took: Duration) -> f64 {
    micros(took) / 1e3
}

/// Formats a number with three significant digits; digits before the point are never dropped.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The least of the values for which this holds: at least the given share of all values is less than or equal to it.
fn quantile(values: &[f64], part: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_with_the_extremes_in_any_order() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
        assert_eq!(spread.to_string(), "2.00 (1.00–3.00)");
    }

    #[test]
    fn p99_is_the_value_that_99_percent_stay_below() {
        let took: Vec<_> = (1..=1000).rev().map(Duration::from_micros).collect();
        let parts = [0.5, 0.99, 0.999, 1.0].map(|part| percentile(&took, part));
        assert_eq!(parts, [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(percentile(&took[..1], 0.999), 1000.0);
    }

    #[test]
    fn comparisons_are_made_within_a_round() {
        let mut samples = Samples::default();
        for (a, b) in [(10.0, 5.0), (30.0, 10.0)] {
            samples.add("a", a);
            samples.add("b", b);
        }
        assert_eq!(samples.times("a", "b"), Spread::of(&[2.0, 3.0]));
        assert_eq!(differences(samples.of("a"), samples.of("b")), [5.0, 20.0]);
        assert_eq!(samples.spread("c"), None);
    }
}
