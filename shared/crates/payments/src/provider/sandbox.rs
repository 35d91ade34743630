//! A provider for development. It charges no customer; the payment method selects what happens.
//!
//! | payment method | what happens |
//! |---|---|
//! | `pm_card_visa` | the charge succeeds |
//! | `pm_card_chargeDeclined` | the charge is declined |
//! | `pm_sandbox_timeout_before` | the first confirmation is lost before it arrives: `unknown`; a repeated request succeeds |
//! | `pm_sandbox_timeout_after` | the charge succeeds, and the reply to the confirmation is lost |
//! | `pm_sandbox_slow` | the charge succeeds after three seconds |
//! | `pm_sandbox_5xx` | the provider answers the first confirmation with an error |
//! | `pm_sandbox_requires_action` | the customer has to act; at the next read of the intent, the customer has acted |
//!
//! Other payment methods are rejected. Each intent is a file. All processes of a developer's machine share these files.

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

/// The content of an intent's file.
#[derive(Clone, Serialize, Deserialize)]
struct StoredIntent {
    intent: Intent,
    method: Method,
    confirmations: u32,
}

/// The payment method. It selects what happens to the payment.
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

/// The time that a slow confirmation takes.
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
        let locked = files::lock(&self.folder, deadline)
            .await
            .map_err(outcome_unknown)?;
        let changed = locked.update(intent, |kept: Option<&StoredIntent>| {
            let mut kept = kept?.clone();
            change(&mut kept);
            Some(kept)
        });
        changed
            .map_err(outcome_unknown)?
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
        let locked = files::lock(&self.folder, deadline)
            .await
            .map_err(outcome_unknown)?;
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
        let made = made.map_err(outcome_unknown)?;
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
        let mut is_allowed = false;
        let kept = self.change(intent, deadline, |kept| {
            is_allowed = kept.intent.status == IntentStatus::RequiresConfirmation;
            if is_allowed {
                confirm(kept, order);
            }
        });
        let kept = kept.await?;
        match kept.method {
            _ if !is_allowed => Err(ProviderError::Rejected("unexpected_state")),
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
        let mut is_allowed = false;
        let kept = self.change(intent, deadline, |kept| {
            is_allowed = !matches!(
                kept.intent.status,
                IntentStatus::Succeeded | IntentStatus::Canceled
            );
            if is_allowed {
                kept.intent.status = IntentStatus::Canceled;
            }
        });
        let kept = kept.await?;
        if is_allowed {
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
fn outcome_unknown(error: io::Error) -> ProviderError {
    error!(
        "the sandbox's files in LEDGER_DIR are unavailable: {}",
        error.kind()
    );
    ProviderError::OutcomeUnknown("file_error")
}
