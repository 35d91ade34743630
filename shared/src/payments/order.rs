//! What is to be paid, by what, and what for.
//!
//! Amounts are whole minor units of ISO 4217 (cents, yen) from the body to the ledger: a number with a fraction or an exponent is
//! refused, so no float is ever made of one. So is what Stripe cannot be told of exactly, whoever the provider is: what a laptop's
//! sandbox takes, production takes too.

use std::collections::BTreeMap;

use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::provider::StripeUnit;

/// An order that can be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// In minor units of the currency, as ISO 4217 has them.
    pub amount: i64,
    /// ISO 4217, upper case.
    pub currency: String,
    /// The provider's name for a card or an account.
    pub payment_method: String,
    /// What for, for people.
    pub description: Option<String>,
    /// What for, for machines. Kept as pairs: a document of MongoDB takes not every text for a member's name.
    #[serde(with = "pairs")]
    pub metadata: BTreeMap<String, String>,
    /// Where a customer's browser comes back to, if the payment sends it elsewhere.
    pub return_url: Option<String>,
}

/// What is wrong with one member of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The member, as a JSON Pointer.
    pub pointer: String,
    /// What is accepted.
    pub detail: &'static str,
}

const LARGEST_AMOUNT: i64 = 99_999_999;
const LONGEST_METHOD: usize = 255;
const LONGEST_DESCRIPTION: usize = 500;
const MOST_METADATA: usize = 20;
const LONGEST_METADATA_KEY: usize = 40;
const LONGEST_METADATA_VALUE: usize = 500;
const LONGEST_RETURN_URL: usize = 2_048;
const MEMBERS: [&str; 6] = [
    "amount",
    "currency",
    "payment_method",
    "description",
    "metadata",
    "return_url",
];

impl Order {
    /// How many digits of the amount stand behind the point.
    pub fn minor_digits(&self) -> u32 {
        let exponent = Currency::from_code(&self.currency).and_then(|known| known.exponent());
        exponent.unwrap_or_default().into()
    }

    /// Why nobody could be charged so much, if that is so: the provider could only be told of another amount, or of none.
    pub fn unpayable(&self) -> Option<Fault> {
        match StripeUnit::of(&self.currency) {
            None => Some(Fault::of("/currency", "a currency that can be charged")),
            Some(unit) => {
                let refused = unit.to_stripe(self.amount).err();
                refused.map(|accepted| Fault::of("/amount", accepted))
            }
        }
    }

    /// The order that a body is, whether it can be paid or not.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of its members.
    pub fn parse(body: &[u8]) -> Result<Self, Vec<Fault>> {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Err(vec![Fault::of("", "a JSON object")]);
        };
        let mut read = Reading {
            members: &members,
            faults: Vec::new(),
        };
        let order = Self {
            amount: read
                .required("amount", "a whole number from 1 to 99999999", amount)
                .unwrap_or_default(),
            currency: read
                .required("currency", "an ISO 4217 code in upper case", currency)
                .unwrap_or_default(),
            payment_method: read
                .required(
                    "payment_method",
                    "1 to 255 letters, digits, `_` or `-`",
                    payment_method,
                )
                .unwrap_or_default(),
            description: read.optional(
                "description",
                "at most 500 characters, none of them a control character",
                |value| text(value, LONGEST_DESCRIPTION),
            ),
            metadata: read.metadata(),
            return_url: read.optional(
                "return_url",
                "an `https://` URL of at most 2048 characters (`http://` for localhost)",
                return_url,
            ),
        };
        read.refuse_others();
        if read.faults.is_empty() {
            Ok(order)
        } else {
            Err(read.faults)
        }
    }
}

/// A body's members, and what was wrong with those that were read.
struct Reading<'a> {
    members: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn required<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let parsed = self.members.get(member).and_then(parse);
        if parsed.is_none() {
            self.faults.push(Fault::of(&pointer(&[member]), accepted));
        }
        parsed
    }

    /// A member that may be missing, or null, which says the same.
    fn optional<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        match self.members.get(member) {
            None | Some(Value::Null) => None,
            Some(_) => self.required(member, accepted, parse),
        }
    }

    fn metadata(&mut self) -> BTreeMap<String, String> {
        let of_object = |value: &Value| {
            let entries = value.as_object()?;
            (entries.len() <= MOST_METADATA).then(|| entries.clone())
        };
        let entries = self
            .optional(
                "metadata",
                "an object with at most 20 members, each a text",
                of_object,
            )
            .unwrap_or_default();
        let mut metadata = BTreeMap::new();
        for (key, value) in entries {
            let at = pointer(&["metadata", &key]);
            if !is_metadata_key(&key) {
                let accepted =
                    "a name of 1 to 40 characters, none of them a bracket or a control character";
                self.faults.push(Fault::of(&at, accepted));
            } else if let Some(value) = text(&value, LONGEST_METADATA_VALUE) {
                metadata.insert(key, value);
            } else {
                let accepted = "a text of at most 500 characters, none of them a control character";
                self.faults.push(Fault::of(&at, accepted));
            }
        }
        metadata
    }

    fn refuse_others(&mut self) {
        let others = self
            .members
            .keys()
            .filter(|name| !MEMBERS.contains(&name.as_str()));
        let faults = others.map(|name| Fault::of(&pointer(&[name]), "no such member"));
        self.faults.extend(faults);
    }
}

