//! The secrets with which the provider signs its events.

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use tracing::warn;

use super::signature::is_signed;

/// The secret, or the two secrets that are valid while the secret is rotated.
pub(super) struct WebhookSecrets {
    list: SecretCell,
    /// The least length of a secret, in bytes. Shorter secrets are rejected.
    shortest: usize,
}

/// The result of checking whether the provider signed an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureCheck {
    Valid,
    Invalid,
    /// The secrets cannot be read, or are not a valid list. So the signature was not checked.
    SecretsUnavailable,
}

impl WebhookSecrets {
    pub(super) fn new(list: SecretCell, environment: &Environment) -> Self {
        Self {
            list,
            shortest: environment.shortest_secret(),
        }
    }

    /// Whether `body` was signed with one of the secrets, at about the time `now` in seconds since 1970. If not, reads the list again,
    /// because the provider may already sign with a new secret.
    ///
    /// # Cancel safety
    ///
    /// A dropped call writes nothing.
    pub(super) async fn verify(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: i64,
        deadline: Deadline,
    ) -> SignatureCheck {
        let check = |list: &Secret| {
            let secrets = parse(list, self.shortest)?;
            let is_signed =
                signature.is_some_and(|signature| is_signed(signature, body, &secrets, now));
            Some(match is_signed {
                true => SignatureCheck::Valid,
                false => SignatureCheck::Invalid,
            })
        };
        let Ok(list) = self.list.value(deadline).await else {
            return SignatureCheck::SecretsUnavailable;
        };
        let checked = check(&list);
        if checked == Some(SignatureCheck::Valid) {
            return SignatureCheck::Valid;
        }
        let newer = self.list.newer_than(&list, deadline).await;
        let checked = newer.map_or(checked, |list| check(&list));
        checked.unwrap_or(SignatureCheck::SecretsUnavailable)
    }
}

fn parse(list: &Secret, shortest: usize) -> Option<Vec<Secret>> {
    let secrets = list.list(shortest);
    if secrets.is_none() {
        warn!(
            secret.shortest = shortest,
            "STRIPE_WEBHOOK_SECRETS is invalid: expected one or two secrets of at least `secret.shortest` characters, separated by a comma; events are refused until it is corrected"
        );
    }
    secrets
}

#[cfg(test)]
mod tests {
    use harness::stripe_event::signature;

    use super::*;

    /// Each case checks a signature with one list. The list does not change during the case.
    #[tokio::test]
    async fn an_event_is_valid_if_a_secret_of_the_list_signed_it() {
        let cases = [
            ("whsec_1", SignatureCheck::Valid),
            ("whsec_0,whsec_1", SignatureCheck::Valid),
            ("whsec_2", SignatureCheck::Invalid),
            // The list has three secrets, which is not valid. So the signature was not checked.
            (
                "whsec_1,whsec_2,whsec_3",
                SignatureCheck::SecretsUnavailable,
            ),
            ("whsec_1,w", SignatureCheck::SecretsUnavailable),
        ];
        let (body, now) = (b"{}", 1_700_000_000);
        let signature = signature(body, now, &["whsec_1"]);
        for (list, expected) in cases {
            let signers = WebhookSecrets {
                list: SecretCell::Fixed(Secret::new(list)),
                shortest: "whsec_1".len(),
            };
            let verify = async |signature| {
                signers
                    .verify(signature, body, now, Deadline::UNKNOWN)
                    .await
            };
            assert_eq!(verify(Some(&signature)).await, expected, "{list}");
            assert_ne!(verify(None).await, SignatureCheck::Valid, "{list}");
        }
    }
}
