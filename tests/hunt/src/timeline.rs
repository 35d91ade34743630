//! A picture of a hunt: the periods of faults, and the numbers of charges and final responses over time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use harness::drawing::Drawing;

use super::report::Report;

const WIDTH: f64 = 1_100.0;
/// The x coordinate of the start of the time axis.
const LEFT: f64 = 150.0;
/// The x coordinate of the end of the time axis.
const RIGHT: f64 = 1_080.0;
const HEADING: f64 = 44.0;
const ROW: f64 = 17.0;
const PLOT: f64 = 90.0;
/// The number of intervals of the time axis. The picture shows the number of charges and of final responses in each
/// interval.
const PARTS: usize = 310;
/// The minimum width of a fault in the picture, so that short faults are visible.
const THINNEST: f64 = 1.5;
const MOST_TICKS: f64 = 12.0;
const FAULT: &str = "#c2410c";
const CHARGES: &str = "#0f766e";
const ANSWERS: &str = "#1d4ed8";

impl Report {
    /// The timeline as an SVG picture.
    pub fn to_svg(&self) -> String {
        svg(self)
    }
}

/// The picture as SVG.
fn svg(report: &Report) -> String {
    let took = report.took.as_secs_f64().max(1.0);
    let x = |at: Duration| LEFT + (RIGHT - LEFT) * (at.as_secs_f64() / took).min(1.0);
    let mut rows: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for fault in &report.fault_periods {
        let row = rows.entry(fault.fault.to_string()).or_default();
        row.push((x(fault.from), x(fault.to)));
    }
    let plots = HEADING + ROW * rows.len() as f64;
    let height = plots + 2.0 * PLOT + 40.0;
    let mut svg = Drawing::new(WIDTH, height);
    svg.text(LEFT, 18.0, "start", 14, &heading(report));
    for (number, (name, spans)) in rows.iter().enumerate() {
        let top = HEADING + ROW * number as f64;
        svg.text(LEFT - 8.0, top + ROW - 5.0, "end", 11, name);
        for (from, to) in spans {
            let width = (to - from).max(THINNEST);
            svg.rectangle(*from, top + 3.0, width, ROW - 5.0, FAULT);
        }
    }
    for (number, (name, color, moments)) in [
        ("charges", CHARGES, &report.charged_at),
        ("final answers", ANSWERS, &report.answered_at),
    ]
    .into_iter()
    .enumerate()
    {
        let bottom = plots + PLOT * (number + 1) as f64;
        add_plot(&mut svg, &counted(moments, took), bottom, color);
        svg.text(LEFT - 8.0, bottom - PLOT / 2.0, "end", 11, name);
    }
    let bottom = plots + 2.0 * PLOT;
    let step = tick(took);
    let mut at = 0.0;
    while at <= took {
        let x = x(Duration::from_secs_f64(at));
        svg.vertical(x, HEADING, bottom);
        svg.text(x, bottom + 16.0, "middle", 11, &format!("{at} s"));
        at += step;
    }
    svg.end()
}

fn heading(report: &Report) -> String {
    let found = match report.broken() {
        broken if broken.is_empty() => "nothing found".to_owned(),
        broken => broken.join("; "),
    };
    format!(
        "{} payments, {} requests, {} faults, {} charges: {found}",
        report.payments,
        report.attempts,
        report.fault_periods.len(),
        report.charges
    )
}

/// The number of `moments` in each interval of the time axis.
fn counted(moments: &[Duration], took: f64) -> Vec<usize> {
    let mut counts = vec![0; PARTS];
    for moment in moments {
        let part = (moment.as_secs_f64() / took * PARTS as f64) as usize;
        counts[part.min(PARTS - 1)] += 1;
    }
    counts
}

/// The seconds between two marks of the time axis: 1, 2 or 5 times a power of ten.
fn tick(took: f64) -> f64 {
    let steps = (0..).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
    let mut steps = steps.filter(|step| took / step <= MOST_TICKS);
    steps.next().unwrap_or(took)
}

/// Draws `counts` as an area above `bottom`, along the time axis.
fn add_plot(svg: &mut Drawing, counts: &[usize], bottom: f64, color: &str) {
    let highest = counts.iter().copied().max().unwrap_or_default().max(1) as f64;
    let width = (RIGHT - LEFT) / counts.len() as f64;
    let mut path = format!("M{LEFT} {bottom:.1}");
    for count in counts {
        let y = bottom - (PLOT - 12.0) * *count as f64 / highest;
        // Writing to a `String` cannot fail.
        let _ = write!(path, "V{y:.1}h{width:.2}");
    }
    svg.area(&format!("{path}V{bottom:.1}Z"), color);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, FaultPeriod};

    #[test]
    fn a_fault_is_a_bar_in_its_row() {
        let report = Report {
            charges: 2,
            charged_at: vec![Duration::from_secs(2), Duration::from_secs(4)],
            fault_periods: vec![FaultPeriod {
                fault: Fault::Kill,
                from: Duration::from_secs(1),
                to: Duration::from_secs(3),
            }],
            took: Duration::from_secs(10),
            ..Report::default()
        };

        let svg = svg(&report);

        let bars: Vec<_> = svg.lines().filter(|line| line.contains(FAULT)).collect();
        let bar = r##"<rect x="243.0" y="47.0" width="186.0" height="12.0" fill="#c2410c"/>"##;
        assert_eq!(bars, [bar]);
        assert!(svg.contains(r#"y="56.0" text-anchor="end" font-size="11">Kill</text>"#));
        assert!(svg.contains("1 faults, 2 charges: nothing found"));
    }
}
