//! The final responses of payments, byte for byte.
//!
//! When a payment ends, its response is rendered here once and stored in the ledger. Every later request gets these bytes, so a new
//! version of this code cannot change them. No other module of this crate renders HTTP.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use http_api::{Problem, Response};
use idempotency::SavedResponse;
use serde::Serialize;
use serde_json::{Map, Value};

use super::payment::{End, Payment, State};
use super::{Timestamp, decline};

const DECLINED: Problem = Problem {
    status: StatusCode::PAYMENT_REQUIRED,
    slug: "payment-declined",
    title: "The payment was declined",
    detail: "The payment was not charged and will not be charged. Ask for another payment method, and use a fresh Idempotency-Key.",
};

const FAILED: Problem = Problem {
    status: StatusCode::PAYMENT_REQUIRED,
    slug: "payment-failed",
    title: "The payment failed",
    detail: "The payment was not charged and will not be charged. To try again, use a fresh Idempotency-Key.",
};

/// The members that are added to a problem document about a payment.
#[derive(Serialize)]
struct PaymentProblem<'a> {
    payment_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'a str>,
}

/// The payment in the form that clients see.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    status: State,
    amount: i64,
    currency: &'a str,
    description: &'a Option<String>,
    metadata: &'a std::collections::BTreeMap<String, String>,
    provider: &'a str,
    provider_reference: &'a Option<String>,
    livemode: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'a str>,
    created_at: Timestamp,
    status_since: Timestamp,
}

/// The body of the response to a Stripe event that was processed or needs no processing.
const RECEIVED: &str = r#"{"received":true}"#;

impl Payment {
    /// Returns the payment as ended in this way, with the final response.
    #[must_use]
    pub fn ended(&self, end: &End, now: Timestamp) -> Self {
        let mut ended = Self {
            state: match end {
                End::Succeeded => State::Succeeded,
                End::Declined(_) => State::Declined,
                End::Failed => State::Failed,
            },
            decline_code: match end {
                End::Declined(code) => code.clone(),
                _ => None,
            },
            status_since: now,
            ..self.clone()
        };
        ended.answer = Some(match ended.state {
            State::Succeeded => ended.to_json(&Map::new()),
            _ => text(&ended.problem()),
        });
        ended
    }

    /// The final response; `None` if the payment is open.
    pub fn final_response(&self) -> Option<SavedResponse> {
        let body = self.answer.clone()?;
        let (status, content_type) = match self.state {
            State::Succeeded => (StatusCode::CREATED, "application/json"),
            State::Declined | State::Failed => {
                (StatusCode::PAYMENT_REQUIRED, "application/problem+json")
            }
            _ => return None,
        };
        let mut response = SavedResponse::new(status, body);
        response
            .headers
            .push((CONTENT_TYPE, HeaderValue::from_static(content_type)));
        response.headers.extend(self.location_header());
        Some(response)
    }

    /// The response that the engine saves for a pending payment. It is a reference to the payment, because the state of the payment still
    /// changes.
    pub fn reference(&self) -> SavedResponse {
        let mut reference = SavedResponse::new(StatusCode::SEE_OTHER, "");
        reference.headers.extend(self.location_header());
        reference
    }

    /// Whether a saved response is a reference to a payment instead of a final response.
    pub fn is_reference(saved: &SavedResponse) -> bool {
        saved.status == StatusCode::SEE_OTHER
    }

    /// The payment as JSON, followed by the members of `extra`.
    pub fn to_json(&self, extra: &Map<String, Value>) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            shown: Shown<'a>,
            #[serde(flatten)]
            extra: &'a Map<String, Value>,
        }
        let document = Document {
            shown: self.shown(),
            extra,
        };
        // Strings and integers always serialise.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The path of the payment.
    pub fn location(&self) -> String {
        format!("/api/payments/{}", self.id)
    }

    fn location_header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((LOCATION, HeaderValue::try_from(self.location()).ok()?))
    }

    fn shown_decline_code(&self) -> Option<&'static str> {
        self.decline_code.as_deref().map(decline::shown)
    }

    fn problem(&self) -> Response {
        match self.state {
            State::Declined => DECLINED.with(&PaymentProblem {
                payment_id: &self.id,
                decline_code: self.shown_decline_code(),
            }),
            _ => FAILED.with(&PaymentProblem {
                payment_id: &self.id,
                decline_code: None,
            }),
        }
    }

    /// The payment in the form that clients see.
    fn shown(&self) -> Shown<'_> {
        Shown {
            id: &self.id,
            status: self.state,
            amount: self.order.amount,
            currency: &self.order.currency,
            description: &self.order.description,
            metadata: &self.order.metadata,
            provider: &self.provider,
            provider_reference: &self.intent,
            livemode: self.livemode,
            decline_code: self.shown_decline_code(),
            created_at: self.created_at,
            status_since: self.status_since,
        }
    }
}

/// The response to a Stripe event that was processed or needs no processing. Each delivery of the event gets the same response.
pub(super) fn event_received() -> SavedResponse {
    let mut response = SavedResponse::new(StatusCode::OK, RECEIVED);
    let json = HeaderValue::from_static("application/json");
    response.headers.push((CONTENT_TYPE, json));
    response
}

/// The body of a response, as text.
fn text(response: &Response) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
