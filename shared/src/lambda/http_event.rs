//! Parses an event of API Gateway's HTTP API, payload format 2.0
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).
//!
//! Clients can cause events on which the conversion of `lambda_http` panics: two protocols in `X-Forwarded-Proto`, a
//! space in `Host`, a query that is not encoded. That conversion runs before our code. So after a panic, the client
//! would get no problem document and no request id.
//!
//! So this module parses each member separately. It ignores members that no endpoint reads. If HTTP does not allow a
//! header value, a value that no endpoint accepts replaces it. If method, path, headers or body are invalid, the
//! response is a 400.

use std::borrow::Cow;

use bytes::Bytes;
use foundation::json::Members;
use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_api::{Caller, INTERNAL, Problem, Request};
use lambda_http::aws_lambda_events::encodings::Base64Data;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The parsed event. Not `Debug`, because headers and body can contain secrets.
pub(super) struct HttpEvent {
    /// The request id of API Gateway, which is also in the logs of API Gateway.
    pub(super) request_id: Option<String>,
    /// The method; `GET` if the event has no valid method.
    pub(super) method: Method,
    /// The caller according to API Gateway's authorizer.
    pub(super) caller: Caller,
    /// The request, or the problem to respond with.
    pub(super) request: Result<Request, Problem>,
}

/// The problem if the event has no valid request.
const UNREADABLE: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    slug: "request-unreadable",
    title: "The request cannot be read",
    detail: "The method, the path, a header or the body of the request is not valid HTTP.",
};

/// Characters that must be percent-encoded in a query (RFC 3986, section 3.4).
const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Characters that must be percent-encoded in a path. API Gateway decodes the path of a request.
const NOT_IN_A_PATH: &AsciiSet = &NOT_IN_A_QUERY.add(b'?');

/// Replaces a header value that HTTP does not allow. It is not valid text, so every endpoint rejects it as malformed.
const INVALID_TEXT: &[u8] = b"\xff";

/// The longest request id of API Gateway.
const LONGEST_REQUEST_ID: usize = 128;

impl HttpEvent {
    /// Parses an event. Any JSON value counts as an event, and so does a missing value.
    pub(super) fn read(event: Option<&RawValue>) -> Self {
        let event: Event = event.and_then(object).unwrap_or_default();
        let context: Context = event.request_context.and_then(object).unwrap_or_default();
        let http: Http = context.http.and_then(object).unwrap_or_default();
        let method = http.method.and_then(method);
        Self {
            request_id: context.request_id.and_then(request_id),
            caller: caller(context.authorizer),
            request: method
                .clone()
                .and_then(|method| event.request(method))
                .ok_or(UNREADABLE),
            method: method.unwrap_or_default(),
        }
    }

    /// The result for an event whose parsing panicked.
    pub(super) fn panicked() -> Self {
        Self {
            request_id: None,
            method: Method::GET,
            caller: Caller::Unchecked,
            request: Err(INTERNAL),
        }
    }
}

/// The members that are parsed. `None`: the member is missing or null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'a> {
    #[serde(borrow)]
    raw_path: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_query_string: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    request_context: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    is_base64_encoded: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context<'a> {
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    authorizer: Option<&'a RawValue>,
    #[serde(borrow)]
    http: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Http<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Authorizer<'a> {
    #[serde(borrow)]
    jwt: Option<&'a RawValue>,
    #[serde(borrow)]
    lambda: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwt<'a> {
    #[serde(borrow)]
    claims: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LambdaAuthorizer<'a> {
    #[serde(borrow)]
    tenant: Option<&'a RawValue>,
}

impl Event<'_> {
    fn request(&self, method: Method) -> Option<Request> {
        let mut request = Request::new(self.body()?);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri()?;
        *request.headers_mut() = self.headers()?;
        Some(request)
    }

    fn uri(&self) -> Option<Uri> {
        let path: Cow<str> = value(self.raw_path?)?;
        if !path.starts_with('/') {
            return None;
        }
        let mut uri = utf8_percent_encode(&path, NOT_IN_A_PATH).to_string();
        let query: Option<Cow<str>> = self.raw_query_string.and_then(value);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            uri.push('?');
            uri.extend(utf8_percent_encode(&query, NOT_IN_A_QUERY));
        }
        Uri::builder().path_and_query(uri).build().ok()
    }

    fn headers(&self) -> Option<HeaderMap> {
        let sent = match self.headers {
            Some(headers) => value::<Members>(headers)?.0,
            None => Vec::new(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            // A header with an invalid name is dropped: no endpoint reads it.
            if let Ok(name) = HeaderName::from_bytes(&name.0) {
                headers.try_append(name, header_value(value)).ok()?;
            }
        }
        // API Gateway sends the cookies separately from the headers.
        if let Some(cookies) = self.cookies.and_then(value::<Vec<Cow<str>>>)
            && let Ok(cookies) = HeaderValue::from_str(&cookies.join("; "))
        {
            headers.try_insert(COOKIE, cookies).ok()?;
        }
        Some(headers)
    }

    fn body(&self) -> Option<Bytes> {
        let Some(body) = self.body else {
            return Some(Bytes::new());
        };
        let is_encoded = match self.is_base64_encoded {
            Some(is_encoded) => value(is_encoded)?,
            None => false,
        };
        if is_encoded {
            value::<Base64Data>(body).map(|data| data.0.into())
        } else {
            value::<String>(body).map(Bytes::from)
        }
    }
}

/// The caller according to the authorizer in the event. If the caller's name is missing or is not text, no other
/// authorizer is tried.
fn caller(authorizer: Option<&RawValue>) -> Caller {
    let Some(authorizer) = authorizer else {
        return Caller::Unchecked;
    };
    let authorizer: Authorizer = object(authorizer).unwrap_or_default();
    match authorizer.jwt {
        Some(jwt) => {
            let claims = object::<Jwt>(jwt).and_then(|jwt| jwt.claims);
            let claims: Option<Claims> = claims.and_then(object);
            Caller::Jwt(claims.and_then(|claims| claims.sub).and_then(value))
        }
        None => {
            let lambda: Option<LambdaAuthorizer> = authorizer.lambda.and_then(object);
            Caller::Lambda(lambda.and_then(|lambda| lambda.tenant).and_then(value))
        }
    }
}

fn method(method: &RawValue) -> Option<Method> {
    let method: Cow<str> = value(method)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// The request id, if it is valid in a header.
fn request_id(id: &RawValue) -> Option<String> {
    let id: String = value(id)?;
    let is_header = (1..=LONGEST_REQUEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_header.then_some(id)
}

fn header_value(sent: &RawValue) -> HeaderValue {
    let text: Option<Cow<str>> = value(sent);
    text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok())
        .or_else(|| HeaderValue::from_bytes(INVALID_TEXT).ok())
        .unwrap_or(HeaderValue::from_static(""))
}

/// Parses `json` as a `T`; `None` if it is not a valid `T`.
fn value<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    serde_json::from_str(json.get()).ok()
}

/// The members of `json`, if it is an object. Without this check, serde would also accept an array and assign its items
/// by position.
fn object<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    json.get().starts_with('{').then(|| value(json))?
}

#[cfg(test)]
mod tests;
