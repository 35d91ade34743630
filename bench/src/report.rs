//! Writes the results to files: tables, JSON, pictures and goals.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::section::Section;
use crate::summary;

/// The goals and their results, as Markdown.
pub(crate) fn goals(sections: &[Section]) -> String {
    let goals: Vec<_> = sections.iter().flat_map(|section| &section.goals).collect();
    if goals.is_empty() {
        return String::new();
    }
    let mut text =
        "### Goals\n\n| goal | limit | measured (least–most of the rounds) | |\n|---|---|---|---|\n".to_owned();
    for goal in goals {
        let verdict = if goal.is_met() { "met" } else { "**not met**" };
        let (what, limit, measured) = (&goal.what, goal.limit_in_words(), goal.measured);
        text += &format!("| {what} | {limit} | {measured} | {verdict} |\n");
    }
    text + "\n"
}

/// Writes `table.md`, its summary, a JSON file per section, and the pictures to a folder.
///
/// # Errors
///
/// Fails with an error of the file system.
pub(crate) fn write(folder: &Path, head: &str, sections: &[Section]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut table = head.to_owned();
    for section in sections {
        // Writing to a `String` cannot fail.
        let _ = write!(table, "{}", section.to_markdown());
        let goals = section.goals.iter().map(|goal| {
            json!({
                "what": goal.what,
                "limit": goal.limit_in_words(),
                "measured": goal.measured,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Spread;
    use crate::section::Limit;

    #[test]
    fn a_missed_goal_is_reported() {
        let mut section = Section::new("x", "What it is");
        section.goal("a ratio".to_owned(), Limit::AtMost(1.0), Spread::of(&[2.0]));
        let goals = goals(&[section]);
        assert!(goals.ends_with("| a ratio | ≤ 1 | 2.00 | **not met** |\n\n"));
    }
}
