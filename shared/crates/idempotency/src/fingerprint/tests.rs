use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn of(payload: impl AsRef<[u8]>) -> Result<Fingerprint, AmbiguousPayload> {
    Fingerprint::of(&Request {
        payload: payload.as_ref(),
        ..Request::default()
    })
}

/// During a deployment, two versions of a function share one keyspace. So these fingerprints must never change. Another
/// program computed them from the layout in the module's documentation.
#[test]
fn a_fingerprint_never_changes() {
    let request = |payload| Request {
        method: "POST",
        route: "/api/payments",
        tenant: "jwt:alice",
        payload,
    };
    let cases: [(&[u8], &str); 4] = [
        (
            br#"{"currency": "EUR", "amount": 1999, "meta": [1.50, null, true, "\u00e9"]}"#,
            "d1d73df29a7b1c1c926939762498e5814f831d37d7d6f305362f4c1ca75c2a4d",
        ),
        (
            b"\xff\x00 not json",
            "3407bca8191c398395d7c620b3cdfab052fcc57f7c4f20ac098f84da54f068b5",
        ),
        (
            b"",
            "7af2ac7b990210d039694a8605fa8142660b00d9402212fcada8345e198baec5",
        ),
        (
            b"9007199254740993",
            "f101720a8dc9ee4b59008e5ebcb1170a20c37b37f83fe0eba504ff9f1e03a53e",
        ),
    ];
    for (payload, golden) in cases {
        let fingerprint = Fingerprint::of(&request(payload)).expect("unambiguous");
        assert_eq!(fingerprint.to_string(), golden);
    }
}

#[test]
fn formatting_of_json_makes_no_difference() {
    let same = [
        (
            r#"{"a":1,"b":[true,null]}"#,
            "{ \"b\" : [ true , null ],\n\t\"a\": 1 }",
        ),
        (r#"{"é":"\/"}"#, r#"{"\u00e9":"/"}"#),
        ("100", "1e2"),
        ("1", "1.0"),
        ("0", "-0.000"),
        ("12.50", "1250e-2"),
        ("1e400", "10e399"),
        // Half of a surrogate pair, as Python and JavaScript write it.
        (
            r#"{"text": "\ud83d", "amount": 1}"#,
            r#"{"amount":1,"text":"\uD83D"}"#,
        ),
        (r#"{"\udc00":1,"a":2}"#, r#"{"a":2,"\uDC00":1}"#),
        (r#""\ud83d\ud83d\ude00""#, r#""\uD83D😀""#),
        ("\u{feff}{\"a\":1}", "{\"a\": 1}"),
    ];
    for (a, b) in same {
        assert_eq!(of(a), of(b), "{a} {b}");
    }
}

#[test]
fn another_json_value_has_another_fingerprint() {
    let different = [
        ("9007199254740992", "9007199254740993"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567891",
        ),
        ("1", "10"),
        ("1", "-1"),
        ("1", "\"1\""),
        ("[[1],2]", "[1,[2]]"),
        (r#"{"a":{}}"#, r#"{"a":[]}"#),
        (r#"["ab","c"]"#, r#"["a","bc"]"#),
        ("null", "false"),
        (r#""a""#, "a"),
        (r#""\ud83d""#, r#""\ud83e""#),
        (r#""\ud83d""#, r#""\udc00""#),
        (r#""\ud83d""#, r#""\ufffd""#),
        (r#""\ud83d""#, r#""""#),
        (r#""\ud83d""#, r#""\\ud83d""#),
        (r#""\ud83d\ude00""#, r#""\ude00\ud83d""#),
        (r#"["\ud83d","\ude00"]"#, r#"["\ud83d\ude00"]"#),
        ("\u{feff}1", "\"\u{feff}1\""),
        (
            "1e99999999999999999999999999999999999999999",
            "2e99999999999999999999999999999999999999999",
        ),
    ];
    for (a, b) in different {
        assert_ne!(of(a), of(b), "{a} {b}");
    }
}

#[test]
fn parts_of_a_request_are_not_interchangeable() {
    let of = |method, route, tenant| {
        Fingerprint::of(&Request {
            method,
            route,
            tenant,
            payload: b"{}",
        })
    };
    let all = [
        of("POST", "/a", "b"),
        of("POST", "/ab", ""),
        of("PUT", "/a", "b"),
        of("POST", "/a", "B"),
    ];
    for (at, fingerprint) in all.iter().enumerate() {
        assert!(!all[..at].contains(fingerprint), "{at}");
    }
}

#[test]
fn ambiguous_json_is_rejected() {
    assert_eq!(
        of(r#"{"a":1,"a":2}"#),
        Err(AmbiguousPayload::DuplicateMember)
    );
    assert_eq!(
        of(r#"[{"x":{"a":1,"\u0061":1}}]"#),
        Err(AmbiguousPayload::DuplicateMember)
    );
    assert_eq!(
        of(r#"{"\ud83d":1,"\uD83D":1}"#),
        Err(AmbiguousPayload::DuplicateMember)
    );
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(of(nested(64)).is_ok());
    assert_eq!(of(nested(65)), Err(AmbiguousPayload::TooDeep));
}

#[test]
fn hostile_payloads_need_little_stack_and_time() {
    let deep = "[".repeat(1 << 20);
    assert!(
        of(&deep).is_ok(),
        "compared by its bytes, because it is not JSON"
    );
    let closed = format!("{deep}{}", "]".repeat(1 << 20));
    assert_eq!(of(closed), Err(AmbiguousPayload::TooDeep));
    assert!(of(format!("1e{}", "9".repeat(100_000))).is_ok());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"é]{0,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Returns the same value with the members of every object in reverse order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(reversed).collect(),
        Value::Object(members) => {
            let reversed: Map<_, _> = members
                .iter()
                .rev()
                .map(|(name, value)| (name.clone(), reversed(value)))
                .collect();
            Value::Object(reversed)
        }
        leaf => leaf.clone(),
    }
}

fn units() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(
        prop::sample::select(vec![0x61, 0xd83d, 0xd83e, 0xde00, 0xfffd]),
        0..4,
    )
}

/// A JSON string in which every UTF-16 unit is escaped.
fn escaped(units: &[u16], is_upper: bool) -> String {
    let escape = |unit: &u16| match is_upper {
        true => format!("\\u{unit:04X}"),
        false => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", units.iter().map(escape).collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_formatting_of_a_json_value_has_one_fingerprint(value in json()) {
        let pretty = serde_json::to_string_pretty(&reversed(&value)).expect("JSON");
        prop_assert_eq!(of(value.to_string()), of(pretty));
    }

    #[test]
    fn different_values_have_different_fingerprints(a in json(), b in json()) {
        prop_assert_eq!(of(a.to_string()) == of(b.to_string()), a == b);
    }

    /// A string is a sequence of UTF-16 units, as in JavaScript. Unpaired surrogates are included.
    #[test]
    fn different_strings_have_different_fingerprints(a in units(), b in units()) {
        prop_assert_eq!(of(escaped(&a, false)) == of(escaped(&b, true)), a == b);
    }

    #[test]
    fn any_payload_has_a_fingerprint_or_is_rejected(bytes: Vec<u8>) {
        let _ = of(bytes);
    }

    #[test]
    fn almost_json_never_panics(text in "[\\[\\]{}\",:0-9a-eE.\\\\u-]{0,40}") {
        let _ = of(text);
    }
}
