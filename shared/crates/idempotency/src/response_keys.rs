//! Proof that a saved response was written by this program.
//!
//! Several programs may write to one Redis. If the access rules of that Redis have a mistake, each program can
//! overwrite the records of the others. The saved response of a payment is sent to a customer. So the response carries
//! a MAC (HMAC-SHA256, [RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) with a key that only the payment functions
//! have.
//!
//! The MAC covers the environment, the record's key, the fingerprint, the status, the headers and the body. A response
//! without a valid MAC for its key is not accepted: the caller reads the next store, and finally the ledger.
//!
//! The MAC does not cover the time. So a program that can write to the store can restore an earlier response of the
//! same key and request. Therefore the MAC is suitable only for operations with a response that never changes, like the
//! payments in the ledger.
//!
//! During a rotation, the list contains two keys: the first key signs, and both keys are accepted. If the key that
//! signed a response is no longer in the list, the response costs a round trip to the next store.

use std::sync::Arc;
use std::time::Duration;

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::warn;

use super::response_mac::ResponseMac;
use super::{Fingerprint, RecordKey, SavedResponse};

/// The MAC keys of one program's saved responses. Cheap to clone. Not `Debug`.
#[derive(Clone)]
pub struct ResponseKeys {
    /// The list of MAC keys; `None`: responses are not signed, and none is accepted.
    list: Option<SecretCell>,
    program: &'static str,
    /// The least length of a key in bytes.
    shortest: usize,
    environment: Arc<str>,
}

/// Domain separation: distinguishes this use of a key from other uses, and this format from later formats. The
/// program's name precedes this text.
const PURPOSE: &str = " saved response 1";
/// The time limit for the first read of the keys, as for every other secret. On a small function after a cold start,
/// Secrets Manager may need more than a second. A read that times out starts again. So with a shorter limit, every read
/// could time out.
const LONGEST_READ: Duration = Duration::from_secs(3);

impl ResponseKeys {
    /// The MAC keys of a `program` in an environment. The list has one or two keys, separated by a comma. The first key
    /// is the current one. Without a list, responses are not signed, and none is accepted. This call does not read the
    /// list.
    pub fn new(list: Option<SecretCell>, program: &'static str, environment: &Environment) -> Self {
        Self {
            list,
            program,
            shortest: environment.shortest_secret(),
            environment: environment.name().into(),
        }
    }

    /// Returns the response with its MAC. While the keys are unavailable, the response has no MAC.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing.
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

    /// Returns whether one of the MAC keys signed the response for this record key and this request.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing.
    pub(super) async fn verify(
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
                "a saved response was rejected: no current MAC key made its MAC; the next store or the ledger answers instead"
            );
        }
        is_ours
    }

    /// Computes the MAC. Each part is preceded by its length, so bytes cannot move from one part to the next.
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

    /// Returns the MAC keys. The first key signs. `None`: there are no keys, or they are unavailable or invalid.
    async fn keys(&self, deadline: Deadline) -> Option<Vec<Secret>> {
        // The read gets at most half of the time that is left. If the read fails, the caller reads the next store or
        // the ledger, which also needs time.
        let limit = deadline.clip(2 * LONGEST_READ) / 2;
        let list = self.list.as_ref()?.value(deadline.within(limit)).await;
        let keys = list.ok()?.list(self.shortest);
        if keys.is_none() {
            warn!(
                secret.shortest = self.shortest,
                "MAC keys are invalid: expected one or two keys of at least `secret.shortest` characters, separated by a comma; saved responses are not used until they are corrected"
            );
        }
        keys
    }
}

#[cfg(test)]
mod tests;
