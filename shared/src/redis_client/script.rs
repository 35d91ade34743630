//! A Lua script: several steps that the server takes as one.

use super::Repeat;

/// A script and whether it may be sent twice. Sent by its digest; the text follows only if the server does not have it.
pub struct Script {
    pub(super) script: redis::Script,
    pub(super) repeat: Repeat,
}

impl Script {
    /// A script from its Lua text. It uses one key, or keys that share a `{tag}`, declares them all as `KEYS`, and
    /// takes the time from `TIME`.
    pub fn new(lua: &str, repeat: Repeat) -> Self {
        Self {
            script: redis::Script::new(lua),
            repeat,
        }
    }
}
