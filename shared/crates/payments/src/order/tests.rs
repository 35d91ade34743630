use foundation::environment::Host;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn valid() -> Value {
    json!({
        "amount": 1999,
        "currency": "EUR",
        "payment_method": "pm_card_visa",
        "description": "Premium, one month",
        "metadata": {"order": "A-1"},
        "return_url": "https://app.example/done",
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut body = valid();
    body[member] = value;
    body
}

fn environment(name: &'static str) -> Environment {
    Environment::new(name, Host::Laptop)
}

fn read(body: impl AsRef<[u8]>) -> Result<Parsed, Vec<BodyError>> {
    Order::parse(body.as_ref(), &environment("production"))
}

/// Parses a body by the rules of this version.
fn parse(body: &Value) -> Result<Order, Vec<BodyError>> {
    let parsed = read(body.to_string())?;
    if parsed.newly_invalid.is_empty() {
        Ok(parsed.order)
    } else {
        Err(parsed.newly_invalid)
    }
}

fn errors(body: impl AsRef<[u8]>) -> Vec<(String, &'static str)> {
    let errors = match read(body) {
        Ok(parsed) => parsed.newly_invalid,
        Err(errors) => errors,
    };
    errors
        .into_iter()
        .map(|error| (error.pointer, error.detail))
        .collect()
}

fn pointers(body: &Value) -> Vec<String> {
    let errors = errors(body.to_string()).into_iter();
    errors.map(|(pointer, _)| pointer).collect()
}

#[test]
fn a_valid_body_is_parsed_into_its_order() {
    let order = parse(&valid()).expect("an order");
    assert_eq!((order.amount, order.currency.as_str()), (1999, "EUR"));
    assert_eq!(order.metadata["order"], "A-1");
    let least = json!({"amount": 1, "currency": "JPY", "payment_method": "pm_1", "metadata": null});
    assert!(parse(&least).is_ok());
}

#[test]
fn each_member_has_its_limits() {
    let metadata = |count: usize| -> Value {
        (0..count)
            .map(|number| (format!("k{number}"), json!("v")))
            .collect::<Map<_, _>>()
            .into()
    };
    let wrong = [
        ("amount", json!(0)),
        ("amount", json!(-1)),
        ("amount", json!(100_000_000)),
        ("amount", json!(19.99)),
        ("amount", json!(1999.0)),
        ("amount", json!("1999")),
        ("amount", json!(u64::MAX)),
        ("amount", json!(null)),
        ("currency", json!("eur")),
        ("currency", json!("EURO")),
        ("currency", json!("ZZZ")),
        ("currency", json!(978)),
        ("payment_method", json!("")),
        ("payment_method", json!("pm 1")),
        ("payment_method", json!("p".repeat(256))),
        ("description", json!("d".repeat(501))),
        ("description", json!("a\u{0}b")),
        ("description", json!(1)),
        ("metadata", metadata(21)),
        ("metadata", json!([])),
        ("return_url", json!("http://app.example/")),
        ("return_url", json!("javascript:alert(1)")),
        ("return_url", json!("https://user:pass@app.example/")),
    ];
    for (member, value) in wrong {
        let body = with(member, value);
        assert_eq!(pointers(&body), [format!("/{member}")], "{body}");
    }
    let right = [
        ("amount", json!(99_999_999)),
        ("description", json!("ä".repeat(500))),
        ("metadata", metadata(20)),
        ("return_url", json!("https://app.example/")),
    ];
    for (member, value) in right {
        assert_eq!(pointers(&with(member, value)), [""; 0]);
    }
}

#[test]
fn an_amount_that_stripe_cannot_represent_is_rejected() {
    let order = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency, "payment_method": "pm_1"});
    let newly_invalid = [
        (1_005, "KWD", "/amount", "a multiple of 10 in this currency"),
        (150, "MGA", "/amount", "a multiple of 100 in this currency"),
        (
            1_000_000,
            "ISK",
            "/amount",
            "at most 999999 in this currency",
        ),
        (1_000, "CLF", "/currency", "a currency that can be charged"),
        (1_000, "IQD", "/currency", "a currency that can be charged"),
        (1_000, "XAU", "/currency", "a currency that can be charged"),
    ];
    for (amount, currency, pointer, detail) in newly_invalid {
        let error = (pointer.to_owned(), detail);
        let body = order(amount, currency).to_string();
        assert_eq!(errors(body), [error], "{amount} {currency}");
    }
    for (amount, currency) in [(1_010, "KWD"), (10_000, "MGA"), (999_999, "UGX")] {
        let order = parse(&order(amount, currency)).expect(currency);
        assert_eq!(order.amount, amount);
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let body = json!({
        "amount": 1.5,
        "metadata": {"a[b]": "c", "d/e": 1},
        "price~": 1,
    });
    assert_eq!(
        pointers(&body),
        [
            "/amount",
            "/currency",
            "/payment_method",
            "/metadata/a[b]",
            "/metadata/d~1e",
            "/price~0",
        ]
    );
    for body in ["", "[]", "null", "{", "\u{feff}", "\u{feff}\u{feff}{}"] {
        let errors = read(body).expect_err(body);
        assert_eq!(errors, [BodyError::new("", "a JSON object")]);
    }
}

/// The provider must get exactly the text that the client sent. The text on screen must be exactly the text that is
/// stored.
#[test]
fn a_text_that_would_differ_at_the_provider_or_on_screen_is_rejected() {
    let metadata = |name: &str, value: &str| with("metadata", json!({ name: value }));
    let cases = [
        (metadata("payment_id", "x"), "/metadata/payment_id", OURS),
        (metadata("environment", "x"), "/metadata/environment", OURS),
        (metadata("description", "x"), "/metadata/description", OURS),
        (metadata("order", ""), "/metadata/order", EMPTY),
        (
            metadata("order", "a\u{202e}b"),
            "/metadata/order",
            UNWRITTEN,
        ),
        (metadata("a\u{200b}", "b"), "/metadata/a\u{200b}", UNWRITTEN),
        (
            with("description", json!("a\u{202e}b")),
            "/description",
            UNWRITTEN,
        ),
        (
            with("description", json!("\u{2066}a\u{2069}")),
            "/description",
            UNWRITTEN,
        ),
        (
            with("description", json!("a\u{200b}b")),
            "/description",
            UNWRITTEN,
        ),
        (
            with("description", json!("\u{feff}a")),
            "/description",
            UNWRITTEN,
        ),
        (
            with("description", json!("\u{e0041}")),
            "/description",
            UNWRITTEN,
        ),
        (
            with("return_url", json!("https://localhost/")),
            "/return_url",
            return_url::ACCEPTED,
        ),
        (
            with("return_url", json!(r"https://a.example\@b.example/")),
            "/return_url",
            return_url::ACCEPTED,
        ),
    ];
    for (body, pointer, detail) in cases {
        let parsed = read(body.to_string()).expect("older versions accepted it");
        assert_eq!(
            parsed.newly_invalid,
            [BodyError::new(pointer, detail)],
            "{body}"
        );
    }
    for (member, value) in [
        ("description", json!("👩‍👩‍👧 ❤\u{fe0f} שלום")),
        ("description", json!("")),
        ("metadata", json!({"Payment_ID": "x", "payment-id": " "})),
    ] {
        assert_eq!(pointers(&with(member, value)), [""; 0]);
    }
}

#[test]
fn the_parsed_form_of_a_return_url_is_stored() {
    let body = with("return_url", json!("HTTPS://App.Example/a/../b c"));
    let order = parse(&body).expect("an order");
    assert_eq!(
        order.return_url.as_deref(),
        Some("https://app.example/b%20c")
    );
    let laptop = with("return_url", json!("http://localhost:3000/")).to_string();
    let accepted = Order::parse(laptop.as_bytes(), &environment("development")).expect("an order");
    assert!(accepted.newly_invalid.is_empty());
}

/// Regression: the error for a lone surrogate, which JavaScript and Python can write, pointed to the whole body instead
/// of the member.
#[test]
fn a_lone_surrogate_is_reported_at_its_member() {
    let cases = [
        (
            r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "description": "a\ud83d"}"#,
            "/description",
        ),
        (
            r#"{"amount": 1, "currency": "EUR", "payment_method": "\uDE00"}"#,
            "/payment_method",
        ),
        (
            r#"{"amount": 1, "currency": "\ud83d", "payment_method": "pm"}"#,
            "/currency",
        ),
        (
            r#"{"amount": "\ud83d", "currency": "EUR", "payment_method": "pm"}"#,
            "/amount",
        ),
        (
            r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "return_url": "https://a.example/\ud83d"}"#,
            "/return_url",
        ),
        (
            r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "metadata": {"a": "b", "c": "\ud83d\ud83d"}}"#,
            "/metadata/c",
        ),
        (
            r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "metadata": {"a\ud83d": "b"}}"#,
            "/metadata/a\u{fffd}\u{fffd}\u{fffd}",
        ),
    ];
    for (body, pointer) in cases {
        assert_eq!(
            errors(body),
            [(pointer.to_owned(), LONE_SURROGATE)],
            "{body}"
        );
    }
    let elsewhere = r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "a\ud83d": 1, "metadata": "\ud83d"}"#;
    let pointers = errors(elsewhere).into_iter().map(|(pointer, _)| pointer);
    assert_eq!(
        pointers.collect::<Vec<_>>(),
        ["/metadata", "/a\u{fffd}\u{fffd}\u{fffd}"]
    );
    let whole = r#"{"amount": 1, "currency": "EUR", "payment_method": "pm", "description": "\ud83d\ude00"}"#;
    let order = read(whole).expect("an order").order;
    assert_eq!(order.description.as_deref(), Some("😀"));
}

/// RFC 8259 lets a parser ignore a byte order mark; .NET and PowerShell write one.
#[test]
fn a_byte_order_mark_before_a_body_is_ignored() {
    let body = format!("\u{feff}{}", valid());
    let order = read(body).expect("an order").order;
    assert_eq!(Ok(order), parse(&valid()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// The accepted amount is the number in the text, digit by digit.
    #[test]
    fn an_amount_is_never_rounded(digits in "-?[0-9]{1,25}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?") {
        let body = format!(r#"{{"amount": {digits}, "currency": "EUR", "payment_method": "pm"}}"#);
        if let Ok(parsed) = read(body) {
            prop_assert_eq!(parsed.order.amount.to_string(), digits);
        }
    }

    #[test]
    fn every_amount_within_the_limits_is_taken_as_it_is(amount in 1..=LARGEST_AMOUNT) {
        let order = parse(&with("amount", json!(amount))).expect("an order");
        prop_assert_eq!(order.amount, amount);
        let kept: Order = serde_json::from_value(serde_json::to_value(&order).expect("JSON")).expect("an order");
        prop_assert_eq!(kept.amount, amount);
    }
}
