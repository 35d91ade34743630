//! Why a command failed, and whether it may have run.

use super::reason::Reason;

/// A command without a result. The variant shows whether the command may have run. The [`Reason`] shows why it failed.
///
/// The error keeps no text of the server or the client library, because such a text can quote a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no connection. Nothing was sent.
    #[error("Redis unavailable: {0}")]
    Unreachable(Reason),
    /// The server rejected the command. It has not run.
    #[error("Redis rejected the command: {0}")]
    Refused(Reason),
    /// The command was sent and got no usable reply. It may have run.
    #[error("no usable reply from Redis, the command may have run: {0}")]
    Unanswered(Reason),
}

impl Error {
    /// Why the command failed.
    pub fn reason(self) -> Reason {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) | Self::Unanswered(reason) => reason,
        }
    }

    /// Whether the command may have taken effect.
    pub fn may_have_run(self) -> bool {
        matches!(self, Self::Unanswered(_))
    }
}
