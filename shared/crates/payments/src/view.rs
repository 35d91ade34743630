//! A tenant's payment, as the ledger has it.

use foundation::Deadline;
use http_api::Tenant;

use super::ledger::LedgerError;
use super::{Payment, PaymentView, payment};

/// Why a payment is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The tenant has no such payment. Another tenant's is as one that never was: the same answer after the same question.
    #[error("payment not found")]
    NotFound,
    /// It is the tenant's, and its row cannot be read.
    #[error("payment unreadable")]
    Unreadable,
    /// The ledger did not answer.
    #[error("ledger unavailable")]
    Unavailable,
}

impl PaymentView {
    /// A payment of a tenant.
    ///
    /// # Errors
    ///
    /// [`ViewError`] where there is none to show.
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
                tracing::error!(payment.id = id, "a payment's row cannot be read");
                if owner.as_deref() == Some(tenant.as_str()) {
                    Err(ViewError::Unreadable)
                } else {
                    Err(ViewError::NotFound)
                }
            }
            Err(error @ LedgerError::Unavailable(_)) => {
                tracing::warn!(ledger.error = %error, "a payment could not be read");
                Err(ViewError::Unavailable)
            }
        }
    }
}
