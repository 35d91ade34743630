//! A tenant's payment, as the ledger has it.

use http_api::{self, Invocation, Response, Tenant};
use idempotency::web::unavailable;

use super::ledger::LedgerError;
use super::{PaymentView, payment, problem};

impl PaymentView {
    /// Answers a `GET` of one payment. Somebody else's is the 404 of one that never was: the same answer after the same
    /// question to the ledger.
    pub async fn show(&self, invocation: &Invocation) -> Response {
        let request = &invocation.request;
        if let Err(refusal) = http_api::require_get(request.method()) {
            return refusal.into();
        }
        let tenant = match Tenant::of(&invocation.caller, &self.environment) {
            Ok(tenant) => tenant,
            Err(refusal) => return refusal.into(),
        };
        let id = request.uri().path().rsplit('/').next().unwrap_or_default();
        let Some(ledger) = self.ledger.as_ref() else {
            return unavailable();
        };
        if !payment::is_id(id) {
            return problem::NOT_FOUND.into();
        }
        match ledger.read(id, invocation.deadline).await {
            Ok(Some(payment)) if payment.tenant == tenant.as_str() => {
                http_api::ok(&payment.shown())
            }
            Ok(_) => problem::NOT_FOUND.into(),
            Err(LedgerError::Unreadable { tenant: owner }) => {
                tracing::error!(payment.id = id, "a payment's row cannot be read");
                if owner.as_deref() == Some(tenant.as_str()) {
                    http_api::INTERNAL.into()
                } else {
                    problem::NOT_FOUND.into()
                }
            }
            Err(error @ LedgerError::Unavailable(_)) => {
                tracing::warn!(ledger.error = %error, "a payment could not be read");
                unavailable()
            }
        }
    }
}
