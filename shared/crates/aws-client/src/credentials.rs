//! The AWS credentials of this process.
//!
//! On Lambda, the credentials are in the environment, and are valid as long as the process runs. Elsewhere, they come
//! over the network and expire. So the credentials are kept until shortly before they expire, and one caller at a time
//! requests new credentials.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use foundation::{Deadline, wall_clock};
use parking_lot::Mutex;

use super::{REQUEST_TIMEOUT, Unavailable, configuration};

/// The credentials of this process, requested at the first use.
#[derive(Default)]
pub struct CredentialsCell {
    /// The last credentials, if they are credentials that expire. They are used until shortly before they expire. Never
    /// locked across an await.
    held: Mutex<Option<Credentials>>,
    /// Locked while a caller requests credentials.
    requesting: tokio::sync::Mutex<()>,
}

/// Kept credentials are used only if they stay valid for at least this time. A signature must still be valid when the
/// server checks it.
const LEAST_LIFE: Duration = Duration::from_secs(300);

impl CredentialsCell {
    /// Returns credentials that are valid for some minutes.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if no credentials were found by `deadline`.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing, and the next waiting caller requests credentials.
    pub async fn current(
        &self,
        region: &str,
        deadline: Deadline,
    ) -> Result<Credentials, Unavailable> {
        if let Some(held) = self.usable() {
            return Ok(held);
        }
        let deadline = deadline.within(REQUEST_TIMEOUT);
        let requesting = async {
            let _turn = self.requesting.lock().await;
            // The previous caller may have received credentials while this caller waited.
            if let Some(held) = self.usable() {
                return Ok(held);
            }
            let provider = configuration(region, deadline)
                .await?
                .credentials_provider()
                .ok_or_else(|| Unavailable::new("no_credentials_provider"))?;
            let found = provider.provide_credentials().await;
            // The text of the SDK's error is dropped, because it contains names of hosts and files.
            let found = found.map_err(|_| Unavailable::new("no_credentials"))?;
            *self.held.lock() = found.expiry().is_some().then(|| found.clone());
            Ok(found)
        };
        deadline
            .bound(requesting)
            .await
            .unwrap_or_else(|_| Err(Unavailable::new("timeout")))
    }

    fn usable(&self) -> Option<Credentials> {
        let now = Duration::from_millis(wall_clock::now_ms());
        self.held
            .lock()
            .clone()
            .filter(|held| is_usable(held.expiry(), SystemTime::UNIX_EPOCH + now))
    }
}

/// Whether credentials that expire at `expiry` are still usable at `now`.
fn is_usable(expiry: Option<SystemTime>, now: SystemTime) -> bool {
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
    fn new_credentials_are_requested_before_the_old_ones_expire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (left, expected) in [(301, true), (300, false), (0, false)] {
            let expiry = now + Duration::from_secs(left);
            assert_eq!(is_usable(Some(expiry), now), expected, "{left} s");
        }
        assert!(!is_usable(Some(now - Duration::from_secs(1)), now));
        assert!(
            !is_usable(None, now),
            "credentials without expiry are not kept"
        );
    }
}
