//! One text for all the ways to write a JSON value.
//!
//! | value | form |
//! |---|---|
//! | `null`, `true`, `false` | `z`, `t`, `f` |
//! | number | `n`, the exact decimal value as digits `e` exponent without leading or trailing zeros, `;` |
//! | string | `s`, its length in bytes, `:`, its text |
//! | array | `[`, its values, `]` |
//! | object | `{`, name and value of each member, sorted by the bytes of the names, `}` |
//!
//! Numbers are compared as they are written and not as any program would hold them: 2^53 and 2^53 + 1 differ, 1 and 1.0 do
//! not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::AmbiguousPayload;

/// How a payload is compared.
pub(super) enum Canonical {
    /// By this form.
    Json(Vec<u8>),
    /// By its bytes.
    NotJson,
}

const DEEPEST: usize = 64;
const DUPLICATE: &str = "duplicate member";

/// The canonical form of a payload, if it is JSON.
pub(super) fn form(payload: &[u8]) -> Result<Canonical, AmbiguousPayload> {
    // Raw values are skipped without recursion, and each level is read once per level above it, of which there are few.
    let Ok(value) = serde_json::from_slice::<&RawValue>(payload) else {
        return Ok(Canonical::NotJson);
    };
    let mut form = Vec::with_capacity(payload.len());
    match write(value, DEEPEST, &mut form) {
        Ok(()) => Ok(Canonical::Json(form)),
        Err(Problem::NotJson) => Ok(Canonical::NotJson),
        Err(Problem::Ambiguous(payload)) => Err(payload),
    }
}

enum Problem {
    /// A string holds what no text can, a lone surrogate.
    NotJson,
    Ambiguous(AmbiguousPayload),
}

fn write(value: &RawValue, depth_left: usize, form: &mut Vec<u8>) -> Result<(), Problem> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => form.push(b'z'),
        Some(b't') => form.push(b't'),
        Some(b'f') => form.push(b'f'),
        Some(b'"') => write_string(&read::<Text<'_>>(text)?.0, form),
        Some(b'[') => {
            let depth_left = deeper(depth_left)?;
            form.push(b'[');
            for value in read::<Vec<&RawValue>>(text)? {
                write(value, depth_left, form)?;
            }
            form.push(b']');
        }
        Some(b'{') => {
            let depth_left = deeper(depth_left)?;
            form.push(b'{');
            for (name, value) in read::<Members<'_>>(text)?.0 {
                write_string(&name, form);
                write(value, depth_left, form)?;
            }
            form.push(b'}');
        }
        _ => write_number(text, form),
    }
    Ok(())
}

fn deeper(depth_left: usize) -> Result<usize, Problem> {
    depth_left
        .checked_sub(1)
        .ok_or(Problem::Ambiguous(AmbiguousPayload::TooDeep))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        if error.to_string().starts_with(DUPLICATE) {
            Problem::Ambiguous(AmbiguousPayload::DuplicateMember)
        } else {
            Problem::NotJson
        }
    })
}

fn write_string(text: &str, form: &mut Vec<u8>) {
    form.extend_from_slice(format!("s{}:", text.len()).as_bytes());
    form.extend_from_slice(text.as_bytes());
}

/// Writes a number's exact value: its sign, its digits without leading and trailing zeros, and the power of ten that the
/// last of them counts.
fn write_number(text: &str, form: &mut Vec<u8>) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    let shift = i128::try_from(dropped).unwrap_or(i128::MAX)
        - i128::try_from(fraction.len()).unwrap_or(i128::MAX);
    let number = match power
        .parse::<i128>()
        .ok()
        .and_then(|power| power.checked_add(shift))
    {
        _ if significant.is_empty() => "n0e0;".to_owned(),
        Some(power) => format!("n{sign}{significant}e{power};"),
        // A power beyond any meaning is compared as it is written.
        None => format!("n{sign}{significant}e{shift}+{power};"),
    };
    form.extend_from_slice(number.as_bytes());
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

/// The members of an object, by name.
struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.insert(name.0, value).is_some() {
                        return Err(A::Error::custom(DUPLICATE));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
