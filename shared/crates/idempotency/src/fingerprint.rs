//! What a request asks for, so that the same key with another request is noticed.
//!
//! SHA-256 over its purpose, the method, the route and the tenant, each after its length as eight bytes, the
//! highest first, then the payload: `j` and its canonical form if it is JSON, else `r` and its bytes. Taken once, at the
//! claim, and kept in every state of the record.

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

/// What tells one request from another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The route, as the template names it.
    pub route: &'a str,
    /// Who asks.
    pub tenant: &'a str,
    /// What is asked: of JSON the order of members, blanks, escapes and a byte order mark make no difference, of anything else
    /// every byte.
    pub payload: &'a [u8],
}

impl Fingerprint {
    /// The fingerprint of a request.
    ///
    /// # Errors
    ///
    /// [`AmbiguousPayload`] for JSON that readers may understand differently.
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

    /// The fingerprint that these 64 hexadecimal digits in lower case are, for whoever has taken one by other rules.
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
