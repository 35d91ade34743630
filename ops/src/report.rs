//! What a command prints, and whether its exit code says that something is missing.

use crate::page::Page;

/// The result of a command.
pub(crate) struct Report {
    pub(crate) page: Page,
    /// Whether the command could read everything that it looked at.
    pub(crate) is_whole: bool,
}

impl Report {
    pub(crate) fn whole(page: Page) -> Self {
        Self {
            page,
            is_whole: true,
        }
    }
}
