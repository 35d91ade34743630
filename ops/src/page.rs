//! What a command prints.
//!
//! A page is made of lines, tables and lists, and each text of theirs is printed [`visible`]. So a name that a client chose cannot
//! end a line, move the cursor or turn the text around. The commands print pages and nothing else.

use std::fmt;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use shared::text::visible;

use crate::visible::visible_json;

/// Lines for a terminal, or a document for a machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page(String);

/// The spaces between two columns.
const GAP: u16 = 2;

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
        Self::columns(std::iter::once(&heading).chain(rows))
    }

    /// Names and what they stand for, one to a line.
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
        // A terminal gives two columns to each of these.
        let rows = [["北京".to_owned(), "b".to_owned()]];
        let table = Page::table(["X", "Y"], &rows).to_string();
        assert_eq!(table, "X     Y\n北京  b\n");
    }
}
