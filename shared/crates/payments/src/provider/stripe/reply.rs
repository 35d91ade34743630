//! Reads Stripe's responses. A response is an intent, or an error that shows whether the request may have taken effect.

use http::StatusCode;
use serde::Deserialize;
use tracing::warn;

use super::super::{Intent, NO_SUCH_INTENT, ProviderError, UNEXPECTED_AMOUNT};
use super::AUTH_FAILED;
use crate::stripe_unit::StripeUnit;

/// The body of Stripe's error responses.
#[derive(Deserialize)]
struct ErrorBody {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    r#type: Option<String>,
    code: Option<String>,
}

pub(crate) fn read(status: StatusCode, body: &[u8]) -> Result<Intent, ProviderError> {
    if status.is_success() {
        let intent: Intent = serde_json::from_slice(body)
            .map_err(|_| ProviderError::OutcomeUnknown("unexpected_answer"))?;
        let unit = StripeUnit::of(&intent.currency);
        let Some(amount) = unit.and_then(|unit| unit.to_minor(intent.amount)) else {
            return Err(UNEXPECTED_AMOUNT);
        };
        return Ok(Intent { amount, ..intent });
    }
    let error = serde_json::from_slice(body).map(|body: ErrorBody| body.error);
    if let Ok(error) = &error {
        warn!(
            stripe.status = status.as_u16(),
            stripe.error_type = error.r#type,
            stripe.error_code = error.code,
            "Stripe answered a request with an error, for example for a declined card; see stripe.error_code"
        );
    }
    Err(match status.as_u16() {
        // Stripe answers 401, 403 and 429 before it processes the request, because it checks the key and the rate limit
        // first.
        401 | 403 => ProviderError::NotProcessed(AUTH_FAILED),
        429 => ProviderError::NotProcessed("too_many_requests"),
        // 409: another request with the same idempotency key is being processed.
        409 => ProviderError::OutcomeUnknown("busy"),
        404 if error.is_ok() => NO_SUCH_INTENT,
        // The idempotency key was sent with other parameters before, so an intent may have been created.
        400..=499 if is_key_reused(error.as_ref().ok()) => {
            ProviderError::OutcomeUnknown("key_reused")
        }
        400..=499 if error.is_ok() => ProviderError::Rejected("refused"),
        _ => ProviderError::OutcomeUnknown("provider_error"),
    })
}

fn is_key_reused(error: Option<&Error>) -> bool {
    let kind = error.and_then(|error| error.r#type.as_deref());
    kind == Some("idempotency_error")
}
