use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use http::StatusCode;

use super::super::NO_SUCH_INTENT;
use super::*;
use crate::State;
use crate::ledger::tests::payment as payment_in;

fn error_of_response(status: u16, kind: &str) -> Option<ProviderError> {
    let status = StatusCode::from_u16(status).expect("a status");
    let body = format!(r#"{{"error": {{"type": "{kind}", "code": "some_code"}}}}"#);
    read(status, body.as_bytes()).err()
}

/// An error may be `NotProcessed` only if Stripe documents that the request did nothing, because `NotProcessed` frees the key. An error may
/// be `Rejected` only if Stripe documents that the request will do nothing later, because `Rejected` ends the payment.
#[test]
fn only_errors_before_processing_count_as_not_processed() {
    let cases = [
        (
            401,
            "invalid_request_error",
            ProviderError::NotProcessed(AUTH_FAILED),
        ),
        (
            403,
            "invalid_request_error",
            ProviderError::NotProcessed(AUTH_FAILED),
        ),
        (
            429,
            "rate_limit_error",
            ProviderError::NotProcessed("too_many_requests"),
        ),
        (
            409,
            "idempotency_error",
            ProviderError::OutcomeUnknown("busy"),
        ),
        (409, "api_error", ProviderError::OutcomeUnknown("busy")),
        (
            400,
            "idempotency_error",
            ProviderError::OutcomeUnknown("key_reused"),
        ),
        (
            400,
            "invalid_request_error",
            ProviderError::Rejected("refused"),
        ),
        (402, "card_error", ProviderError::Rejected("refused")),
        (404, "invalid_request_error", NO_SUCH_INTENT),
        (
            500,
            "api_error",
            ProviderError::OutcomeUnknown("provider_error"),
        ),
        (
            503,
            "api_error",
            ProviderError::OutcomeUnknown("provider_error"),
        ),
        (
            302,
            "api_error",
            ProviderError::OutcomeUnknown("provider_error"),
        ),
    ];
    for (status, kind, expected) in cases {
        assert_eq!(
            error_of_response(status, kind),
            Some(expected),
            "{status} {kind}"
        );
    }
    let from_a_proxy = read(StatusCode::BAD_REQUEST, b"<html>");
    assert_eq!(
        from_a_proxy.err(),
        Some(ProviderError::OutcomeUnknown("provider_error"))
    );
}

#[test]
fn the_form_of_an_api_key_tells_its_mode() {
    let cases = [
        ("sk_live_1", Some(true)),
        ("rk_live_1", Some(true)),
        ("sk_test_1", Some(false)),
        ("rk_test_1", Some(false)),
        ("sk_1", None),
        ("sk_lively_1", None),
        ("live", None),
    ];
    for (key, expected) in cases {
        assert_eq!(livemode_of(&Secret::new(key)), expected, "{key}");
    }
}

#[test]
fn different_forms_have_different_digests() {
    let form = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        digest(&pairs.collect::<Vec<_>>())
    };
    let one = form(&[("amount", "10"), ("currency", "eur")]);
    assert_eq!(one, form(&[("amount", "10"), ("currency", "eur")]));
    assert_eq!(one.len(), 16);
    for other in [
        form(&[("amount", "100"), ("currency", "eur")]),
        form(&[("amount", "10")]),
        form(&[("amount", "10c"), ("urrency", "eur")]),
        form(&[("currency", "eur"), ("amount", "10")]),
    ] {
        assert_ne!(one, other);
    }
}

/// A client whose server answers one request with this body, and a handle that returns the request.
#[expect(
    clippy::disallowed_methods,
    reason = "a server beside the test, which ends after one response"
)]
fn stripe(body: String) -> (Stripe, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}/", listener.local_addr().expect("an address"));
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let (mut asked, mut buffer) = (String::new(), [0; 4096]);
        // `payment_id` is the last member of the form, so the request is then complete.
        while !asked.contains("payment_id") {
            let length = stream.read(&mut buffer).expect("readable");
            asked.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        // The client closes the connection once the response is too long.
        drop(stream.write_all((head + &body).as_bytes()));
        asked
    });
    let stripe = Stripe::new(
        &SecretSource::Given(Secret::new("sk_1")),
        &base.parse().expect("a URL"),
        &Setup::sandbox("nowhere"),
    );
    (stripe.expect("a client"), asked)
}

fn payment() -> Payment {
    let order = serde_json::json!({
        "amount": 700, "currency": "UGX", "payment_method": "pm_1",
        "description": "Tea", "metadata": [["order", "A-1"]], "return_url": null,
    });
    Payment {
        order: serde_json::from_value(order).expect("an order"),
        ..payment_in(1, State::Created, None)
    }
}

const INTENT: &str = r#"{"id": "pi_1", "status": "requires_confirmation", "amount": 70000,
    "currency": "ugx", "livemode": false}"#;

/// Stripe counts Ugandan shillings in hundredths, but the ledger counts whole shillings.
#[tokio::test]
async fn an_intent_is_created_from_the_order_in_stripes_unit() {
    let (stripe, asked) = stripe(INTENT.to_owned());

    let created = stripe.create(&payment(), "key-1", Deadline::UNKNOWN).await;

    let created = created.expect("an intent");
    assert!(created.is_of(&payment().order));
    assert_eq!(stripe.name(), "stripe");
    let asked = asked.join().expect("asked");
    let (head, form) = asked.split_once("\r\n\r\n").expect("a body");
    assert!(
        head.starts_with("POST /v1/payment_intents HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("authorization: Bearer sk_1\r\n"), "{head}");
    assert!(head.contains("idempotency-key: key-1-"), "{head}");
    let form: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).collect();
    let expected = [
        ("amount", "70000"),
        ("currency", "ugx"),
        ("payment_method", "pm_1"),
        ("payment_method_types[0]", "card"),
        ("metadata[description]", "Tea"),
        ("metadata[environment]", "development"),
        ("metadata[order]", "A-1"),
        ("metadata[payment_id]", "pay_1"),
    ];
    assert_eq!(
        form,
        expected.map(|(name, value)| (name.into(), value.into()))
    );
}

#[tokio::test]
async fn a_response_of_more_than_a_megabyte_is_rejected() {
    for (length, is_read) in [(1_048_576, true), (1_048_577, false)] {
        let (stripe, _) = stripe(INTENT.to_owned() + &" ".repeat(length - INTENT.len()));
        let created = stripe.create(&payment(), "key-1", Deadline::UNKNOWN).await;
        let too_long = Some(ProviderError::OutcomeUnknown("unexpected_answer"));
        let expected = if is_read { None } else { too_long };
        assert_eq!(created.err(), expected, "{length}");
    }
}
