//! Draws the results with plotters: axes, marks, and a legend of colours.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::combinators::{IntoLogRange, LogCoord};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::{
    BindKeyPoints, ChartBuilder, Color, DrawingArea, IntoDrawingArea, LineSeries, PathElement,
    RGBColor, Ranged, Rectangle, SVGBackend, Text, WHITE,
};

use crate::samples::{Spread, number};

/// The line or the bars of one contestant.
pub(crate) struct Named<T> {
    pub(crate) name: String,
    pub(crate) values: Vec<T>,
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const TITLE: (&str, u32) = ("sans-serif", 16);
const FONT: (&str, u32) = ("sans-serif", 13);
const WIDTH: u32 = 1_100;
const HEIGHT: u32 = 520;
/// The width of the legend at the right.
const LEGEND: u32 = 280;
/// Colours that are easy to distinguish.
const COLORS: [u32; 11] = [
    0x111827, 0x6b7280, 0x0f766e, 0x1d4ed8, 0x7c3aed, 0xfdba74, 0xc2410c, 0xbef264, 0x4d7c0f,
    0xf9a8d4, 0xbe185d,
];
/// Bars begin with the third colour, because the second one marks the spread of rounds.
const FIRST_OF_BARS: usize = 2;

/// An axis that starts at zero, or at the least value if that value is negative, and ends at the greatest value.
pub(crate) fn linear(lines: &[Named<(f64, f64)>]) -> Range<f64> {
    let (least, most) = ends(lines);
    least.min(0.0)..most
}

/// A logarithmic axis of whole powers of ten.
pub(crate) fn logarithmic(lines: &[Named<(f64, f64)>]) -> LogCoord<f64> {
    let (least, most) = ends(lines);
    let power = |exponent: f64| 10_f64.powf(exponent);
    (power(least.log10().floor())..power(most.log10().ceil()))
        .log_scale()
        .into()
}

fn ends(lines: &[Named<(f64, f64)>]) -> (f64, f64) {
    let values = || lines.iter().flat_map(|line| &line.values);
    let most = values().map(|point| point.1).fold(0.0, f64::max);
    (values().map(|point| point.1).fold(most, f64::min), most)
}

/// Draws lines over two axes. `marks` are the places and names on the horizontal axis.
pub(crate) fn lines<Y>(
    title: &str,
    marks: &[(f64, String)],
    vertical: Y,
    lines: &[Named<(f64, f64)>],
) -> String
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let places: Vec<_> = marks.iter().map(|mark| along(mark.0)).collect();
    let name = |place: &i32| {
        let number = places.iter().position(|other| other == place);
        number.map_or_else(String::new, |number| marks[number].1.clone())
    };
    picture(HEIGHT, |canvas| {
        let below = (places[0]..places[places.len() - 1]).with_key_points(places.clone());
        let mut chart = ChartBuilder::on(canvas)
            .caption(title, TITLE)
            .margin(16)
            .margin_right(LEGEND)
            .x_label_area_size(28)
            .y_label_area_size(72)
            .build_cartesian_2d(below, vertical)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_label_formatter(&name)
            .y_label_formatter(&|value| format!("{} ms", number(*value)))
            .label_style(FONT)
            .draw()?;
        for (number, line) in lines.iter().enumerate() {
            let points = line.values.iter().map(|(at, value)| (along(*at), *value));
            chart.draw_series(LineSeries::new(points, color(number).stroke_width(2)))?;
        }
        legend(canvas, lines.iter().map(|line| line.name.as_str()), 0)
    })
}

