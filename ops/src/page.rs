//! What a command prints.
//!
//! A page is made of lines, tables and lists, and each text of theirs is printed [`visible`]. So a name that a client chose cannot
//! end a line, move the cursor or turn the text around. The commands print pages and nothing else.

use std::fmt;

use serde_json::Value;
use shared::text::visible;

use crate::visible::visible_json;

/// Lines for a terminal, or a document for a machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page(String);

const GAP: &str = "  ";

impl Page {
    /// One sentence.
    pub(crate) fn line(text: &str) -> Self {
        Self::default().with_line(text)
    }

    /// A document.
    pub(crate) fn json(document: &Value) -> Self {
        Self(visible_json(&document.to_string()) + "\n")
    }

    /// Rows under a heading, each column as wide as its widest cell.
    pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Self {
        let heading = heading.map(str::to_owned);
        let rows = rows
            .iter()
            .map(|row| row.each_ref().map(|cell| visible(cell)));
        let rows: Vec<[String; N]> = std::iter::once(heading).chain(rows).collect();
        let widths: [usize; N] = std::array::from_fn(|column| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        });
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join(GAP).trim_end().to_owned() + "\n"
        };
        Self(rows.iter().map(line).collect())
    }

    /// Names and what they stand for, one to a line.
    pub(crate) fn list(pairs: &[(&str, String)]) -> Self {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = pairs
            .iter()
            .map(|(name, value)| format!("{name:width$}{GAP}{}\n", visible(value)));
        Self(lines.collect())
    }

    /// The page, and below it this line.
    #[must_use]
    pub(crate) fn with_line(mut self, text: &str) -> Self {
        self.0 += &visible(text);
        self.0.push('\n');
        self
    }

    /// The page, and below it an empty line and this one.
    #[must_use]
    pub(crate) fn with_paragraph(mut self, text: &str) -> Self {
        self.0.push('\n');
        self.with_line(text)
    }
}

/// As it is printed.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::text::has_invisible;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["a".to_owned(), "bé".to_owned()],
            ["ccc".to_owned(), String::new()],
        ];
        let table = Page::table(["X", "YYYY"], &rows).to_string();
        assert_eq!(table, "X    YYYY\na    bé\nccc\n");
        let pairs = [("a", "1".to_owned()), ("long", "2".to_owned())];
        assert_eq!(Page::list(&pairs).to_string(), "a     1\nlong  2\n");
    }

    /// Every way onto a page. The lines are the page's own, and nothing in one is invisible.
    #[test]
    fn no_text_ends_a_line_or_commands_the_terminal() {
        let hostile = "a\u{1b}[2J\r\n\u{202e}\u{9b}b";
        let cell = hostile.to_owned();
        let pages = [
            (Page::line(hostile), 1),
            (Page::line("x").with_line(hostile), 2),
            (Page::line("x").with_paragraph(hostile), 3),
            (Page::table(["X", "Y"], &[[cell.clone(), cell.clone()]]), 2),
            (Page::list(&[("a", cell)]), 1),
            (Page::json(&json!({ hostile: hostile })), 1),
        ];
        for (page, lines) in pages {
            let text = page.to_string();
            assert_eq!(text.lines().count(), lines, "{text:?}");
            assert!(text.ends_with('\n'));
            assert!(text.lines().all(|line| !has_invisible(line)), "{text:?}");
        }
    }

    #[test]
    fn a_column_is_as_wide_as_what_is_shown() {
        let rows = [["\u{1b}".to_owned(), "b".to_owned()]];
        let table = Page::table(["X", "Y"], &rows).to_string();
        assert_eq!(table, "X       Y\n\\u{1b}  b\n");
    }
}
