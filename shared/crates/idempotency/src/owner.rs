//! The owner of a claim.

use std::fmt;

/// 128 random bits, fresh for every claim. The caller generates them, and sends them again only to repeat that claim.
///
/// The owner id is enough to finish the attempt. It must not be derived from an event or a request id. Otherwise, a
/// redelivered event would count as the running attempt, and the operation would run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(u128);

impl OwnerId {
    /// An owner id that matches no owner. It is used for calls without an owner.
    pub(super) const NONE: Self = Self(0);

    /// Returns a new owner id.
    pub fn fresh() -> Self {
        let mut bits = [0; 16];
        #[expect(
            clippy::expect_used,
            reason = "no owner is unique without randomness, and Linux always has some"
        )]
        getrandom::fill(&mut bits).expect("the operating system supplies random numbers");
        Self(u128::from_be_bytes(bits))
    }

    /// The bits, the most significant byte first.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Parses 32 lowercase hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bits = [0; 16];
        hex::decode_to_slice(text, &mut bits).ok()?;
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        is_lower.then_some(Self(u128::from_be_bytes(bits)))
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