impl Fault {
    pub(super) fn of(pointer: &str, detail: &'static str) -> Self {
        Self {
            pointer: pointer.to_owned(),
            detail,
        }
    }
}

mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<String, String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, String>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// A JSON Pointer (RFC 6901). Names are cut, for they come from the body.
fn pointer(path: &[&str]) -> String {
    const LONGEST_SHOWN: usize = 64;
    path.iter()
        .map(|name| {
            let shown: String = name.chars().take(LONGEST_SHOWN).collect();
            format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
        })
        .collect()
}

fn amount(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .filter(|amount| (1..=LARGEST_AMOUNT).contains(amount))
}

fn currency(value: &Value) -> Option<String> {
    let code = value.as_str()?;
    let upper = code.bytes().all(|byte| byte.is_ascii_uppercase());
    (upper && Currency::from_code(code).is_some()).then(|| code.to_owned())
}

fn payment_method(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    let fits = (1..=LONGEST_METHOD).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    fits.then(|| name.to_owned())
}

fn text(value: &Value, longest: usize) -> Option<String> {
    let text = value.as_str()?;
    let fits = text.chars().nth(longest).is_none() && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn return_url(value: &Value) -> Option<String> {
    let text = text(value, LONGEST_RETURN_URL)?;
    let url = Url::parse(&text).ok()?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let fits = url.scheme() == "https" || (url.scheme() == "http" && local);
    (fits && url.username().is_empty() && url.password().is_none()).then_some(text)
}

/// Stripe's rule: brackets would be read as structure.
fn is_metadata_key(key: &str) -> bool {
    let bracketed = key.contains(['[', ']']);
    !key.is_empty()
        && key.chars().nth(LONGEST_METADATA_KEY).is_none()
        && !bracketed
        && !key.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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

    fn parse(body: &Value) -> Result<Order, Vec<Fault>> {
        Order::parse(body.to_string().as_bytes())
    }

    fn pointers(body: &Value) -> Vec<String> {
        let faults = parse(body).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let order = parse(&valid()).expect("an order");
        assert_eq!((order.amount, order.currency.as_str()), (1999, "EUR"));
        assert_eq!(order.metadata["order"], "A-1");
        let least =
            json!({"amount": 1, "currency": "JPY", "payment_method": "pm_1", "metadata": null});
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
            ("return_url", json!("http://localhost:3000/done")),
        ];
        for (member, value) in right {
            assert_eq!(pointers(&with(member, value)), [""; 0]);
        }
    }

    #[test]
    fn what_stripe_cannot_be_told_of_is_refused() {
        let order = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency, "payment_method": "pm_1"});
        let refused = [
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
        for (amount, currency, pointer, detail) in refused {
            let order = parse(&order(amount, currency)).expect(currency);
            let fault = Some(Fault::of(pointer, detail));
            assert_eq!(order.unpayable(), fault, "{amount} {currency}");
        }
        for (amount, currency) in [(1_010, "KWD"), (10_000, "MGA"), (999_999, "UGX")] {
            let order = parse(&order(amount, currency)).expect(currency);
            assert_eq!((order.unpayable(), order.amount), (None, amount));
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
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
        for body in ["", "[]", "null", "{", "\u{feff}{}"] {
            let faults = Order::parse(body.as_bytes()).expect_err(body);
            assert_eq!(faults, [Fault::of("", "a JSON object")]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// What is accepted is the number that was written, digit by digit.
        #[test]
        fn an_amount_is_never_rounded(digits in "-?[0-9]{1,25}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?") {
            let body = format!(r#"{{"amount": {digits}, "currency": "EUR", "payment_method": "pm"}}"#);
            if let Ok(order) = Order::parse(body.as_bytes()) {
                prop_assert_eq!(order.amount.to_string(), digits);
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
}
