//! A function's answer to a [`TestRequest`], as the client receives it.
//!
//! The harness checks that every answer follows the rules for all functions: headers, media types, no planted secret.

use std::collections::BTreeMap;

use bytes::Bytes;
use lambda_http::aws_lambda_events::encodings::Base64Data;
use serde_json::Value;

use crate::secrets::Secrets;
use crate::test_request::TestRequest;

/// The prefix of every problem's `type`.
const PROBLEM: &str = "urn:truebond:problem:";

/// The values of `status` in the body of a health report. An answer with an HTTP error status must be a problem
/// document or a health report.
const HEALTH: [&str; 4] = ["healthy", "degraded", "unhealthy", "disconnected"];

/// A function's answer, as an HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The values of `Set-Cookie`.
    pub cookies: Vec<String>,
    /// The body, decoded if the function encoded it in Base64.
    pub body: Bytes,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(&name.to_ascii_lowercase())
            .map(String::as_str)
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// Panics if the body is not UTF-8.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("invalid JSON ({error}): {self:?}"))
    }

    /// Reads the result of an invocation and checks the rules for all answers.
    pub(crate) fn check(result: &Value, request: &TestRequest, secrets: &Secrets) -> Self {
        let answer = Self::read(result);
        answer.check_headers(request);
        if request.method() == "HEAD" {
            assert!(answer.body.is_empty(), "HEAD has a body: {answer:?}");
        } else {
            answer.check_body();
        }
        for (name, value) in &answer.headers {
            secrets.assert_absent(&format!("the header `{name}`"), value);
        }
        secrets.assert_absent("a cookie", &answer.cookies.join("\n"));
        secrets.assert_absent("the body", &String::from_utf8_lossy(&answer.body));
        answer
    }

    fn read(result: &Value) -> Self {
        let status = result["statusCode"]
            .as_u64()
            .and_then(|status| status.try_into().ok());
        let texts = |member: &str| {
            result[member]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
        };
        let headers = result["headers"].as_object().into_iter().flatten();
        let body = result["body"].as_str().unwrap_or_default();
        let body = if result["isBase64Encoded"] == true {
            let decoded: Base64Data =
                serde_json::from_value(body.into()).expect("`isBase64Encoded` means a Base64 body");
            Bytes::copy_from_slice(&decoded)
        } else {
            Bytes::copy_from_slice(body.as_bytes())
        };
        Self {
            status: status.unwrap_or_else(|| panic!("not an HTTP response: {result}")),
            headers: headers
                .filter_map(|(name, value)| {
                    Some((name.to_ascii_lowercase(), value.as_str()?.to_owned()))
                })
                .collect(),
            cookies: texts("cookies").map(str::to_owned).collect(),
            body,
        }
    }

    fn check_headers(&self, request: &TestRequest) {
        let id = self.header("x-request-id");
        assert_eq!(
            id,
            Some(request.request_id()),
            "`x-request-id` differs from the request's: {self:?}"
        );
        assert_eq!(
            self.header("cache-control"),
            Some("no-store"),
            "wrong `cache-control`: {self:?}"
        );
    }

    /// Checks that the body is JSON. If the status is an error, the body must be a problem document or a health report.
    fn check_body(&self) {
        if self.body.is_empty() {
            return;
        }
        let content_type = self.header("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let body = self.json();
        match media_type {
            "application/problem+json" => {
                let kind = body["type"].as_str().unwrap_or_default();
                assert!(
                    kind.starts_with(PROBLEM) && kind != PROBLEM,
                    "wrong `type` of the problem: {self:?}"
                );
                assert_eq!(
                    body["status"], self.status,
                    "`status` of the problem differs from the response's: {self:?}"
                );
                let title = body["title"].as_str().unwrap_or_default();
                assert!(!title.is_empty(), "the problem has no `title`: {self:?}");
            }
            "application/json" => {
                let is_report = body["status"]
                    .as_str()
                    .is_some_and(|status| HEALTH.contains(&status));
                assert!(
                    self.status < 400 || is_report,
                    "an error must be application/problem+json: {self:?}"
                );
            }
            _ => panic!(
                "`content-type` must be application/json or application/problem+json: {self:?}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;
    use crate::secrets::Secrets;
    use crate::test_request::TestRequest;
    use serde_json::{Value, json};

    fn check(status: u16, content_type: &str, body: &Value) -> Result<Answer, String> {
        let request = TestRequest::get("/");
        let result = json!({
            "statusCode": status,
            "headers": {
                "Content-Type": content_type,
                "Cache-Control": "no-store",
                "X-Request-Id": request.request_id(),
            },
            "body": body.to_string(),
        });
        std::panic::catch_unwind(|| Answer::check(&result, &request, &Secrets::default()))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    #[test]
    fn an_error_must_be_a_problem_except_in_a_health_report() {
        let problem = json!({ "type": "urn:truebond:problem:x", "title": "X", "status": 503 });
        assert!(check(503, "application/problem+json", &problem).is_ok());
        assert!(check(503, "application/json", &json!({ "status": "unhealthy" })).is_ok());
        assert!(
            check(500, "application/problem+json", &problem)
                .unwrap_err()
                .contains("`status`")
        );
        assert!(
            check(503, "application/json", &json!({ "error": "x" }))
                .unwrap_err()
                .contains("must be application/problem+json")
        );
        assert!(
            check(200, "text/html", &json!({}))
                .unwrap_err()
                .contains("content-type")
        );
    }
}
