//! A tenant's view of its payments in the ledger.

use std::sync::Arc;

use foundation::{Deadline, Environment};
use http_api::Tenant;
use tracing::{error, warn};

use super::ledger::{self, Ledger, LedgerError};
use super::{Payment, Setup, payment};

/// Shows a tenant its payments. A provider is not needed.
pub struct PaymentView {
    environment: Environment,
    /// The ledger. `None`: no ledger is configured, and the answer to each request is `Unavailable`.
    ledger: Option<Arc<dyn Ledger>>,
}

/// Why a payment is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The tenant has no such payment. This is also the answer if the payment belongs to another tenant. Both cases
    /// take the same work.
    #[error("payment not found")]
    NotFound,
    /// The payment belongs to the tenant, but its row cannot be read.
    #[error("payment unreadable")]
    Unreadable,
    /// The ledger did not answer.
    #[error("ledger unavailable")]
    Unavailable,
}

impl PaymentView {
    /// A view of the configured ledger. Opens no connection.
    pub fn new(setup: &Setup) -> Self {
        let ledger = ledger::open(setup);
        if ledger.is_none() {
            error!("payments are not shown: no ledger is configured; set MONGODB_URI");
        }
        Self {
            environment: setup.environment.clone(),
            ledger,
        }
    }

    /// The environment. It determines which callers have access.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A payment of this tenant.
    ///
    /// # Errors
    ///
    /// [`ViewError`] when the tenant has no such payment, or the payment cannot be read from the ledger.
    pub async fn show(
        &self,
        id: &str,
        tenant: &Tenant,
        deadline: Deadline,
    ) -> Result<Payment, ViewError> {
        let ledger = self.ledger.as_ref().ok_or(ViewError::Unavailable)?;
        if !payment::is_id(id) {
            return Err(ViewError::NotFound);
        }
        match ledger.read(id, deadline).await {
            Ok(Some(payment)) if payment.tenant == tenant.as_str() => Ok(payment),
            Ok(_) => Err(ViewError::NotFound),
            Err(LedgerError::Unreadable { tenant: owner }) => {
                error!(
                    payment.id = id,
                    "a payment was not shown: its ledger row is unreadable, and it may have been charged; see docs/runbook.md, Unreadable payments"
                );
                if owner.as_deref() == Some(tenant.as_str()) {
                    Err(ViewError::Unreadable)
                } else {
                    Err(ViewError::NotFound)
                }
            }
            Err(error @ LedgerError::Unavailable(_)) => {
                warn!(ledger.error = %error, "a payment was not shown: the ledger did not answer; the client may repeat the request");
                Err(ViewError::Unavailable)
            }
        }
    }
}
