use foundation::environment::Host;
use http::{HeaderValue, StatusCode, header};

use super::*;
use crate::{IdempotencyKey, SavedBody, Scope};

const CURRENT: &str = "current-key-0123456789";
const PREVIOUS: &str = "previous-key-0123456789";

fn keys_in(environment: &str, list: &str) -> ResponseKeys {
    let list = (!list.is_empty()).then(|| SecretCell::Fixed(Secret::new(list)));
    let environment = Environment::new(environment, Host::Deployed);
    ResponseKeys::new(list, "payments", &environment)
}

fn keys(list: &str) -> ResponseKeys {
    keys_in("production", list)
}

fn key(tenant: &str, key: &str) -> RecordKey {
    let scope = Scope::http("payments.create", tenant).expect("a scope");
    RecordKey::new(&scope, &IdempotencyKey::parse(key).expect("a key"))
}

/// The fingerprint of a request.
fn asking(digit: &str) -> Fingerprint {
    Fingerprint::from_hex(&digit.repeat(64)).expect("a fingerprint")
}

fn declined() -> SavedResponse {
    let mut response = SavedResponse::new(StatusCode::PAYMENT_REQUIRED, "declined");
    let location = HeaderValue::from_static("/api/payments/pay_1");
    response.headers.push((header::LOCATION, location));
    response
}

async fn signed(keys: &ResponseKeys) -> SavedResponse {
    let (key, fingerprint) = (key("a", "k"), asking("1"));
    let signing = keys.sign(&key, &fingerprint, declined(), Deadline::UNKNOWN);
    signing.await
}

async fn is_accepted(keys: &ResponseKeys, response: &SavedResponse) -> bool {
    let (key, fingerprint) = (key("a", "k"), asking("1"));
    let verifying = keys.verify(&key, &fingerprint, response, Deadline::UNKNOWN);
    verifying.await
}

#[tokio::test]
async fn only_an_unchanged_signed_response_is_accepted() {
    let keys = keys(CURRENT);
    let signed = signed(&keys).await;
    assert!(is_accepted(&keys, &signed).await);

    let with = |change: &dyn Fn(&mut SavedResponse)| {
        let mut changed = signed.clone();
        change(&mut changed);
        changed
    };
    let tampered = [
        ("status", with(&|it| it.status = StatusCode::CREATED)),
        (
            "body",
            with(&|it| it.body = SavedBody::Whole("succeeded".into())),
        ),
        (
            "summary",
            with(&|it| {
                it.body = SavedBody::Summary {
                    length: 0,
                    sha256: [0; 32],
                };
            }),
        ),
        ("no header", with(&|it| it.headers.clear())),
        (
            "header",
            with(&|it| it.headers[0].1 = HeaderValue::from_static("/api/payments/pay_2")),
        ),
        ("no MAC", with(&|it| it.mac = None)),
        (
            "another MAC",
            with(&|it| it.mac = ResponseMac::from_hex(&"0".repeat(64))),
        ),
    ];
    for (what, response) in tampered {
        assert!(!is_accepted(&keys, &response).await, "{what}");
    }
    let moved = [
        (key("b", "k"), asking("1")),
        (key("a", "l"), asking("1")),
        (key("a", "k"), asking("2")),
    ];
    for (key, fingerprint) in moved {
        let is_valid = keys.verify(&key, &fingerprint, &signed, Deadline::UNKNOWN);
        assert!(!is_valid.await, "{}", key.as_str());
    }
    let staging = keys_in("staging", CURRENT);
    assert!(!is_accepted(&staging, &signed).await, "another environment");
}

#[tokio::test]
async fn a_list_of_two_keys_rotates_the_key() {
    let both = format!("{CURRENT},{PREVIOUS}");
    let cases = [
        (CURRENT, CURRENT, true),
        (PREVIOUS, both.as_str(), true),
        (both.as_str(), CURRENT, true),
        (both.as_str(), both.as_str(), true),
        // The first key signs.
        (both.as_str(), PREVIOUS, false),
        (PREVIOUS, CURRENT, false),
        // Without a list of keys, responses are not signed, and none is accepted.
        ("", CURRENT, false),
        (CURRENT, "", false),
        ("", "", false),
    ];
    for (signing, verifying, expected) in cases {
        let signed = signed(&keys(signing)).await;
        let found = is_accepted(&keys(verifying), &signed).await;
        assert_eq!(
            found, expected,
            "signed with {signing}, read with {verifying}"
        );
    }
}

/// The list in Secrets Manager is not validated when a function starts.
#[tokio::test]
async fn an_invalid_list_of_keys_signs_nothing() {
    for list in ["short", "0123456789abcdef,short", "0123456789abcdef,,"] {
        let keys = ResponseKeys {
            list: Some(SecretCell::Fixed(Secret::new(list))),
            ..keys("")
        };
        let signed = signed(&keys).await;
        assert_eq!(signed, declined(), "{list}");
        assert!(!is_accepted(&keys, &signed).await, "{list}");
    }
}

#[tokio::test]
async fn a_mac_is_stored_with_the_response() {
    let keys = keys(CURRENT);
    let signed = signed(&keys).await;

    let text = signed.to_bytes();
    let read = SavedResponse::from_bytes(&text).expect("readable");

    assert_eq!(read, signed);
    assert!(is_accepted(&keys, &read).await);
    let text = String::from_utf8(text.to_vec()).expect("text");
    let (_, mac) = text.split_once(r#","mac":""#).expect("in the first line");
    let truncated = text.replace(&mac[..64], &mac[..62]).into();
    assert_eq!(SavedResponse::from_bytes(&truncated), None);
}

/// During a deployment, two versions of a function share one store. So the MAC must never change. A Python program
/// computed the expected MAC.
#[tokio::test]
async fn the_mac_of_a_response_never_changes() {
    let signed = signed(&keys(CURRENT)).await;
    let text = String::from_utf8(signed.to_bytes().to_vec()).expect("text");
    insta::assert_snapshot!(text, @r#"
    {"status":402,"headers":[["location","/api/payments/pay_1"]],"mac":"d123f442d3b6a307b3b731d37a63c93eb1ac85059cc2f8c38760a2551f23eca1"}
    declined
    "#);
}
