//! The order in the body of a request for a payment.
//!
//! Amounts are integers in minor units of ISO 4217 (cents, yen) from the body to the ledger. A number with a fraction or an exponent is
//! rejected, so no amount is ever a float. An amount that Stripe cannot represent exactly is rejected too. This rule applies to every
//! provider, so that the sandbox accepts the same amounts as production.
//!
//! Older versions accepted, and charged, some orders that this version rejects. If the ledger has a payment for the key of such an
//! order, the request gets the response of that payment. Otherwise the order is rejected.

mod body;
mod return_url;

use std::collections::BTreeMap;

use foundation::Environment;
use foundation::json::{LONE_SURROGATE, Text};
use foundation::text::{has_invisible, has_unwritten};
use iso_currency::Currency;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use self::body::Body;
use super::body_error::BodyError;
use super::stripe_unit::StripeUnit;

/// A valid order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The amount, in minor units of the currency (ISO 4217).
    pub amount: i64,
    /// The ISO 4217 code in upper case.
    pub currency: String,
    /// The provider's id of a card or an account.
    pub payment_method: String,
    /// The purpose of the payment, as text for people.
    pub description: Option<String>,
    /// Data of the client, by name. It is stored as a list of names and values, because MongoDB does not accept every string as a member
    /// name.
    #[serde(with = "pairs")]
    pub metadata: BTreeMap<String, String>,
    /// The URL to which the customer's browser returns after an action on another site. This is the parsed form of the client's URL.
    pub return_url: Option<String>,
}

/// An order from a body, and the errors that only this version finds in it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) order: Order,
    /// Errors by rules that older versions did not have.
    pub(super) newly_invalid: Vec<BodyError>,
}

/// The metadata members that we set at the provider. An order with one of these members is rejected, because the provider would get
/// our value instead of the client's value.
pub(super) const OUR_METADATA: [&str; 3] = ["payment_id", "environment", "description"];
const LARGEST_AMOUNT: i64 = 99_999_999;
const LONGEST_METHOD: usize = 255;
const LONGEST_DESCRIPTION: usize = 500;
const MOST_METADATA: usize = 20;
const LONGEST_METADATA_KEY: usize = 40;
const LONGEST_METADATA_VALUE: usize = 500;
const UNWRITTEN: &str =
    "a string without invisible characters and without characters that reverse the text direction";
const OURS: &str = "another name: `payment_id`, `environment` and `description` are reserved";
const EMPTY: &str = "a string that is not empty, because the provider drops empty members";
const MEMBERS: [&str; 6] = [
    "amount",
    "currency",
    "payment_method",
    "description",
    "metadata",
    "return_url",
];

impl Order {
    /// The number of decimal digits of the currency.
    pub fn minor_digits(&self) -> u32 {
        let exponent = Currency::from_code(&self.currency).and_then(|known| known.exponent());
        exponent.unwrap_or_default().into()
    }

    /// Parses a body.
    ///
    /// # Errors
    ///
    /// All errors in the body. The errors that every version reports come first. The errors that only this version reports follow.
    pub(super) fn parse(body: &[u8], environment: &Environment) -> Result<Parsed, Vec<BodyError>> {
        let Some(mut body) = Body::read(body) else {
            return Err(vec![BodyError::new("", "a JSON object")]);
        };
        let order = Self {
            amount: body
                .required("amount", "a whole number from 1 to 99999999", amount)
                .unwrap_or_default(),
            currency: body
                .required("currency", "an ISO 4217 code in upper case", currency)
                .unwrap_or_default(),
            payment_method: body
                .required(
                    "payment_method",
                    "1 to 255 letters, digits, `_` or `-`",
                    payment_method,
                )
                .unwrap_or_default(),
            description: description(&mut body),
            metadata: metadata(&mut body),
            return_url: return_url(&mut body, environment),
        };
        body.reject_unknown(&MEMBERS);
        if body.errors.is_empty() {
            body.newly_invalid.extend(order.amount_error());
            let newly_invalid = body.newly_invalid;
            Ok(Parsed {
                order,
                newly_invalid,
            })
        } else {
            body.errors.extend(body.newly_invalid);
            Err(body.errors)
        }
    }

    /// Why Stripe cannot charge exactly this amount; `None` if Stripe can charge it.
    fn amount_error(&self) -> Option<BodyError> {
        match StripeUnit::of(&self.currency) {
            None => Some(BodyError::new(
                "/currency",
                "a currency that can be charged",
            )),
            Some(unit) => {
                let rejected = unit.to_stripe(self.amount).err();
                rejected.map(|accepted| BodyError::new("/amount", accepted))
            }
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

fn description(body: &mut Body<'_>) -> Option<String> {
    let description = body.optional(
        "description",
        "a string of at most 500 characters without control characters",
        |value| text(value, LONGEST_DESCRIPTION),
    );
    if description.as_deref().is_some_and(has_unwritten) {
        body.reject_newly(&["description"], UNWRITTEN);
    }
    description
}

fn metadata(body: &mut Body<'_>) -> BTreeMap<String, String> {
    let entries = body.object(
        "metadata",
        MOST_METADATA,
        "an object with at most 20 members, each a string",
    );
    let entries = entries.into_iter();
    entries
        .filter_map(|(name, value)| metadata_entry(body, &name, value))
        .collect()
}

fn metadata_entry(
    body: &mut Body<'_>,
    name: &Text<'_>,
    value: &RawValue,
) -> Option<(String, String)> {
    let shown = name.to_string_lossy();
    let path = ["metadata", &*shown];
    let error = |accepted| BodyError::new(&body::pointer(&path), accepted);
    let Some(name) = name.as_str() else {
        body.errors.push(error(LONE_SURROGATE));
        return None;
    };
    if !is_metadata_key(name) {
        let accepted = "a name of 1 to 40 characters without brackets and control characters";
        body.errors.push(error(accepted));
        return None;
    }
    let accepted = "a string of 1 to 500 characters without control characters";
    let value = body.parsed(&path, value, accepted, |value| {
        text(value, LONGEST_METADATA_VALUE)
    })?;
    // Older versions accepted these names. The provider then stored our value or no value, but the response contained the client's value.
    if OUR_METADATA.contains(&name) {
        body.reject_newly(&path, OURS);
    } else if has_invisible(name) || has_unwritten(&value) {
        body.reject_newly(&path, UNWRITTEN);
    } else if value.is_empty() {
        body.reject_newly(&path, EMPTY);
    }
    Some((name.to_owned(), value))
}

fn return_url(body: &mut Body<'_>, environment: &Environment) -> Option<String> {
    let url = body.optional("return_url", return_url::ACCEPTED, |value| {
        return_url::read(value.as_str()?, environment)
    })?;
    if !url.is_allowed {
        body.reject_newly(&["return_url"], return_url::ACCEPTED);
    }
    Some(url.parsed)
}

/// Whether Stripe accepts the name of a metadata member. A name with brackets is not accepted, because Stripe reads brackets as nested
/// members.
fn is_metadata_key(key: &str) -> bool {
    let bracketed = key.contains(['[', ']']);
    !key.is_empty()
        && key.chars().nth(LONGEST_METADATA_KEY).is_none()
        && !bracketed
        && !key.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
