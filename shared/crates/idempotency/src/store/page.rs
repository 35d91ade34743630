//! Which unfinished records are asked for.

use crate::RecordKey;

/// Which unfinished records are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// What their keys begin with.
    pub prefix: &'a str,
    /// The last key of the page before; `None`: this is the first page.
    pub after: Option<&'a RecordKey>,
    /// At most so many records.
    pub limit: u32,
}

impl Page<'_> {
    /// Whether a key is in the range of this page.
    pub fn takes(&self, key: &RecordKey) -> bool {
        key.as_str().starts_with(self.prefix)
            && self.after.is_none_or(|after| key.as_str() > after.as_str())
    }
}
