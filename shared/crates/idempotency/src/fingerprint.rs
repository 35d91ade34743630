//! The digest of a request. It detects another request under the same key.
//!
//! A fingerprint is a SHA-256 digest. Its input begins with a fixed text, the method, the route and the tenant. Each of
//! these parts is preceded by the length of that part, as eight bytes, big-endian. The payload follows. A JSON payload
//! is hashed as `j` and its canonical form, any other payload as `r` and its bytes. The fingerprint is computed once,
//! at the claim, and kept in every state of the record.

mod canonical;

use std::fmt;
use std::str;

use sha2::{Digest, Sha256};

use super::purpose;

pub use canonical::AmbiguousPayload;
use canonical::Canonical;

/// The digest of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The parts of a request that its fingerprint covers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The route, as in the deployment template.
    pub route: &'a str,
    /// The tenant that sends the request.
    pub tenant: &'a str,
    /// The payload. In JSON, the order of members, whitespace, escapes and a byte order mark make no difference. In any
    /// other payload, every byte counts.
    pub payload: &'a [u8],
}

impl Fingerprint {
    /// The fingerprint of a request.
    ///
    /// # Errors
    ///
    /// [`AmbiguousPayload`]: different JSON parsers may read different values from this payload.
    pub fn of(request: &Request<'_>) -> Result<Self, AmbiguousPayload> {
        let mut hasher = Sha256::new();
        let parts = [
            purpose::FINGERPRINT,
            request.method,
            request.route,
            request.tenant,
        ];
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        match canonical::form(request.payload)? {
            Canonical::Json(form) => {
                hasher.update("j");
                hasher.update(form);
            }
            Canonical::NotJson => {
                hasher.update("r");
                hasher.update(request.payload);
            }
        }
        Ok(Self(hasher.finalize().into()))
    }

    /// The digest.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Parses a fingerprint of 64 lowercase hexadecimal digits, for a caller that computes fingerprints by rules of its
    /// own.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok()?;
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        is_lower.then_some(Self(digest))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:.8})", self.to_string())
    }
}

#[cfg(test)]
mod tests;
