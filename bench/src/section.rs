//! What one measure has found: a table for people, numbers for programs, pictures, and its goals.

use serde_json::{Map, Value};

use crate::samples::{Spread, number};

/// What one measure has found.
#[derive(Default)]
pub(crate) struct Section {
    /// One word, for files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What has to be known to read the table.
    pub(crate) notes: Vec<String>,
    /// The table, as Markdown.
    table: String,
    /// The numbers, by what a row is about.
    pub(crate) data: Map<String, Value>,
    /// Names and SVG.
    pub(crate) pictures: Vec<(&'static str, String)>,
    pub(crate) goals: Vec<Goal>,
    /// What cannot be: counts that are wrong, whatever the machine's mood.
    pub(crate) wrong: Vec<String>,
}

/// What a measure is to come to.
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

    /// Names the columns, the first one of which names the rows: `what | ms | × bare`.
    pub(crate) fn columns(&mut self, names: &str) {
        let count = names.split(" | ").count();
        self.table = format!("| {names} |\n|{}\n", "---|".repeat(count));
    }

    /// Adds a row under its title, with cells between bars, and the numbers of it under its name.
    pub(crate) fn row(&mut self, (title, name): (&str, &str), cells: &str, numbers: Value) {
        self.table += &format!("| {title} | {cells} |\n");
        self.data.insert(name.to_owned(), numbers);
    }

    /// Puts the numbers of all rows under one name, so that others have their place beside them.
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

    /// Holds that a count is what it has to be.
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

    /// Holds that something is.
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
    fn a_goal_is_met_within_its_limit_and_not_beyond() {
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
    fn a_section_is_a_table() {
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
    fn a_count_that_is_off_is_wrong() {
        let mut section = Section::new("x", "What it is");
        section.hold("two", 2.0, 2.0);
        section.hold("three", 2.0, 3.0);
        assert_eq!(section.wrong, ["three: 2.00 instead of 3.00"]);
    }
}
