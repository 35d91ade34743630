//! The output of a command.
//!
//! A page consists of lines, tables and lists. [`visible`] escapes every text in it. So a name that a client chose cannot end
//! a line, move the cursor or reverse the text. All output of commands consists of pages.

use std::fmt;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use shared::text::visible;

use crate::escapes::visible_json;

/// Lines for a terminal, or a JSON document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page(String);

/// The spaces between two columns.
const GAP: u16 = 2;

impl Page {
    /// A page of one line.
    pub(crate) fn line(text: &str) -> Self {
        Self::default().with_line(text)
    }

    /// A page that is a JSON document.
    pub(crate) fn json(document: &Value) -> Self {
        Self(visible_json(&document.to_string()) + "\n")
    }

    /// A page with rows below a heading. Each column is as wide as its widest cell.
    pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Self {
        let heading = heading.map(str::to_owned);
        Self::columns(std::iter::once(&heading).chain(rows))
    }

    /// A page with a list of names and values. Each line has one name and its value.
    pub(crate) fn list(pairs: &[(&str, String)]) -> Self {
        let rows = pairs
            .iter()
            .map(|(name, value)| [(*name).to_owned(), value.clone()]);
        Self::columns(&rows.collect::<Vec<_>>())
    }

    fn columns<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [String; N]>) -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.add_rows(
            rows.into_iter()
                .map(|row| row.each_ref().map(|cell| visible(cell))),
        );
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        Self(table.trim_fmt() + "\n")
    }

    /// Appends a line.
    #[must_use]
    pub(crate) fn with_line(mut self, text: &str) -> Self {
        self.0 += &visible(text);
        self.0.push('\n');
        self
    }

    /// Appends an empty line and a line.
    #[must_use]
    pub(crate) fn with_paragraph(mut self, text: &str) -> Self {
        self.0.push('\n');
        self.with_line(text)
    }
}

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

    /// Tests every constructor of a page. No text adds a line, and no printed character is invisible.
    #[test]
    fn no_text_ends_a_line_or_controls_the_terminal() {
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
    fn a_column_is_as_wide_as_its_printed_text() {
        let rows = [["\u{1b}".to_owned(), "b".to_owned()]];
        let table = Page::table(["X", "Y"], &rows).to_string();
        assert_eq!(table, "X       Y\n\\u{1b}  b\n");
        // A terminal prints each of these characters two columns wide.
        let rows = [["北京".to_owned(), "b".to_owned()]];
        let table = Page::table(["X", "Y"], &rows).to_string();
        assert_eq!(table, "X     Y\n北京  b\n");
    }
}
