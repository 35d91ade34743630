//! A Lua script, which the server runs atomically.

use super::Repeat;

/// The Lua code that puts the arguments into a table. This code has no line break, so that line numbers in the server's
/// errors are those of the script.
const NAMED_ARGUMENTS: &str =
    "local args = {} for at = 1, #ARGV, 2 do args[ARGV[at]] = ARGV[at + 1] end ";

/// A script and whether it may be sent again. The script is sent by its digest. If the server does not have the script,
/// its text is sent.
pub struct Script {
    text: String,
    digest: String,
    pub(super) repeat: Repeat,
}

impl Script {
    /// Creates a script from its Lua text. The script must use one key, or keys that share a `{tag}`, and declare them
    /// all as `KEYS`. It must read the time with `TIME`. It reads arguments by name from the table `args`.
    pub fn new(lua: &str, repeat: Repeat) -> Self {
        let text = format!("{NAMED_ARGUMENTS}{lua}");
        Self {
            digest: redis::Script::new(&text).get_hash().to_owned(),
            text,
            repeat,
        }
    }

    /// The Lua text as the server gets it. The text expects two Redis arguments for each argument: the name and the
    /// value.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}
