//! Draws SVG pictures: texts, rectangles, lines and areas, in one style. The caller computes the coordinates and draws
//! legends.

use std::fmt::{self, Write};

/// A picture in progress, on a white background.
pub struct Drawing(String);

impl Drawing {
    /// An empty picture of this width and height.
    pub fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    /// Adds a text. Its start, middle or end (`anchor`) is at `x`, and its base line is at `y`.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        ));
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
        ));
    }

    /// A pale vertical grid line.
    pub fn vertical(&mut self, x: f64, from: f64, to: f64) {
        self.add(format_args!(
            "<path d=\"M{x:.1} {from:.1}V{to:.1}\" stroke=\"#0001\"/>"
        ));
    }

    /// A pale horizontal grid line.
    pub fn horizontal(&mut self, y: f64, from: f64, to: f64) {
        self.add(format_args!(
            "<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"#0001\"/>"
        ));
    }

    /// A line that connects these points, in order.
    pub fn line(&mut self, points: &[(f64, f64)], color: &str) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            // Writing to a `String` cannot fail.
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        self.add(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\"/>"
        ));
    }

    /// A filled area. `path` is its closed outline in SVG's syntax.
    pub fn area(&mut self, path: &str, color: &str) {
        self.add(format_args!(
            "<path d=\"{path}\" fill=\"{color}\" fill-opacity=\"0.75\"/>"
        ));
    }

    /// Returns the picture as SVG.
    pub fn end(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{element}");
    }
}

#[cfg(test)]
mod tests {
    use super::Drawing;

    #[test]
    fn a_line_connects_its_points_and_a_text_is_escaped() {
        let mut drawing = Drawing::new(10.0, 20.0);
        drawing.line(&[(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)], "red");
        drawing.text(1.0, 2.0, "end", 11, "a < b & c");

        let svg = drawing.end();

        assert!(svg.contains(r#"d="M1.0 2.0L3.0 4.0L5.0 6.0" fill="none""#));
        assert!(svg.contains(">a &lt; b &amp; c</text>"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
