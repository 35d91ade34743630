//! The MAC of a saved response; see [`ResponseKeys`](super::ResponseKeys).

use std::fmt;

/// The MAC of a saved response.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ResponseMac([u8; 32]);

impl ResponseMac {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses 64 hexadecimal digits.
    pub(super) fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for ResponseMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
