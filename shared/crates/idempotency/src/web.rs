//! Idempotency over HTTP, as in the IETF draft
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.
//!
//! The client sends an `Idempotency-Key` with its request and with each retry. Every retry receives the first response.
//! A function calls [`key`], then [`claim`]. If [`claim`] returns a lease, the function runs the operation. Otherwise,
//! the function returns the response in [`Claimed`].
//!
//! | the key | status | headers |
//! |---|---|---|
//! | is missing or invalid | 400 | |
//! | has a result | the status of the result, with the body of the result byte for byte | `Idempotent-Replayed: true` |
//! | belongs to another request | 422 | |
//! | has a running attempt | 409 | `Retry-After`: the time until the lease ends |
//! | has a running attempt, and the client sent `Prefer: wait=N` ([RFC 7240](https://www.rfc-editor.org/rfc/rfc7240)) | after at most N seconds, the status of another row | `Preference-Applied: wait=N` |
//! | has an unknown outcome | 409 | |
//! | cannot be claimed, because the idempotency store is unavailable | 503 | `Retry-After` |
//!
//! A request may be refused before the claim (authentication, key, size, type, body). Such a request is not stored, so
//! a corrected request may use the same key. `Idempotency-Store` contains the name of the store that replied alone,
//! because another configured store did not take part.

use std::time::Duration;

use foundation::Deadline;
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_api::{self, Problem, Response};
use serde::Serialize;
use tracing::warn;

use super::{
    Backend, Blocked, ClaimOutcome, Idempotency, IdempotencyKey, Lease, Operation, SavedBody,
    SavedResponse,
};

/// The claim of a request's key.
#[derive(Debug)]
pub struct Claimed {
    /// The lease, or the response that ends the request.
    pub lease: Result<Lease, Response>,
    /// The headers of each response to this request, including the response in `lease`.
    pub headers: AnswerHeaders,
}

/// The values of the response headers that describe a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerHeaders {
    /// `Idempotency-Store`: the store that replied alone, because another configured store did not take part.
    pub degraded_to: Option<Backend>,
    /// `Preference-Applied`: how long the client preferred to wait, if the claim waited.
    pub waited: Option<Duration>,
}

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const STORE: HeaderName = HeaderName::from_static("idempotency-store");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The time for `Retry-After` if the store is unavailable.
const SHORT_WAIT: Duration = Duration::from_secs(1);

const KEY_MISSING: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "idempotency-key-missing",
    title: "Idempotency-Key is missing",
    detail: "Send an Idempotency-Key: a new one for each request, and the same one for each retry; see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.",
};

const KEY_INVALID: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "idempotency-key-invalid",
    title: "Idempotency-Key is invalid",
    detail: "Send one Idempotency-Key of 1 to 255 visible ASCII characters without a comma, for example a UUID.",
};

const KEY_REUSED: Problem = Problem {
    status: StatusCode::UNPROCESSABLE_ENTITY,
    slug: "idempotency-key-reused",
    title: "Idempotency-Key was used for another request",
    detail: "A retry has to send the same request. Use a new key for a new request.",
};

const IN_PROGRESS: Problem = Problem {
    status: StatusCode::CONFLICT,
    slug: "in-progress",
    title: "The request is in progress",
    detail: "Retry with the same key after Retry-After, or send `Prefer: wait=N` to wait for the result.",
};

const OUTCOME_UNKNOWN: Problem = Problem {
    status: StatusCode::CONFLICT,
    slug: "outcome-unknown",
    title: "The outcome of the request is unknown",
    detail: "The request may have taken effect. Repeat it later with the same key. Use no other key before you know the outcome.",
};

/// The problem if the idempotency store is unavailable, so the operation did not run.
pub(crate) const UNAVAILABLE: Problem = Problem {
    status: StatusCode::SERVICE_UNAVAILABLE,
    slug: "unavailable",
    title: "The request cannot be processed now",
    detail: "This request had no effect. Retry with the same key after Retry-After.",
};

