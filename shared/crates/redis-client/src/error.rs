//! Why did a command fail, and may it have run all the same?

use super::reason::Reason;

/// A command that has no result. The variant says what the caller may conclude, the [`Reason`] says why.
///
/// No text of the server's or of the client library's is kept: it can quote a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There was no connection to send it on. Nothing was sent.
    #[error("reach Redis: {0}")]
    Unreachable(Reason),
    /// The server refused it. It has not run.
    #[error("have Redis run the command: {0}")]
    Refused(Reason),
    /// It was sent and no usable answer came: it may have run.
    #[error("hear from Redis: {0}")]
    Unanswered(Reason),
}

impl Error {
    /// What stood between the command and its result.
    pub fn reason(self) -> Reason {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) | Self::Unanswered(reason) => reason,
        }
    }

    /// Whether the command can have taken effect although there is no result.
    pub fn may_have_run(self) -> bool {
        matches!(self, Self::Unanswered(_))
    }
}
