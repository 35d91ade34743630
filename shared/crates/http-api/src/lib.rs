#![doc = include_str!("../README.md")]

mod refusal;
mod tenant;

use std::time::Duration;

use bytes::Bytes;
use foundation::Deadline;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;

pub use refusal::{IntoResponse, Refusal};
pub use tenant::{Caller, Tenant, Unauthenticated};

/// An HTTP request with its whole body.
pub type Request = http::Request<Bytes>;
/// One request to handle. Not `Debug`, because its headers contain tokens.
pub struct Invocation {
    /// The request, with its decoded body.
    pub request: Request,
    /// The caller according to API Gateway's authorizer.
    pub caller: Caller,
    /// The handler's deadline, which leaves time to send the response.
    pub deadline: Deadline,
}

/// An HTTP response with its whole body.
pub type Response = http::Response<Bytes>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An error in a response: a problem document (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The last part of the `type`, which is `urn:truebond:problem:<slug>`.
    pub slug: &'static str,
    /// What failed. This text is the same for all problems of one `type`.
    pub title: &'static str,
    /// What the client should do. This text is the same for all problems of one `type`.
    pub detail: &'static str,
}

/// The problem after an internal error. The log has the cause.
pub const INTERNAL: Problem = Problem {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    slug: "internal",
    title: "Internal error",
    detail: "The request failed because of an internal error. Include the X-Request-Id when you report it.",
};

/// The problem if the request has no authenticated caller.
pub const UNAUTHENTICATED: Problem = Problem {
    status: StatusCode::UNAUTHORIZED,
    slug: "unauthenticated",
    title: "Authentication required",
    detail: "Send valid credentials for this API, for example a bearer token.",
};

/// The problem if the path exists, but does not accept the method of the request.
const METHOD_NOT_ALLOWED: Problem = Problem {
    status: StatusCode::METHOD_NOT_ALLOWED,
    slug: "method-not-allowed",
    title: "Method not allowed",
    detail: "The Allow header lists the methods of this path.",
};

/// The request's method is not one of the path's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodNotAllowed {
    /// The methods of the path.
    allow: &'static str,
}

impl Problem {
    /// A response with the problem document. The document also has the members of `more`, which describe this
    /// occurrence.
    pub fn with(self, more: &impl Serialize) -> Response {
        #[derive(Serialize)]
        struct Document<'a, T> {
            r#type: String,
            title: &'static str,
            status: u16,
            detail: &'static str,
            #[serde(flatten)]
            more: &'a T,
        }
        let document = Document {
            r#type: format!("urn:truebond:problem:{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            more,
        };
        with_body(self.status, "application/problem+json", &document)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        #[derive(Serialize)]
        struct NothingMore {}
        problem.with(&NothingMore {})
    }
}

impl From<MethodNotAllowed> for Response {
    fn from(refusal: MethodNotAllowed) -> Self {
        let mut response = Self::from(METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(refusal.allow));
        response
    }
}

/// A response 200 with `body` as JSON.
pub fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// A response 200 with `text`, which has to be JSON.
pub fn json_text(text: String) -> Response {
    let mut response = Response::new(Bytes::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response with `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with_body(status, "application/json", body)
}

/// Accepts only `GET` and `HEAD`.
///
/// # Errors
///
/// [`MethodNotAllowed`] for any other method.
pub fn require_get(method: &Method) -> Result<(), MethodNotAllowed> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

/// Accepts only `POST`.
///
/// # Errors
///
/// [`MethodNotAllowed`] for any other method.
pub fn require_post(method: &Method) -> Result<(), MethodNotAllowed> {
    require(method, &Method::POST, "POST")
}

/// Accepts only `PUT`.
///
/// # Errors
///
/// [`MethodNotAllowed`] for any other method.
pub fn require_put(method: &Method) -> Result<(), MethodNotAllowed> {
    require(method, &Method::PUT, "PUT")
}

/// Accepts only `DELETE`.
///
/// # Errors
///
/// [`MethodNotAllowed`] for any other method.
pub fn require_delete(method: &Method) -> Result<(), MethodNotAllowed> {
    require(method, &Method::DELETE, "DELETE")
}

fn require(
    method: &Method,
    accepted: &Method,
    allow: &'static str,
) -> Result<(), MethodNotAllowed> {
    if method == accepted {
        Ok(())
    } else {
        Err(MethodNotAllowed { allow })
    }
}

/// Whether the content type is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// The value of a `Retry-After` header: the wait, rounded up to whole seconds. The minimum is one second.
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64)
}

/// Returns the token of an `Authorization: Bearer` header.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| token.trim_start_matches(' '))
}

/// Completes a response: adds the request id, forbids caching, and removes the body for `HEAD`.
pub fn finish(mut response: Response, method: &Method, request_id: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if method == Method::HEAD {
        *response.body_mut() = Bytes::new();
    }
    response
}

fn with_body(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    // Our bodies are structs of text and numbers, which always serialise. A failure would give an empty body.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_a_stable_type_and_fixed_texts() {
        let response = Response::from(INTERNAL);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        insta::assert_snapshot!(String::from_utf8_lossy(response.body()), @r#"{"type":"urn:truebond:problem:internal","title":"Internal error","status":500,"detail":"The request failed because of an internal error. Include the X-Request-Id when you report it."}"#);
    }

    #[test]
    fn each_route_accepts_only_its_methods() {
        type Require = fn(&Method) -> Result<(), MethodNotAllowed>;
        let cases: [(Require, &[Method], &str); 4] = [
            (require_get, &[Method::GET, Method::HEAD], "GET, HEAD"),
            (require_post, &[Method::POST], "POST"),
            (require_put, &[Method::PUT], "PUT"),
            (require_delete, &[Method::DELETE], "DELETE"),
        ];
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
        for (require, accepted, allow) in cases {
            for method in methods.map(|name| name.parse().expect("a method")) {
                let required = require(&method);
                assert_eq!(required.is_ok(), accepted.contains(&method), "{method}");
                let Err(refusal) = required else { continue };
                let refusal = Response::from(refusal);
                assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(refusal.headers()[ALLOW], allow);
            }
        }
    }

    #[test]
    fn a_bearer_token_is_parsed_by_rfc_6750() {
        let cases = [
            (Some("Bearer abc"), Some("abc")),
            (Some("bearer abc"), Some("abc")),
            (Some("Basic abc"), None),
            (Some("abc"), None),
            (Some(""), None),
            (None, None),
        ];
        for (header, expected) in cases {
            let headers =
                header.map(|value| (AUTHORIZATION, value.parse().expect("a header value")));
            assert_eq!(
                bearer_token(&headers.into_iter().collect()),
                expected,
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_response_to_head_keeps_status_and_headers() {
        let response = finish(json(StatusCode::OK, &[1]), &Method::HEAD, "id-1");
        assert_eq!(
            (response.status(), response.body().len()),
            (StatusCode::OK, 0)
        );
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[REQUEST_ID], "id-1");
    }
}
