//! A Lua script, which the server runs atomically.

use super::Repeat;

/// A script and whether it may be sent again. It is sent by its digest, and with its text only if the server does not
/// have it.
pub struct Script {
    text: String,
    digest: String,
    pub(super) repeat: Repeat,
}

impl Script {
    /// Creates a script from its Lua text. The script must use one key, or keys that share a `{tag}`, and declare them
    /// all as `KEYS`. It must read the time from `TIME`.
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