/// Returns the idempotency key of a request.
///
/// # Errors
///
/// 400 if the key is missing, repeated or invalid.
pub fn key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Err(KEY_MISSING),
        (Some(key), None) => IdempotencyKey::parse(key.as_bytes()).map_err(|_| KEY_INVALID),
        (Some(_), Some(_)) => Err(KEY_INVALID),
    }
}

/// Claims the key of a request. While another attempt is running, waits as long as the client prefers.
///
/// # Cancel safety
///
/// See [`Idempotency::claim`].
pub async fn claim(
    idempotency: &Idempotency,
    operation: &Operation,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Claimed {
    let patience = preferred_wait(headers);
    let claim = idempotency.claim_patiently(operation, patience, deadline);
    let claim = claim.await;
    let headers = AnswerHeaders {
        degraded_to: claim.degraded_to,
        waited: patience.filter(|_| claim.has_waited),
    };
    let lease = match claim.outcome {
        Ok(ClaimOutcome::Claimed(lease)) => Ok(lease),
        Ok(ClaimOutcome::Blocked(blocked)) => Err(answer_blocked(&blocked)),
        Err(error) => {
            warn!(
                idempotency.error = %error,
                "a request was refused: the idempotency store is unavailable; its operation did not run"
            );
            Err(unavailable())
        }
    };
    Claimed { lease, headers }
}

/// The response to a request whose key is blocked.
pub fn answer_blocked(blocked: &Blocked) -> Response {
    match blocked {
        Blocked::Replay(saved) => replay(saved),
        Blocked::Mismatch => key_reused(),
        Blocked::InProgress { retry_after } => in_progress(*retry_after),
        Blocked::Unknown(_) => outcome_unknown(),
    }
}

/// The response to a retry.
pub fn replay(saved: &SavedResponse) -> Response {
    let mut response = answer(saved);
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The response to the request that ran the operation.
pub fn answer(saved: &SavedResponse) -> Response {
    #[derive(Serialize)]
    struct Summary {
        length: u64,
        sha256: String,
    }
    match &saved.body {
        SavedBody::Whole(body) => {
            let mut response = Response::new(body.clone());
            *response.status_mut() = saved.status;
            let headers = response.headers_mut();
            for (name, value) in &saved.headers {
                headers.append(name, value.clone());
            }
            response
        }
        // The body was too large to be saved. The client receives the status and the summary, and nothing runs again.
        SavedBody::Summary { length, sha256 } => {
            let summary = Summary {
                length: *length,
                sha256: hex::encode(sha256),
            };
            http_api::json(saved.status, &summary)
        }
    }
}

impl AnswerHeaders {
    /// Adds the headers to a response.
    #[must_use]
    pub fn add_to(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Some(store) = self.degraded_to
            && let Ok(name) = HeaderValue::try_from(store.name())
        {
            headers.insert(STORE, name);
        }
        if let Some(waited) = self.waited
            && let Ok(applied) = HeaderValue::try_from(format!("wait={}", waited.as_secs()))
        {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
        response
    }
}

/// The response if the key belongs to another request.
pub fn key_reused() -> Response {
    KEY_REUSED.into()
}

/// The response if another attempt is running. The lease of that attempt ends after `retry_after`.
pub fn in_progress(retry_after: Duration) -> Response {
    later(IN_PROGRESS, retry_after)
}

/// The response if the outcome of the operation is unknown: the operation may have taken effect.
pub fn outcome_unknown() -> Response {
    OUTCOME_UNKNOWN.into()
}

/// The response if the idempotency store is unavailable, so the operation did not run. The client may retry soon.
pub fn unavailable() -> Response {
    later(UNAVAILABLE, SHORT_WAIT)
}

fn later(problem: Problem, wait: Duration) -> Response {
    let mut response = Response::from(problem);
    response
        .headers_mut()
        .insert(RETRY_AFTER, http_api::retry_after(wait));
    response
}

/// Returns how long a client prefers to wait. Preferences are separated by commas and may have parameters. Only the
/// first `wait` with a value counts. `None`: there is no such preference, or its value is invalid or zero.
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse::<u32>().ok())
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::{Fingerprint, RecordKey, Request, Scope};

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let value = value.parse().expect("a header value");
            (name.clone(), value)
        });
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value): (HeaderName, HeaderValue)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn exactly_one_valid_key_is_required() {
        let long = "k".repeat(256);
        let refusals: [(&[&str], _); 8] = [
            (&[], KEY_MISSING),
            (&[""], KEY_INVALID),
            (&["\"\""], KEY_INVALID),
            (&["  "], KEY_INVALID),
            (&["a,b"], KEY_INVALID),
            (&["a", "b"], KEY_INVALID),
            (&["a\tb"], KEY_INVALID),
            (&[&long], KEY_INVALID),
        ];
        for (keys, expected) in refusals {
            let lines: Vec<_> = keys.iter().map(|key| (KEY, *key)).collect();
            assert_eq!(key(&headers(&lines)), Err(expected), "{keys:?}");
        }
        let bare = key(&headers(&[(KEY, "k-1")]));
        assert_eq!(bare, key(&headers(&[(KEY, "\"k-1\"")])));
        assert!(key(&headers(&[(KEY, &long[..255])])).is_ok());
    }

    #[test]
    fn a_preference_to_wait_is_parsed_as_in_rfc_7240() {
        let cases: [(&[&str], _); 9] = [
            (&[], None),
            (&["wait=10"], Some(10)),
            (&["respond-async, wait=10"], Some(10)),
            (&["respond-async", "Wait = \"7\"; x=y"], Some(7)),
            (&["wait=0"], None),
            (&["wait"], None),
            (&["wait=-1"], None),
            (&["wait=99999999999"], None),
            (&["waiting=3"], None),
        ];
        for (values, expected) in cases {
            let lines: Vec<_> = values.iter().map(|value| (PREFER, *value)).collect();
            let expected = expected.map(Duration::from_secs);
            assert_eq!(preferred_wait(&headers(&lines)), expected, "{values:?}");
        }
    }

    /// Regression: `Preference-Applied` was set although the invocation had no time to wait.
    #[tokio::test]
    async fn an_invocation_near_its_deadline_does_not_wait() {
        let idempotency = Idempotency::in_memory();
        let scope = Scope::http("tests.web", "alice").expect("a scope");
        let name = IdempotencyKey::parse(b"k-1").expect("a key");
        let request = Request {
            method: "POST",
            route: "/",
            tenant: "alice",
            payload: b"{}",
        };
        let fingerprint = Fingerprint::of(&request).expect("unambiguous");
        let operation = Operation::new(RecordKey::new(&scope, &name), fingerprint);
        let first = claim(
            &idempotency,
            &operation,
            &HeaderMap::new(),
            Deadline::UNKNOWN,
        )
        .await;
        let _lease = first.lease.expect("claimed");
        let patient = headers(&[(PREFER, "wait=1")]);
        let short = Deadline::after(Duration::from_secs(1) + operation.least_time);

        let second = Some(Duration::from_secs(1));
        for (deadline, waited) in [(short, None), (Deadline::UNKNOWN, second)] {
            let second = claim(&idempotency, &operation, &patient, deadline).await;
            assert_eq!(second.headers.waited, waited);
            let refusal = second.lease.expect_err("the first attempt is running");
            let answer = second.headers.add_to(refusal);
            assert_eq!(answer.status(), StatusCode::CONFLICT);
            let applied = answer.headers().get(PREFERENCE_APPLIED);
            assert_eq!(applied.is_some(), waited.is_some());
        }
    }

    #[test]
    fn a_result_is_replayed_byte_for_byte() {
        let mut first = Response::new(bytes::Bytes::from_static(b"\xff\x00\n{}"));
        *first.status_mut() = StatusCode::CREATED;
        let set = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::LOCATION, "/api/payments/1"),
            (header::SET_COOKIE, "session=1"),
            (header::CONNECTION, "close"),
        ];
        *first.headers_mut() = headers(&set);

        let again = replay(&SavedResponse::of(&first));

        assert_eq!(
            (again.status(), again.body()),
            (first.status(), first.body())
        );
        let mut names: Vec<_> = again.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "idempotent-replayed", "location"]);
    }
}
