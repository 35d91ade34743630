//! A request in the format in which API Gateway's HTTP API passes it to a function: an event of payload format 2.0
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>).

use std::collections::BTreeMap;

use bytes::Bytes;
use lambda_http::Body;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::request_id;

/// The default subject of a request.
const TESTER: &str = "tester";
/// The default tenant of a request.
pub const TENANT: &str = "jwt:tester";

/// A client's request. Each request has its own id.
#[derive(Clone, Debug)]
pub struct TestRequest {
    method: String,
    path: String,
    query: String,
    /// The headers. Their names are in lower case, as API Gateway sends them.
    headers: BTreeMap<String, String>,
    cookies: Vec<String>,
    body: Option<Bytes>,
    /// Whether the body is encoded in Base64, even if the body is text.
    is_encoded: bool,
    /// The route in the template, if it differs from the path.
    route: Option<String>,
    path_parameters: Map<String, Value>,
    /// The result of API Gateway's authorizer. Null if the route has no authorizer.
    authorizer: Value,
    request_id: String,
    /// The values to set in the event, each with its JSON pointer.
    changes: Vec<(String, Value)>,
}

impl TestRequest {
    /// Creates a `GET` request for a path. A query can follow the path, after a `?`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Creates a `HEAD` request for a path.
    pub fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    /// Creates a `POST` request to a path.
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Creates a request with this method.
    pub fn new(method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let headers = [
            ("accept", "*/*"),
            ("host", "api.example.com"),
            ("user-agent", "truebond-tests"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto", "https"),
        ];
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            cookies: Vec::new(),
            body: None,
            is_encoded: false,
            route: None,
            path_parameters: Map::new(),
            authorizer: authorizer_of(TESTER),
            request_id: request_id::fresh(),
            changes: Vec::new(),
        }
    }

    /// Adds a header, as API Gateway does: values of a repeated header are joined with a comma, and `cookie` moves to `cookies`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name == "cookie" {
            self.cookies.extend(value.split("; ").map(str::to_owned));
            return self;
        }
        self.headers
            .entry(name)
            .and_modify(|present| {
                // A given value replaces the default value instead of being joined to it.
                if present != "*/*" && present != "truebond-tests" {
                    present.push(',');
                    present.push_str(value);
                } else {
                    *present = value.to_owned();
                }
            })
            .or_insert_with(|| value.to_owned());
        self
    }

    /// Sets the body. A body that is not UTF-8 is encoded in Base64.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.headers
            .insert("content-length".to_owned(), body.len().to_string());
        self.body = Some(body);
        self
    }

    /// Encodes the body in Base64, as API Gateway does for binary media types.
    #[must_use]
    pub fn encoded(self) -> Self {
        Self {
            is_encoded: true,
            ..self
        }
    }

    /// Sets a JSON body and its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sets the subject (`sub`) in the result of API Gateway's JWT authorizer.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.authorizer = authorizer_of(subject);
        self
    }

    /// Removes the authorizer's result, as for a public route or local development.
    #[must_use]
    pub fn without_authorizer(mut self) -> Self {
        self.authorizer = Value::Null;
        self
    }

    /// Sets the tenant in the result of a Lambda authorizer.
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.authorizer = json!({ "lambda": { "tenant": tenant } });
        self
    }

    /// Sets the route in the template, for example `/api/payments/{id}`. The default is the path.
    #[must_use]
    pub fn route(mut self, path: &str) -> Self {
        self.route = Some(path.to_owned());
        self
    }

    /// Adds a parameter of the route.
    #[must_use]
    pub fn path_parameter(mut self, name: &str, value: &str) -> Self {
        self.path_parameters.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the value at a JSON pointer in the event. The object or array that contains the value must exist.
    #[must_use]
    pub fn with_member(mut self, pointer: &str, value: Value) -> Self {
        self.changes.push((pointer.to_owned(), value));
        self
    }

    /// The `requestContext.requestId` of the event. The answer repeats this id in the header `x-request-id`.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The HTTP method of the request, as sent.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The event that API Gateway creates from the request.
    pub fn event(&self) -> Value {
        let route_key = format!(
            "{} {}",
            self.method,
            self.route.as_ref().unwrap_or(&self.path)
        );
        let now = jiff::Timestamp::now();
        let mut event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": self.path,
            "rawQueryString": self.query,
            "headers": self.headers,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "api-id",
                "domainName": "api.example.com",
                "domainPrefix": "api",
                "http": {
                    "method": self.method,
                    "path": self.path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": self.headers["user-agent"],
                },
                "requestId": self.request_id,
                "routeKey": route_key,
                "stage": "$default",
                "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": now.as_millisecond(),
            },
            "isBase64Encoded": false,
        });
        // API Gateway omits empty members.
        if !self.query.is_empty() {
            event["queryStringParameters"] = self.query_parameters().into();
        }
        if !self.path_parameters.is_empty() {
            event["pathParameters"] = self.path_parameters.clone().into();
        }
        if !self.authorizer.is_null() {
            event["requestContext"]["authorizer"] = self.authorizer.clone();
        }
        if !self.cookies.is_empty() {
            event["cookies"] = self.cookies.clone().into();
        }
        if let Some(body) = &self.body {
            let text = str::from_utf8(body).ok().filter(|_| !self.is_encoded);
            event["isBase64Encoded"] = text.is_none().into();
            event["body"] = match text {
                Some(text) => text.into(),
                None => json!(Body::Binary(body.to_vec())),
            };
        }
        for (pointer, value) in &self.changes {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            event.pointer_mut(parent).expect("a parent")[name] = value.clone();
        }
        event
    }

    /// The decoded query. Values of a repeated name are joined with a comma.
    fn query_parameters(&self) -> Map<String, Value> {
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()).into_owned() {
            parameters.entry(name).or_default().push(value);
        }
        parameters
            .into_iter()
            .map(|(name, values)| (name, values.join(",").into()))
            .collect()
    }
}

fn authorizer_of(subject: &str) -> Value {
    json!({ "jwt": { "claims": { "sub": subject }, "scopes": null } })
}

#[cfg(test)]
mod tests {
    use super::TestRequest;
    use lambda_http::request::from_str;
    use lambda_http::{Body, RequestExt};

    #[test]
    fn lambda_http_parses_the_event_to_the_same_request() {
        let sent = TestRequest::post("/api/payments/p-1?wait=10&note=a%20b")
            .route("/api/payments/{id}")
            .path_parameter("id", "p-1")
            .header("Idempotency-Key", "k")
            .header("idempotency-key", "l")
            .body(&b"\xff\x00"[..]);
        let read = from_str(&sent.event().to_string()).expect("an event of API Gateway");
        assert_eq!(read.uri().path(), "/api/payments/p-1");
        assert_eq!(read.headers()["idempotency-key"], "k,l");
        assert_eq!(read.query_string_parameters().first("note"), Some("a b"));
        assert_eq!(read.path_parameters().first("id"), Some("p-1"));
        assert_eq!(read.body(), &Body::Binary(vec![0xff, 0]));
    }
}
