use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn event() -> Value {
    json!({
        "version": "2.0",
        "rawPath": "/api/payments",
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "idempotency-key": "k-1" },
        "requestContext": {
            "requestId": "id-1=",
            "http": { "method": "POST" },
            "authorizer": { "jwt": { "claims": { "sub": "alice" } } },
        },
        "body": "{}",
        "isBase64Encoded": false,
    })
}

/// The event with another value at `pointer`. A missing member is added.
fn event_with(pointer: &str, value: Value) -> Value {
    let mut event = event();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    event.pointer_mut(parent).expect("a parent")[name] = value;
    event
}

fn read(event: &str) -> HttpEvent {
    HttpEvent::read(Some(serde_json::from_str(event).expect("JSON")))
}

fn request(pointer: &str, value: Value) -> Option<Request> {
    read(&event_with(pointer, value).to_string()).request.ok()
}

#[test]
fn an_event_becomes_the_request_that_it_describes() {
    let event = read(&event().to_string());
    assert_eq!(event.request_id.as_deref(), Some("id-1="));
    assert!(event.caller == Caller::Jwt(Some("alice".to_owned())));
    let request = event.request.expect("a request");
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "/api/payments");
    assert_eq!(request.headers()["idempotency-key"], "k-1");
    assert_eq!(request.body(), "{}");
}

/// The conversion of `lambda_http` panics on these events.
#[test]
fn invalid_members_that_no_endpoint_reads_are_ignored() {
    let cases = [
        ("/headers/x-forwarded-proto", json!("https,http")),
        ("/headers/x-forwarded-proto", json!("")),
        ("/headers/x-forwarded-proto", json!("h".repeat(64))),
        ("/headers/host", json!("a b")),
        ("/headers/host", json!("x:99999")),
        ("/headers/host", json!(7)),
        ("/headers/a b", json!("c")),
        ("/headers/x-é", json!("c")),
        ("/headers/", json!("c")),
        ("/headers/user-agent", json!("a\u{0}\nb")),
        ("/headers/user-agent", json!(["a"])),
        ("/rawQueryString", json!("a=ü b\"<>{}|^`\n")),
        ("/rawQueryString", json!(7)),
        ("/queryStringParameters", json!(7)),
        ("/pathParameters", json!([])),
        ("/stageVariables", json!("")),
        ("/cookies", json!("a=1")),
        ("/cookies", json!(["a=\n"])),
        ("/version", json!({})),
        ("/requestContext/timeEpoch", json!("now")),
        ("/requestContext/domainName", json!("a b")),
        ("/requestContext/http/sourceIp", json!(4)),
    ];
    for (pointer, value) in cases {
        assert!(
            request(pointer, value.clone()).is_some(),
            "{pointer} = {value}"
        );
    }
}

#[test]
fn an_event_without_a_request_is_unreadable() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let whole = [
        "7",
        "null",
        "\"\\ud800\"",
        "[]",
        "{}",
        r#"["/","",{}]"#,
        r#"{"rawPath":"/"}"#,
        r#"{"requestContext":{"http":{"method":"GET"}},"requestContext":{}}"#,
        &deep,
    ];
    for event in whole {
        let read = read(event);
        assert_eq!(read.request.err(), Some(UNREADABLE), "{event:.60}");
    }
    assert!(HttpEvent::read(None).request.is_err());
    let members = [
        ("/rawPath", Value::Null),
        ("/rawPath", json!("")),
        ("/rawPath", json!("api")),
        ("/rawPath", json!(["/"])),
        ("/rawPath", json!(format!("/{}", "p".repeat(70_000)))),
        ("/requestContext", json!([])),
        ("/requestContext/http", json!("POST")),
        ("/requestContext/http/method", json!("")),
        ("/requestContext/http/method", json!("PO ST")),
        ("/requestContext/http/method", json!(1)),
        ("/headers", json!(["a"])),
        ("/headers", json!("a: b")),
        ("/body", json!({})),
        ("/body", json!(1)),
        ("/isBase64Encoded", json!("false")),
        ("/isBase64Encoded", json!(0)),
    ];
    for (pointer, value) in members {
        assert!(
            request(pointer, value.clone()).is_none(),
            "{pointer} = {value:.60}"
        );
    }
}

#[test]
fn a_body_is_text_or_base64() {
    let body = |body: &str, is_encoded: bool| {
        let mut event = event_with("/body", json!(body));
        event["isBase64Encoded"] = json!(is_encoded);
        let request = read(&event.to_string()).request.ok();
        request.map(|request| request.into_body().to_vec())
    };
    assert_eq!(body("/wA=", true), Some(vec![0xff, 0]));
    assert_eq!(body("/wA=", false), Some(b"/wA=".to_vec()));
    assert_eq!(body("", true), Some(Vec::new()));
    for wrong in ["/wA", "/w A=", "*", "/wA=="] {
        assert_eq!(body(wrong, true), None, "{wrong}");
    }
    assert_eq!(request("/body", Value::Null).expect("a request").body(), "");
}

#[test]
fn more_headers_than_http_allows_are_unreadable() {
    let headers: serde_json::Map<_, _> =
        (0..40_000).map(|n| (format!("h{n}"), json!(""))).collect();
    assert!(request("/headers", headers.into()).is_none());
}

