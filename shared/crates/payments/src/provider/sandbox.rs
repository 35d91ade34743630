//! A provider for laptops: it charges nobody, and does what the payment method says.
//!
//! | payment method | what happens |
//! |---|---|
//! | `pm_card_visa` | it succeeds |
//! | `pm_card_chargeDeclined` | it is declined |
//! | `pm_sandbox_timeout_before` | the first confirmation is lost on its way: unknown, and a repetition succeeds |
//! | `pm_sandbox_timeout_after` | the answer to the confirmation is lost: it was charged |
//! | `pm_sandbox_slow` | it succeeds after three seconds |
//! | `pm_sandbox_5xx` | the first confirmation is answered with an error of the provider's |
//! | `pm_sandbox_requires_action` | the customer has to act, and has acted by the next look |
//!
//! Any other one does not exist. Intents are files, so that every process of a laptop sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use foundation::Deadline;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::error;

use super::{Intent, IntentStatus, PaymentError, Provider, ProviderError};
use crate::ledger::files;
use crate::{Order, Payment};

pub(crate) struct Sandbox {
    folder: PathBuf,
}

/// An intent's file.
#[derive(Clone, Serialize, Deserialize)]
struct StoredIntent {
    intent: Intent,
    method: Method,
    confirmations: u32,
}

/// What happens, by the payment method's name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Method {
    #[serde(rename = "pm_card_visa")]
    Visa,
    #[serde(rename = "pm_card_chargeDeclined")]
    Declined,
    #[serde(rename = "pm_sandbox_timeout_before")]
    TimeoutBefore,
    #[serde(rename = "pm_sandbox_timeout_after")]
    TimeoutAfter,
    #[serde(rename = "pm_sandbox_slow")]
    Slow,
    #[serde(rename = "pm_sandbox_5xx")]
    ServerError,
    #[serde(rename = "pm_sandbox_requires_action")]
    RequiresAction,
}

/// How long a slow confirmation takes.
const SLOW: Duration = Duration::from_secs(3);

impl Sandbox {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("sandbox"),
        }
    }

    /// Changes an intent and returns it.
    async fn change(
        &self,
        intent: &str,
        deadline: Deadline,
        change: impl FnOnce(&mut StoredIntent) + Send,
    ) -> Result<StoredIntent, ProviderError> {
        let locked = files::lock(&self.folder, deadline).await.map_err(unclear)?;
        let changed = locked.update(intent, |kept: Option<&StoredIntent>| {
            let mut kept = kept?.clone();
            change(&mut kept);
            Some(kept)
        });
        changed
            .map_err(unclear)?
            .ok_or(ProviderError::Rejected("not_found"))
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let order = &payment.order;
        let method = serde_json::from_value(json!(order.payment_method))
            .map_err(|_| ProviderError::Rejected("no_such_payment_method"))?;
        let id = format!("pi_sandbox_{}", key.get(..24).unwrap_or(key));
        let locked = files::lock(&self.folder, deadline).await.map_err(unclear)?;
        let made = locked.update(&id, |kept: Option<&StoredIntent>| {
            kept.is_none().then(|| StoredIntent {
                intent: Intent {
                    id: id.clone(),
                    status: IntentStatus::RequiresConfirmation,
                    amount: order.amount,
                    currency: order.currency.to_ascii_lowercase(),
                    livemode: false,
                    client_secret: Some(format!("{id}_secret_sandbox")),
                    next_action: None,
                    last_payment_error: None,
                },
                method,
                confirmations: 0,
            })
        });
        let made = made.map_err(unclear)?;
        made.map(|kept| kept.intent)
            .ok_or(ProviderError::OutcomeUnknown("not_found"))
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let kept = self.change(intent, deadline, |kept| kept.confirmations += 1);
        let kept = kept.await?;
        let first = kept.confirmations == 1;
        match kept.method {
            Method::TimeoutBefore if first => return Err(ProviderError::OutcomeUnknown("timeout")),
            Method::ServerError if first => {
                return Err(ProviderError::OutcomeUnknown("provider_error"));
            }
            Method::Slow => {
                let slow = deadline.bound(tokio::time::sleep(SLOW)).await;
                slow.map_err(|_| ProviderError::OutcomeUnknown("timeout"))?;
            }
            _ => {}
        }
        let mut fits = false;
        let kept = self.change(intent, deadline, |kept| {
            fits = kept.intent.status == IntentStatus::RequiresConfirmation;
            if fits {
                confirm(kept, order);
            }
        });
        let kept = kept.await?;
        match kept.method {
            _ if !fits => Err(ProviderError::Rejected("unexpected_state")),
            Method::Declined => Err(ProviderError::Rejected("card_declined")),
            Method::TimeoutAfter => Err(ProviderError::OutcomeUnknown("timeout")),
            _ => Ok(kept.intent),
        }
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        let kept = self.change(intent, deadline, |kept| {
            if kept.intent.status == IntentStatus::RequiresAction {
                kept.intent.status = IntentStatus::Succeeded;
                kept.intent.next_action = None;
            }
        });
        Ok(kept.await?.intent)
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        let mut fits = false;
        let kept = self.change(intent, deadline, |kept| {
            fits = !matches!(
                kept.intent.status,
                IntentStatus::Succeeded | IntentStatus::Canceled
            );
            if fits {
                kept.intent.status = IntentStatus::Canceled;
            }
        });
        let kept = kept.await?;
        if fits {
            Ok(kept.intent)
        } else {
            Err(ProviderError::Rejected("unexpected_state"))
        }
    }
}

fn confirm(kept: &mut StoredIntent, order: &Order) {
    kept.intent.status = match kept.method {
        Method::Declined => {
            kept.intent.last_payment_error = Some(PaymentError {
                code: Some("card_declined".to_owned()),
                decline_code: Some("generic_decline".to_owned()),
            });
            IntentStatus::RequiresPaymentMethod
        }
        Method::RequiresAction => {
            kept.intent.next_action = Some(json!({
                "type": "redirect_to_url",
                "redirect_to_url": {
                    "url": "https://sandbox.example/3ds",
                    "return_url": order.return_url,
                },
            }));
            IntentStatus::RequiresAction
        }
        _ => IntentStatus::Succeeded,
    };
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err calls"
)]
fn unclear(failure: io::Error) -> ProviderError {
    error!("the sandbox's files cannot be used: {}", failure.kind());
    ProviderError::OutcomeUnknown("file_error")
}
