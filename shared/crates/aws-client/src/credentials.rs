//! With which credentials does this process run?
//!
//! On Lambda they stand in the environment and last as long as it does. Elsewhere they come over the network and end, so
//! they are kept until shortly before, and asked for by one caller at a time.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use foundation::{Deadline, wall_clock};
use parking_lot::Mutex;

use super::{QUESTION_TIMEOUT, Unavailable, configuration};

/// The credentials of this process, as far as they are known.
#[derive(Default)]
pub struct CredentialsCell {
    /// Those that end, until they nearly have. Never locked across an await.
    held: Mutex<Option<Credentials>>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

/// What is signed with credentials has to outlive its own use by the other side.
const LEAST_LIFE: Duration = Duration::from_secs(300);

impl CredentialsCell {
    /// Credentials that are good for some minutes, if any are.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where none were found by `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped question leaves nothing behind, and whoever waited for it asks next.
    pub async fn current(
        &self,
        region: &str,
        deadline: Deadline,
    ) -> Result<Credentials, Unavailable> {
        if let Some(held) = self.usable() {
            return Ok(held);
        }
        let deadline = deadline.within(QUESTION_TIMEOUT);
        let asking = async {
            let _turn = self.asking.lock().await;
            // Whoever had the turn before may have asked.
            if let Some(held) = self.usable() {
                return Ok(held);
            }
            let provider = configuration(region, deadline)
                .await?
                .credentials_provider()
                .ok_or_else(|| Unavailable::new("no_credentials_provider"))?;
            let found = provider.provide_credentials().await;
            // Its text names hosts and files.
            let found = found.map_err(|_| Unavailable::new("no_credentials"))?;
            *self.held.lock() = found.expiry().is_some().then(|| found.clone());
            Ok(found)
        };
        deadline
            .bound(asking)
            .await
            .unwrap_or_else(|_| Err(Unavailable::new("timeout")))
    }

    fn usable(&self) -> Option<Credentials> {
        let now = Duration::from_millis(wall_clock::now_ms());
        self.held
            .lock()
            .clone()
            .filter(|held| lasts(held.expiry(), SystemTime::UNIX_EPOCH + now))
    }
}

/// Whether credentials that end at `expiry` are worth keeping at `now`.
fn lasts(expiry: Option<SystemTime>, now: SystemTime) -> bool {
    expiry.is_some_and(|expiry| {
        expiry
            .duration_since(now)
            .is_ok_and(|left| left > LEAST_LIFE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_asked_for_anew_before_they_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (left, expected) in [(301, true), (300, false), (0, false)] {
            let expiry = now + Duration::from_secs(left);
            assert_eq!(lasts(Some(expiry), now), expected, "{left} s");
        }
        assert!(!lasts(Some(now - Duration::from_secs(1)), now));
        assert!(!lasts(None, now), "what has no end is not ours to keep");
    }
}
