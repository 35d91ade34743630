//! What a command prints, and whether its exit code says that something is missing.

/// The result of a command.
pub(crate) struct Report {
    pub(crate) text: String,
    /// Whether the command could read everything that it looked at.
    pub(crate) is_whole: bool,
}

impl Report {
    pub(crate) fn whole(text: String) -> Self {
        Self {
            text,
            is_whole: true,
        }
    }
}
