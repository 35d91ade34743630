//! Pictures of what was measured, in the house style.

use harness::Drawing;

use crate::sample::{Spread, number};

/// One contestant's line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One contestant's bars.
pub(crate) struct Bars {
    pub(crate) name: String,
    pub(crate) values: Vec<Spread>,
}

/// How far a value is along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// Each power of ten as long as the next.
    Logarithmic,
}

const WIDTH: f64 = 1_100.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 820.0;
const TOP: f64 = 44.0;
const HEIGHT: f64 = 420.0;
const LEGEND: f64 = 840.0;
const ROW: f64 = 18.0;
/// Where the names of bars end.
const NAMES: f64 = 260.0;
/// Far enough apart to be told from one another.
const COLORS: [&str; 11] = [
    "#111827", "#6b7280", "#0f766e", "#1d4ed8", "#7c3aed", "#fdba74", "#c2410c", "#bef264",
    "#4d7c0f", "#f9a8d4", "#be185d",
];

/// Lines over two axes; `marks` are the places of the axis below that are named.
pub(crate) fn lines(
    title: &str,
    below: &[(f64, String)],
    vertical: Scale,
    unit: &str,
    lines: &[Line],
) -> String {
    let mut svg = Drawing::new(WIDTH, TOP + HEIGHT + 50.0);
    svg.text(LEFT, 20.0, "start", 14, title);
    let points = || lines.iter().flat_map(|line| &line.points);
    let (Some(first), Some(last)) = (below.first(), below.last()) else {
        return svg.end();
    };
    let x = |at: f64| LEFT + (RIGHT - LEFT) * (at - first.0) / (last.0 - first.0).max(f64::EPSILON);
    let highest = points()
        .map(|point| point.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let lowest = points().map(|point| point.1).fold(highest, f64::min);
    let marks = marks(lowest, highest, vertical);
    let (from, to) = (marks[0], marks[marks.len() - 1]);
    let y = |value: f64| TOP + HEIGHT * (1.0 - share(value, from, to, vertical));
    for mark in &marks {
        svg.horizontal(y(*mark), LEFT, RIGHT);
        let text = format!("{} {unit}", trimmed(*mark));
        svg.text(LEFT - 8.0, y(*mark) + 4.0, "end", 11, &text);
    }
    for (at, name) in below {
        svg.vertical(x(*at), TOP, TOP + HEIGHT);
        svg.text(x(*at), TOP + HEIGHT + 18.0, "middle", 11, name);
    }
    for (number, line) in lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let points: Vec<_> = line.points.iter().map(|(a, v)| (x(*a), y(*v))).collect();
        svg.line(&points, color);
        let at = TOP + ROW * number as f64;
        svg.rectangle(LEGEND, at, 14.0, 10.0, color);
        svg.text(LEGEND + 20.0, at + 9.0, "start", 12, &line.name);
    }
    svg.end()
}

/// Groups of bars, one below the other, each with its number; `parts` names the bars of a group.
pub(crate) fn bars(title: &str, parts: &[&str], unit: &str, groups: &[Bars]) -> String {
    let height = (parts.len() as f64 + 0.6) * ROW;
    let mut svg = Drawing::new(WIDTH, TOP + height * groups.len() as f64 + 30.0);
    svg.text(16.0, 20.0, "start", 14, title);
    let values = groups.iter().flat_map(|group| &group.values);
    let longest = values
        .map(|value| value.most)
        .fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| NAMES + (LEGEND - NAMES) * value.max(0.0) / longest;
    for (number, part) in parts.iter().enumerate() {
        let at = LEGEND + 110.0;
        svg.rectangle(
            at,
            8.0 + ROW * number as f64,
            14.0,
            10.0,
            COLORS[number + 2],
        );
        svg.text(at + 20.0, 17.0 + ROW * number as f64, "start", 12, part);
    }
    for (number, group) in groups.iter().enumerate() {
        let top = TOP + height * number as f64;
        svg.text(NAMES - 8.0, top + ROW * 0.7, "end", 12, &group.name);
        for (number, value) in group.values.iter().enumerate() {
            let y = top + ROW * number as f64;
            let end = x(value.median);
            svg.rectangle(NAMES, y, end - NAMES, ROW - 5.0, COLORS[number + 2]);
            let middle = y + (ROW - 5.0) / 2.0;
            svg.line(
                &[(x(value.least), middle), (x(value.most), middle)],
                COLORS[1],
            );
            let text = format!("{} {unit}", self::number(value.median));
            svg.text(x(value.most) + 6.0, y + 10.0, "start", 11, &text);
        }
    }
    svg.end()
}

/// A title without the marks of Markdown.
pub(crate) fn plain(title: &str) -> String {
    title.replace(['*', '`'], "")
}

/// How far between the ends of an axis a value is.
fn share(value: f64, from: f64, to: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Linear => (value - from) / (to - from),
        Scale::Logarithmic => (value.max(from) / from).ln() / (to / from).ln(),
    }
}

/// The named places of an axis; the values are between the first and the last one.
fn marks(lowest: f64, highest: f64, scale: Scale) -> Vec<f64> {
    let powers = |from: i32| (from..).map(|power| 10_f64.powi(power));
    match scale {
        Scale::Linear => {
            let steps = powers(-6).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * power));
            let mut steps = steps.skip_while(|step| highest / step > 8.0);
            // The steps grow without end, so one of them is long enough.
            let step = steps.next().unwrap_or(highest);
            let count = (highest / step).ceil().max(1.0) as usize;
            let first = (lowest.min(0.0) / step).floor() as i64;
            (first..=count as i64)
                .map(|number| number as f64 * step)
                .collect()
        }
        Scale::Logarithmic => {
            let first = lowest.max(f64::MIN_POSITIVE).log10().floor() as i32;
            let last = (highest.log10().ceil() as i32).max(first + 1);
            powers(first).take((last - first) as usize + 1).collect()
        }
    }
}

/// A number without the noughts behind its point.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_its_values_between_its_ends() {
        assert_eq!(
            marks(0.3, 3.1, Scale::Linear),
            [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
        );
        assert_eq!(marks(-0.4, 3.1, Scale::Linear)[0], -0.5);
        assert_eq!(
            marks(20.0, 3_000.0, Scale::Logarithmic),
            [10.0, 100.0, 1_000.0, 10_000.0]
        );
        assert_eq!(share(100.0, 10.0, 1_000.0, Scale::Logarithmic), 0.5);
        assert_eq!(trimmed(0.5), "0.5");
        assert_eq!(trimmed(100.0), "100");
    }

    #[test]
    fn each_line_and_each_bar_is_drawn_and_named() {
        let two = |name: &str| Line {
            name: name.to_owned(),
            points: vec![(0.0, 1.0), (2.0, 10.0)],
        };
        let below = [(0.0, "0 ms".to_owned()), (2.0, "2 ms".to_owned())];
        let svg = lines("t", &below, Scale::Logarithmic, "ms", &[two("a"), two("b")]);
        assert!(svg.contains(r#"d="M80.0 464.0L820.0 44.0""#), "{svg}");
        assert!(svg.contains(">b</text>"));

        let group = Bars {
            name: "a".to_owned(),
            values: vec![Spread::of(&[2.0])],
        };
        let svg = bars("t", &["fresh"], "µs", &[group]);
        assert!(
            svg.contains(r##"width="580.0" height="13.0" fill="#0f766e""##),
            "{svg}"
        );
        assert!(svg.contains(">2.00 µs</text>"));
    }
}
