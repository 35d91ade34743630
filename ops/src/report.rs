//! The result of a command: the page that it prints, and whether the page is complete.

use crate::page::Page;

/// The result of a command.
pub(crate) struct Report {
    pub(crate) page: Page,
    /// Whether the command read all data that it had to read. If not, the exit code is 1.
    pub(crate) is_complete: bool,
}

impl Report {
    pub(crate) fn complete(page: Page) -> Self {
        Self {
            page,
            is_complete: true,
        }
    }
}
