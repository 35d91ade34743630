//! The idempotency key for the provider.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{RecordKey, purpose};

/// The idempotency key that a provider receives for one operation, or for one step of an operation. It has 64
/// hexadecimal digits.
///
/// The key depends only on the environment and the name of the operation's key. It does not depend on the attempt or
/// the time. So the key is the same even after every store has lost its data. A provider that recognises the key treats
/// two requests as one.
///
/// The key is a SHA-256 digest of three parts: a fixed text, the environment and the name. Each part is preceded by the
/// length of that part, as eight bytes, big-endian. For a step, the three parts are another fixed text, the digits of
/// the operation's key, and the step.
#[derive(Clone, PartialEq, Eq)]
pub struct DerivedKey(String);

impl DerivedKey {
    pub(super) fn new(environment: &str, key: &RecordKey) -> Self {
        Self::of([purpose::DERIVED_KEY, environment, key.as_str()])
    }

    /// The key for one step of the operation.
    #[must_use]
    pub fn step(&self, step: &str) -> Self {
        Self::of([purpose::DERIVED_STEP, &self.0, step])
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(parts: [&str; 3]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        Self(hex::encode(digest))
    }
}

/// The key gives access to the payment at the provider, so it must not be logged.
impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IdempotencyKey, Scope};

    /// During a deployment, two versions of a function may send the derived key of the same payment. So the key must
    /// never change.
    #[test]
    fn a_derived_key_never_changes() {
        let key = IdempotencyKey::parse("abc123").expect("a key");
        let scope = Scope::http("payments.create", "alice").expect("valid");
        let derived = DerivedKey::new("production", &RecordKey::new(&scope, &key));
        assert_eq!(
            derived.as_str(),
            "f200426a5b7bf98501c8489850bb53a4ccedf08a576a4ecb8da5175323ef584b"
        );
        assert_eq!(
            derived.step("create").as_str(),
            "c12a3ac9d57a549b306b790ebe30b0c3257762633a39a591d858076db591e5c8"
        );
        assert_ne!(
            DerivedKey::new("staging", &RecordKey::new(&scope, &key)),
            derived
        );
    }
}
