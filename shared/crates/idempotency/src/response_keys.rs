//! Which program wrote a saved response?
//!
//! Several programs may have to write to one Redis, and a mistake in its access rules lets each of them write over the records of
//! the others. A saved response of payments is what a customer is answered. So it carries a MAC (HMAC-SHA256, [RFC
//! 2104](https://www.rfc-editor.org/rfc/rfc2104)), whose key only the payment functions have. It covers the environment, the
//! record's key, the fingerprint of the request, and status, headers and body. A response without a MAC, with a wrong one, or under
//! another key than it was made for, is not believed: the next store is asked, and at the end the owner of the work.
//!
//! The MAC covers no time: a program that can write to the store can restore an earlier response of the same key and request. So it is
//! for work whose response never changes, as the answer of a payment in the ledger.
//!
//! A key is replaced by a list of two: the first one signs, both are accepted. A response that was signed with a key which is in
//! the list no more costs the question to the next store.

use std::sync::Arc;
use std::time::Duration;

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::warn;

use super::response_mac::ResponseMac;
use super::{Fingerprint, RecordKey, SavedResponse};

/// The keys of the MACs of one program's saved responses. Cheap to clone. Not `Debug`.
#[derive(Clone)]
pub struct ResponseKeys {
    /// `None`: no response is signed, and none is believed.
    list: Option<SecretCell>,
    program: &'static str,
    /// The least length of a key.
    shortest: usize,
    environment: Arc<str>,
}

/// Tells this use of a key from any other one, and this form of the signed text from a later one. The program's name stands before it.
const PURPOSE: &str = " saved response 1";
/// The longest that a first read of the keys may take, which is as long as any secret is waited for: on a small function that has just
/// started, the first answer of Secrets Manager may take more than a second. A read that is given up begins anew, and would never end.
const LONGEST_READ: Duration = Duration::from_secs(3);

impl ResponseKeys {
    /// The keys of a `program` in an environment, one or two in a list with a comma between: the current one, then the previous one.
    /// Without a list no response is signed, and none is believed. Nothing is read.
    pub fn new(list: Option<SecretCell>, program: &'static str, environment: &Environment) -> Self {
        Self {
            list,
            program,
            shortest: environment.shortest_secret(),
            environment: environment.name().into(),
        }
    }

    /// The response with its MAC, or without one while the keys cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
    pub(super) async fn sign(
        &self,
        key: &RecordKey,
        fingerprint: &Fingerprint,
        response: SavedResponse,
        deadline: Deadline,
    ) -> SavedResponse {
        let keys = self.keys(deadline).await.unwrap_or_default();
        let mac = keys
            .first()
            .and_then(|secret| self.mac(secret, key, fingerprint, &response))
            .map(|mac| ResponseMac::new(mac.finalize().into_bytes().into()));
        SavedResponse { mac, ..response }
    }

    /// Whether the response was signed for this key and request with one of the keys.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
    pub(super) async fn believe(
        &self,
        key: &RecordKey,
        fingerprint: &Fingerprint,
        response: &SavedResponse,
        deadline: Deadline,
    ) -> bool {
        let (Some(stored), Some(keys)) = (response.mac, self.keys(deadline).await) else {
            return false;
        };
        let is_ours = keys.iter().any(|secret| {
            let mac = self.mac(secret, key, fingerprint, response);
            mac.is_some_and(|mac| mac.verify_slice(stored.as_bytes()).is_ok())
        });
        if !is_ours {
            warn!(
                idempotency.key_hash = %key.hash(),
                "a saved response is not believed: its MAC is wrong, or of a key that is not in use any more"
            );
        }
        is_ours
    }

    /// Each part behind its length, so that nothing moves from one part into the next.
    fn mac(
        &self,
        secret: &Secret,
        key: &RecordKey,
        fingerprint: &Fingerprint,
        response: &SavedResponse,
    ) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
        let (fingerprint, response) = (fingerprint.to_string(), response.unsigned().to_bytes());
        let purpose = [self.program, PURPOSE].concat();
        let parts: [&[u8]; 5] = [
            purpose.as_bytes(),
            self.environment.as_bytes(),
            key.as_str().as_bytes(),
            fingerprint.as_bytes(),
            &response,
        ];
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        Some(mac)
    }

    /// The keys, the one that signs first; `None`: there are none, or they cannot be read now.
    async fn keys(&self, deadline: Deadline) -> Option<Vec<Secret>> {
        // At most half of the time that is left: without them there is another way to go on, which needs time as well.
        let limit = deadline.clip(2 * LONGEST_READ) / 2;
        let list = self.list.as_ref()?.value(deadline.within(limit)).await;
        let keys = list.ok()?.list(self.shortest);
        if keys.is_none() {
            warn!(
                secret.shortest = self.shortest,
                "the stored MAC keys are not one or two keys, long enough, with a comma between"
            );
        }
        keys
    }
}

#[cfg(test)]
mod tests;
