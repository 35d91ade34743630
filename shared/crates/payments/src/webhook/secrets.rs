//! Who may sign, and did one of them?

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use tracing::warn;

use super::signature::is_signed;

/// The secrets with which the provider signs its events.
pub(super) struct WebhookSecrets {
    /// One or two of them.
    list: SecretCell,
    /// The least length of one that is accepted.
    shortest: usize,
}

/// Whether an event is the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureCheck {
    /// It is.
    Valid,
    /// It is not.
    Invalid,
    /// With what the provider signs is not known at the moment.
    SecretsUnavailable,
}

impl WebhookSecrets {
    pub(super) fn new(list: SecretCell, environment: &Environment) -> Self {
        Self {
            list,
            shortest: environment.shortest_secret(),
        }
    }

    /// Whether one of them signed `body` about `now`, in seconds since 1970. A signature by nobody may be by a secret that
    /// is new.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
    pub(super) async fn verify(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: i64,
        deadline: Deadline,
    ) -> SignatureCheck {
        let judge = |list: &Secret| {
            let secrets = listed(list, self.shortest)?;
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
        let judged = judge(&list);
        if judged == Some(SignatureCheck::Valid) {
            return SignatureCheck::Valid;
        }
        let newer = self.list.newer_than(&list, deadline).await;
        let judged = newer.map_or(judged, |list| judge(&list));
        judged.unwrap_or(SignatureCheck::SecretsUnavailable)
    }
}

fn listed(list: &Secret, shortest: usize) -> Option<Vec<Secret>> {
    let secrets = list.list(shortest);
    if secrets.is_none() {
        warn!(
            secret.shortest = shortest,
            "the webhook secrets are not one or two secrets, long enough, with a comma between"
        );
    }
    secrets
}

#[cfg(test)]
mod tests {
    use harness::stripe_event::signature;

    use super::*;

    /// A list in Secrets Manager is read like this; there is none newer.
    #[tokio::test]
    async fn a_stored_list_says_who_may_sign() {
        let cases = [
            ("whsec_1", SignatureCheck::Valid),
            ("whsec_0,whsec_1", SignatureCheck::Valid),
            ("whsec_2", SignatureCheck::Invalid),
            // The list has to be repaired, so no signature is called wrong.
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
            let judge = async |signature| {
                signers
                    .verify(signature, body, now, Deadline::UNKNOWN)
                    .await
            };
            assert_eq!(judge(Some(&signature)).await, expected, "{list}");
            assert_ne!(judge(None).await, SignatureCheck::Valid, "{list}");
        }
    }
}
