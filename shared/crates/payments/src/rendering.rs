//! The answers of payments, byte for byte.
//!
//! Whatever ends a payment (an attempt, the schedule, an event) fixes the bytes that every client of it is answered with: they are
//! rendered here, stored in the ledger, and never rendered again. This is the only HTTP that payments know.

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
    detail: "It was not charged and will not be. Ask for another payment method, and use a fresh Idempotency-Key.",
};

const FAILED: Problem = Problem {
    status: StatusCode::PAYMENT_REQUIRED,
    slug: "payment-failed",
    title: "The payment failed",
    detail: "It was not charged and will not be. To try again, use a fresh Idempotency-Key.",
};

/// The members of a refusal that tell of one payment.
#[derive(Serialize)]
struct Declined<'a> {
    payment_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'a str>,
}

/// A payment as clients see it.
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

/// What the provider is answered whose event needs nothing more.
const RECEIVED: &str = r#"{"received":true}"#;

impl Payment {
    /// The payment, ended so, with the answer that everybody gets.
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
            _ => text(&ended.refusal()),
        });
        ended
    }

    /// The answer of a final payment; `None` of one that is open.
    pub fn final_response(&self) -> Option<SavedResponse> {
        let body = self.answer.clone()?;
        let (status, content_type) = match self.state {
            State::Succeeded => (StatusCode::CREATED, "application/json"),
            State::Declined | State::Failed => {
                (StatusCode::PAYMENT_REQUIRED, "application/problem+json")
            }
            _ => return None,
        };
        let mut answer = SavedResponse::new(status, body);
        answer
            .headers
            .push((CONTENT_TYPE, HeaderValue::from_static(content_type)));
        answer.headers.extend(self.location_header());
        Some(answer)
    }

    /// What the engine keeps of a payment that is on its way: where to look.
    pub fn reference(&self) -> SavedResponse {
        let mut reference = SavedResponse::new(StatusCode::SEE_OTHER, "");
        reference.headers.extend(self.location_header());
        reference
    }

    /// Whether what the engine keeps says where to look, and is no answer.
    pub fn is_reference(saved: &SavedResponse) -> bool {
        saved.status == StatusCode::SEE_OTHER
    }

    /// The payment as JSON, with the members of `more` behind its own.
    pub fn to_json(&self, more: &Map<String, Value>) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            shown: Shown<'a>,
            #[serde(flatten)]
            more: &'a Map<String, Value>,
        }
        let document = Document {
            shown: self.shown(),
            more,
        };
        // Text and whole numbers always serialise.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Where clients find it.
    pub fn location(&self) -> String {
        format!("/api/payments/{}", self.id)
    }

    fn location_header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((LOCATION, HeaderValue::try_from(self.location()).ok()?))
    }

    fn shown_decline_code(&self) -> Option<&'static str> {
        self.decline_code.as_deref().map(decline::shown)
    }

    fn refusal(&self) -> Response {
        match self.state {
            State::Declined => DECLINED.with(&Declined {
                payment_id: &self.id,
                decline_code: self.shown_decline_code(),
            }),
            _ => FAILED.with(&Declined {
                payment_id: &self.id,
                decline_code: None,
            }),
        }
    }

    /// The payment as clients see it.
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

/// What is kept of an event that was followed: the answer to each repetition of it.
pub(super) fn received() -> SavedResponse {
    let mut received = SavedResponse::new(StatusCode::OK, RECEIVED);
    let json = HeaderValue::from_static("application/json");
    received.headers.push((CONTENT_TYPE, json));
    received
}

/// The body of a problem.
fn text(response: &Response) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