/// Draws groups of bars with their numbers. `parts` are the names of the bars of a group.
pub(crate) fn bars(title: &str, parts: &[&str], unit: &str, groups: &[Named<Spread>]) -> String {
    let rows = parts.len() as u32 * groups.len() as u32;
    let longest = groups.iter().flat_map(|group| &group.values);
    let longest = longest.map(|value| value.most).fold(0.0, f64::max);
    picture(80 + 22 * rows, |canvas| {
        let middles = (0..groups.len()).map(|group| along(group as f64 + 0.5));
        let vertical = (along(groups.len() as f64)..0).with_key_points(middles.collect());
        let mut chart = ChartBuilder::on(canvas)
            .caption(title, TITLE)
            .margin(16)
            .margin_right(LEGEND)
            .x_label_area_size(28)
            .y_label_area_size(240)
            .build_cartesian_2d(0.0..longest * 1.1, vertical)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_label_formatter(&|value| format!("{} {unit}", number(*value)))
            .y_label_formatter(&|middle| groups[(middle / along(1.0)) as usize].name.clone())
            .label_style(FONT)
            .draw()?;
        let thickness = 0.9 / parts.len() as f64;
        for (group, bars) in groups.iter().enumerate() {
            for (part, value) in bars.values.iter().enumerate() {
                let top = group as f64 + thickness * part as f64;
                let at = |part| along(top + thickness * part);
                let bar = [(0.0, at(0.0)), (value.median, at(0.9))];
                let rounds = [(value.least, at(0.45)), (value.most, at(0.45))];
                let text = format!("{} {unit}", number(value.median));
                let beside = (value.most + longest / 150.0, at(0.2));
                let area = chart.plotting_area();
                area.draw(&Rectangle::new(bar, color(FIRST_OF_BARS + part).filled()))?;
                area.draw(&PathElement::new(rounds, color(1)))?;
                area.draw(&Text::new(text, beside, FONT))?;
            }
        }
        legend(canvas, parts.iter().copied(), FIRST_OF_BARS)
    })
}

/// Draws a picture of this height as SVG.
fn picture(height: u32, draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let canvas = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let drawn = canvas.fill(&WHITE).map_err(Into::into);
    let drawn = drawn.and_then(|()| draw(&canvas));
    drawn.expect("drawing to a String cannot fail");
    drop(canvas);
    svg
}

/// Draws the legend at the right. The first name gets the colour with the index `first`.
fn legend<'a>(canvas: &Canvas<'_>, names: impl Iterator<Item = &'a str>, first: usize) -> Drawn {
    let left = (WIDTH - LEGEND) as i32 + 24;
    for (row, name) in names.enumerate() {
        let top = 52 + 20 * row as i32;
        let sample = [(left, top), (left + 14, top + 10)];
        canvas.draw(&Rectangle::new(sample, color(first + row).filled()))?;
        canvas.draw(&Text::new(name, (left + 20, top), FONT))?;
    }
    Ok(())
}

/// The place on an axis with chosen marks, as the integer that plotters requires.
fn along(place: f64) -> i32 {
    (place * 1_000.0).round() as i32
}

fn color(number: usize) -> RGBColor {
    let [_, red, green, blue] = COLORS[number % COLORS.len()].to_be_bytes();
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<T>(name: &str, values: Vec<T>) -> Named<T> {
        let name = name.to_owned();
        Named { name, values }
    }

    #[test]
    fn every_line_and_bar_is_drawn_and_named() {
        let two = ["a", "b"].map(|name| named(name, vec![(0.0, 1.0), (2.0, 10.0)]));
        let marks = [(0.0, "0 ms".to_owned()), (2.0, "2 ms".to_owned())];
        let svgs = [
            lines("t", &marks, linear(&two), &two),
            lines("t", &marks, logarithmic(&two), &two),
        ];
        let parts = [
            "#111827", "#6B7280", "\na\n", "\nb\n", "\n2 ms\n", "10.0 ms",
        ];
        for (svg, part) in svgs.iter().flat_map(|svg| parts.map(|part| (svg, part))) {
            assert!(svg.contains(part), "{part:?} in {svg}");
        }

        let group = named("who", vec![Spread::of(&[2.0]), Spread::of(&[1.0])]);
        let svg = bars("t", &["fresh", "replay"], "µs", &[group]);
        for part in [
            "#0F766E",
            "#1D4ED8",
            "fresh",
            "replay",
            "\nwho\n",
            "\n2.00 µs\n",
        ] {
            assert!(svg.contains(part), "{part:?} in {svg}");
        }
    }
}
