//! Who holds a claim.

use std::fmt;

/// 128 random bits, fresh for every claim, made by the caller and sent again only to repeat that same claim.
///
/// Whoever has it may finish the work. Never derived from an event or a request id: a redelivered event would recognise
/// itself as its own owner, and run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(u128);

impl OwnerId {
    /// Nobody's: for what has no owner to name.
    pub(super) const NOBODY: Self = Self(0);

    /// An owner that nobody else is.
    pub fn fresh() -> Self {
        let mut bits = [0; 16];
        #[expect(
            clippy::expect_used,
            reason = "without randomness nothing here is safe, and Linux always has some"
        )]
        getrandom::fill(&mut bits).expect("the operating system has random numbers");
        Self(u128::from_be_bytes(bits))
    }

    /// The owner that these 32 hexadecimal digits in lower case name.
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