/// An endpoint that reads the header rejects it as malformed, and other endpoints ignore it.
#[test]
fn a_header_value_that_http_does_not_allow_becomes_invalid_text() {
    for value in [
        json!("a\nb"),
        json!("\u{7f}"),
        json!(7),
        Value::Null,
        json!(["k"]),
    ] {
        let request = request("/headers/idempotency-key", value.clone()).expect("a request");
        let key = &request.headers()["idempotency-key"];
        assert!(key.to_str().is_err(), "{value}");
    }
}

#[test]
fn every_header_of_a_name_is_kept() {
    let event = event().to_string().replace(
        r#""headers":{"#,
        r#""headers":{"Idempotency-Key":"k-0","idempotency-key":"k-2","#,
    );
    let request = read(&event).request.expect("a request");
    assert_eq!(
        request.headers().get_all("idempotency-key").iter().count(),
        3
    );
}

#[test]
fn cookies_become_a_header() {
    let request = request("/cookies", json!(["a=1", "b=2"])).expect("a request");
    assert_eq!(request.headers()["cookie"], "a=1; b=2");
}

#[test]
fn path_and_query_are_percent_encoded() {
    let cases = [
        ("/api/payments/é", "", "/api/payments/%C3%A9"),
        ("/api/pay ments", "", "/api/pay%20ments"),
        ("/a?b#c", "d", "/a%3Fb%23c?d"),
        ("/a%20b", "c=%20", "/a%20b?c=%20"),
        ("/\u{1b}[2J", "", "/%1B%5B2J"),
        ("//host/a", "", "//host/a"),
        (
            "/a",
            "b=ü c\"<>{}|^`\n?",
            "/a?b=%C3%BC%20c%22%3C%3E%7B%7D%7C%5E%60%0A?",
        ),
    ];
    for (path, query, expected) in cases {
        let mut event = event_with("/rawPath", json!(path));
        event["rawQueryString"] = json!(query);
        let request = read(&event.to_string()).request.expect("a request");
        assert_eq!(request.uri(), expected);
    }
}

#[test]
fn a_request_id_that_is_invalid_in_a_header_is_dropped() {
    for id in [
        json!(""),
        json!("a\nb"),
        json!("é"),
        json!(7),
        json!("i".repeat(129)),
        Value::Null,
    ] {
        let event = event_with("/requestContext/requestId", id.clone());
        assert_eq!(read(&event.to_string()).request_id, None, "{id}");
    }
}

#[test]
fn only_the_first_authorizer_names_the_caller() {
    let jwt =
        |sub: Value| json!({ "jwt": { "claims": { "sub": sub } }, "lambda": { "tenant": "shop" } });
    let cases = [
        (Value::Null, Caller::Unchecked),
        (json!({}), Caller::Lambda(None)),
        (json!(7), Caller::Lambda(None)),
        (json!([]), Caller::Lambda(None)),
        (
            json!({ "lambda": { "tenant": "shop" } }),
            Caller::Lambda(Some("shop".into())),
        ),
        (
            json!({ "lambda": { "tenant": ["shop"] } }),
            Caller::Lambda(None),
        ),
        (json!({ "lambda": "shop" }), Caller::Lambda(None)),
        (json!({ "iam": { "userId": "u" } }), Caller::Lambda(None)),
        (jwt(json!("alice")), Caller::Jwt(Some("alice".into()))),
        (jwt(json!(["alice"])), Caller::Jwt(None)),
        (jwt(json!(7)), Caller::Jwt(None)),
        (jwt(json!(true)), Caller::Jwt(None)),
        (
            json!({ "jwt": { "claims": [] }, "lambda": { "tenant": "shop" } }),
            Caller::Jwt(None),
        ),
        (
            json!({ "jwt": [], "lambda": { "tenant": "shop" } }),
            Caller::Jwt(None),
        ),
    ];
    for (authorizer, expected) in cases {
        let event = event_with("/requestContext/authorizer", authorizer.clone());
        assert!(read(&event.to_string()).caller == expected, "{authorizer}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z/%=+ ,\\x00-\\x1f]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-zA-Z -]{0,12}", inner, 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

const POINTERS: [&str; 17] = [
    "/rawPath",
    "/rawQueryString",
    "/headers",
    "/headers/idempotency-key",
    "/headers/x-forwarded-proto",
    "/headers/host",
    "/cookies",
    "/requestContext",
    "/requestContext/requestId",
    "/requestContext/http",
    "/requestContext/http/method",
    "/requestContext/authorizer",
    "/requestContext/authorizer/jwt",
    "/requestContext/authorizer/jwt/claims",
    "/requestContext/authorizer/jwt/claims/sub",
    "/body",
    "/isBase64Encoded",
];

proptest! {
    #[test]
    fn any_json_is_parsed_without_a_panic(event in any_json()) {
        prop_assert!(read(&event.to_string()).request.is_err());
    }

    #[test]
    fn a_changed_event_is_parsed_without_a_panic(at in 0..POINTERS.len(), value in any_json()) {
        let event = read(&event_with(POINTERS[at], value).to_string());
        prop_assert!(event.request_id.is_none_or(|id| HeaderValue::from_str(&id).is_ok()));
    }
}
