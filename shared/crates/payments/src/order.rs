//! What is to be paid, by what, and what for.
//!
//! Amounts are whole minor units of ISO 4217 (cents, yen) from the body to the ledger: a number with a fraction or an exponent is
//! refused, so no float is ever made of one. So is what Stripe cannot be told of exactly, whoever the provider is: what a laptop's
//! sandbox takes, production takes too.
//!
//! Older versions took, and charged, some orders that are refused now. Such an order is refused only where there is no payment under its
//! key; otherwise that payment answers it.

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
    /// Where a customer's browser comes back to, if the payment sends it elsewhere: the parsed form.
    pub return_url: Option<String>,
}

/// An order that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) order: Order,
    /// Why it is refused, unless an older version took it under the same key.
    pub(super) refused: Vec<BodyError>,
}

/// The names of metadata that an intent has from us. No order has them: the provider would have another value than the client sent.
pub(super) const OUR_METADATA: [&str; 3] = ["payment_id", "environment", "description"];
const LARGEST_AMOUNT: i64 = 99_999_999;
const LONGEST_METHOD: usize = 255;
const LONGEST_DESCRIPTION: usize = 500;
const MOST_METADATA: usize = 20;
const LONGEST_METADATA_KEY: usize = 40;
const LONGEST_METADATA_VALUE: usize = 500;
const UNWRITTEN: &str = "a text without characters that cannot be seen or that turn others around";
const OURS: &str =
    "another name: `payment_id`, `environment` and `description` are ours at the provider";
const EMPTY: &str = "a text that is not empty: the provider drops a member without one";
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

    /// The order that a body is.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it: what no version takes, then what this one refuses.
    pub(super) fn parse(body: &[u8], environment: &Environment) -> Result<Parsed, Vec<BodyError>> {
        let Some(mut body) = Body::read(body) else {
            return Err(vec![BodyError::of("", "a JSON object")]);
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
        body.refuse_others(&MEMBERS);
        if body.faults.is_empty() {
            body.refused.extend(order.unpayable());
            let refused = body.refused;
            Ok(Parsed { order, refused })
        } else {
            body.faults.extend(body.refused);
            Err(body.faults)
        }
    }

    /// Why this amount cannot be charged; `None` where it can. Stripe has another amount for it, or none.
    fn unpayable(&self) -> Option<BodyError> {
        match StripeUnit::of(&self.currency) {
            None => Some(BodyError::of("/currency", "a currency that can be charged")),
            Some(unit) => {
                let refused = unit.to_stripe(self.amount).err();
                refused.map(|accepted| BodyError::of("/amount", accepted))
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
        "at most 500 characters, none of them a control character",
        |value| text(value, LONGEST_DESCRIPTION),
    );
    if description.as_deref().is_some_and(has_unwritten) {
        body.refuse(&["description"], UNWRITTEN);
    }
    description
}

fn metadata(body: &mut Body<'_>) -> BTreeMap<String, String> {
    let entries = body.object(
        "metadata",
        MOST_METADATA,
        "an object with at most 20 members, each a text",
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
    let fault = |accepted| BodyError::of(&body::pointer(&path), accepted);
    let Some(name) = name.as_str() else {
        body.faults.push(fault(LONE_SURROGATE));
        return None;
    };
    if !is_metadata_key(name) {
        let accepted =
            "a name of 1 to 40 characters, none of them a bracket or a control character";
        body.faults.push(fault(accepted));
        return None;
    }
    let accepted = "a text of 1 to 500 characters, none of them a control character";
    let value = body.parsed(&path, value, accepted, |value| {
        text(value, LONGEST_METADATA_VALUE)
    })?;
    // Each of these was taken by an older version; the provider then had another value than the client was answered, or none.
    if OUR_METADATA.contains(&name) {
        body.refuse(&path, OURS);
    } else if has_invisible(name) || has_unwritten(&value) {
        body.refuse(&path, UNWRITTEN);
    } else if value.is_empty() {
        body.refuse(&path, EMPTY);
    }
    Some((name.to_owned(), value))
}

fn return_url(body: &mut Body<'_>, environment: &Environment) -> Option<String> {
    let url = body.optional("return_url", return_url::ACCEPTED, |value| {
        return_url::read(value.as_str()?, environment)
    })?;
    if !url.is_allowed {
        body.refuse(&["return_url"], return_url::ACCEPTED);
    }
    Some(url.parsed)
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
mod tests;
