//! What was measured: tables for people, JSON for programs, pictures, and whether the goals are met.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::sample::{Spread, number};
use crate::summary;

/// What one measure has found.
#[derive(Default)]
pub(crate) struct Section {
    /// One word, for files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What has to be known to read the table.
    pub(crate) notes: Vec<String>,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// The numbers.
    pub(crate) data: Value,
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

    /// Names the columns.
    pub(crate) fn columns<const N: usize>(&mut self, names: [&str; N]) {
        self.columns = names.map(str::to_owned).into();
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
        if !self.columns.is_empty() {
            text += &row(&self.columns);
            text += &format!("|{}\n", "---|".repeat(self.columns.len()));
            self.rows.iter().for_each(|cells| text += &row(cells));
            text += "\n";
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

    fn limit_in_words(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {limit}"),
            Limit::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// Which goals are met, as Markdown.
pub(crate) fn goals(sections: &[Section]) -> String {
    let goals: Vec<_> = sections.iter().flat_map(|section| &section.goals).collect();
    if goals.is_empty() {
        return String::new();
    }
    let mut text =
        "### Goals\n\n| goal | limit | measured (least–most of the rounds) | |\n|---|---|---|---|\n".to_owned();
    for goal in goals {
        let verdict = if goal.is_met() { "met" } else { "**not met**" };
        let cells = [
            goal.what.clone(),
            goal.limit_in_words(),
            goal.measured.in_words(),
            verdict.to_owned(),
        ];
        text += &row(&cells);
    }
    text + "\n"
}

/// Writes everything into a folder: `table.md`, a summary of it, for each section its JSON, and the pictures.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn write(folder: &Path, head: &str, sections: &[Section]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut table = head.to_owned();
    for section in sections {
        // Writing to a text cannot fail.
        let _ = write!(table, "{}", section.to_markdown());
        let goals = section.goals.iter().map(|goal| {
            json!({
                "what": goal.what,
                "limit": goal.limit_in_words(),
                "measured": goal.measured.to_json(),
                "met": goal.is_met(),
            })
        });
        let data = json!({
            "title": section.title,
            "notes": section.notes,
            "measured": section.data,
            "goals": goals.collect::<Value>(),
            "wrong": section.wrong,
        });
        let file = folder.join(format!("{}.json", section.name));
        std::fs::write(file, format!("{data:#}\n"))?;
        for (name, svg) in &section.pictures {
            std::fs::write(folder.join(format!("{name}.svg")), svg)?;
        }
    }
    table += &goals(sections);
    std::fs::write(folder.join("summary.md"), summary::table(sections))?;
    std::fs::write(folder.join("table.md"), table)
}

/// A line of a table.
pub(crate) fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(limit: Limit, measured: f64) -> Goal {
        Goal {
            what: "a ratio".to_owned(),
            limit,
            measured: Spread::of(&[measured]),
        }
    }

    #[test]
    fn a_goal_is_met_within_its_limit_and_not_beyond() {
        let cases = [
            (Limit::AtMost(1.3), 1.3, true),
            (Limit::AtMost(1.3), 1.31, false),
            (Limit::AtLeast(5.0), 5.0, true),
            (Limit::AtLeast(5.0), 4.9, false),
        ];
        for (limit, measured, is_met) in cases {
            assert_eq!(goal(limit, measured).is_met(), is_met, "{measured}");
        }
    }

    #[test]
    fn a_section_is_a_table_with_its_goals_behind_it() {
        let mut section = Section::new("x", "What it is");
        section.columns(["who", "how much"]);
        section.rows.push(vec!["ours".into(), "2.00".into()]);
        section.goals.push(goal(Limit::AtMost(1.0), 2.0));
        assert_eq!(
            section.to_markdown(),
            "### What it is\n\n| who | how much |\n|---|---|\n| ours | 2.00 |\n\n"
        );
        let goals = goals(&[section]);
        assert!(goals.ends_with("| a ratio | ≤ 1 | 2.00 | **not met** |\n\n"));
    }

    #[test]
    fn a_count_that_is_off_is_wrong() {
        let mut section = Section::new("x", "What it is");
        section.hold("two", 2.0, 2.0);
        section.hold("three", 2.0, 3.0);
        assert_eq!(section.wrong, ["three: 2.00 instead of 3.00"]);
    }
}
