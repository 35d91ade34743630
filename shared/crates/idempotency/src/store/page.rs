//! A page of unfinished records.

use crate::RecordKey;

/// A page of unfinished records.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The prefix of the keys on this page.
    pub prefix: &'a str,
    /// The last key of the previous page; `None`: this is the first page.
    pub after: Option<&'a RecordKey>,
    /// The largest number of records.
    pub limit: u32,
}

impl Page<'_> {
    /// Whether a key has the prefix and comes after the previous page.
    pub fn takes(&self, key: &RecordKey) -> bool {
        key.as_str().starts_with(self.prefix)
            && self.after.is_none_or(|after| key.as_str() > after.as_str())
    }
}
