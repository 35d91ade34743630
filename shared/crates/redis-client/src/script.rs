//! A Lua script: several steps that the server takes as one.

use super::Repeat;

/// A script and whether it may be sent twice. Sent by its digest; the text follows only if the server does not have it.
pub struct Script {
    text: String,
    digest: String,
    pub(super) repeat: Repeat,
}

impl Script {
    /// A script from its Lua text. It uses one key, or keys that share a `{tag}`, declares them all as `KEYS`, and
    /// takes the time from `TIME`.
    pub fn new(lua: &str, repeat: Repeat) -> Self {
        Self {
            text: lua.to_owned(),
            digest: redis::Script::new(lua).get_hash().to_owned(),
            repeat,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}
