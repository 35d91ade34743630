//! The result of one measure: a table, JSON, pictures and goals.

use serde_json::{Map, Value};

use crate::samples::{Spread, number};

/// The result of one measure.
#[derive(Default)]
pub(crate) struct Section {
    /// The name, a single word. The JSON file of the results has this name.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Notes for reading the table.
    pub(crate) notes: Vec<String>,
    /// The table, as Markdown.
    table: String,
    /// The numbers of the rows, by the name of the row.
    pub(crate) data: Map<String, Value>,
    /// The pictures as SVG, each with its name.
    pub(crate) pictures: Vec<(&'static str, String)>,
    pub(crate) goals: Vec<Goal>,
    /// Sentences about wrong counts. Counts do not depend on the machine's speed.
    pub(crate) wrong: Vec<String>,
}

/// The expected result of a measure.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) limit: Limit,
    pub(crate) measured: Spread,
}

#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Section {
    pub(crate) fn new(name: &'static str, title: &'static str) -> Self {
        Self {
            name,
            title,
            ..Self::default()
        }
    }

    /// Sets the titles of the columns, for example `what | ms | × bare`. The first column holds the titles of the rows.
    pub(crate) fn columns(&mut self, names: &str) {
        let count = names.split(" | ").count();
        self.table = format!("| {names} |\n|{}\n", "---|".repeat(count));
    }

    /// Adds a row to the table, with a title and cells. Stores the numbers of the row under the row's name.
    pub(crate) fn row(&mut self, (title, name): (&str, &str), cells: &str, numbers: Value) {
        self.table += &format!("| {title} | {cells} |\n");
        self.data.insert(name.to_owned(), numbers);
    }

    /// Moves the numbers of all rows so far into one JSON object with this name. Numbers that are added later are stored beside
    /// that object.
    pub(crate) fn nest(&mut self, name: &str) {
        let all = std::mem::take(&mut self.data);
        self.data.insert(name.to_owned(), all.into());
    }

    /// Sets a goal.
    pub(crate) fn goal(&mut self, what: String, limit: Limit, measured: Spread) {
        self.goals.push(Goal {
            what,
            limit,
            measured,
        });
    }

    /// Checks that a count is as expected.
    pub(crate) fn hold(&mut self, what: &str, counted: f64, expected: f64) {
        if (counted - expected).abs() > 1e-9 {
            let sentence = format!(
                "{what}: {} instead of {}",
                number(counted),
                number(expected)
            );
            self.wrong.push(sentence);
        }
    }

    /// Checks that a condition holds.
    pub(crate) fn hold_that(&mut self, is_so: bool, what: &str) {
        if !is_so {
            self.wrong.push(format!("not so: {what}"));
        }
    }

    /// The section as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        for note in &self.notes {
            text += &format!("{note}\n\n");
        }
        if !self.table.is_empty() {
            text += &format!("{}\n", self.table);
        }
        for (name, _) in &self.pictures {
            text += &format!("![{}]({name}.svg)\n\n", self.title);
        }
        text
    }
}

impl Goal {
    /// Whether the median is within the limit.
    pub(crate) fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.measured.median <= limit,
            Limit::AtLeast(limit) => self.measured.median >= limit,
        }
    }

    pub(crate) fn limit_in_words(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_goal_is_met_only_within_its_limit() {
        let cases = [
            (Limit::AtMost(1.3), 1.3, true),
            (Limit::AtMost(1.3), 1.31, false),
            (Limit::AtLeast(5.0), 5.0, true),
            (Limit::AtLeast(5.0), 4.9, false),
        ];
        for (limit, measured, is_met) in cases {
            let mut section = Section::new("x", "What it is");
            section.goal("a ratio".to_owned(), limit, Spread::of(&[measured]));
            assert_eq!(section.goals[0].is_met(), is_met, "{measured}");
        }
    }

    #[test]
    fn a_section_is_written_as_a_table() {
        let mut section = Section::new("x", "What it is");
        section.columns(" | how much");
        section.row(("Ours", "ours"), "2 ms", json!(2.0));
        assert_eq!(section.data["ours"], 2.0);
        assert_eq!(
            section.to_markdown(),
            "### What it is\n\n|  | how much |\n|---|---|\n| Ours | 2 ms |\n\n"
        );
    }

    #[test]
    fn an_unexpected_count_is_wrong() {
        let mut section = Section::new("x", "What it is");
        section.hold("two", 2.0, 2.0);
        section.hold("three", 2.0, 3.0);
        assert_eq!(section.wrong, ["three: 2.00 instead of 3.00"]);
    }
}
