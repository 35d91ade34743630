//! The canonical form of a JSON value: all ways to write one value have the same form.
//!
//! | value | form |
//! |---|---|
//! | `null`, `true`, `false` | `z`, `t`, `f` |
//! | number | `n`, sign and digits without leading or trailing zeros, `e`, exponent, `;` |
//! | string | `s`, length in bytes, `:`, text in UTF-8; in WTF-8 if the text contains half of a surrogate pair |
//! | array | `[`, values, `]` |
//! | object | `{`, name and value of each member, sorted by the bytes of the names, `}` |
//!
//! Numbers are compared by their exact decimal value, not as floating point. For example, 2^53 and 2^53 + 1 are
//! different numbers, and 1 and 1.0 are the same number.

mod outline;

use std::borrow::Cow;
use std::collections::BTreeMap;

use foundation::json::{Text, without_mark};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::outline::{Outline, Place, Token};

/// A payload from which different JSON parsers may read different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousPayload {
    /// An object has two members with the same name. Some parsers use the first of them, others use the last.
    #[error("ambiguous payload: an object has a duplicate member")]
    DuplicateMember,
    /// The payload is nested more than 64 levels deep.
    #[error("ambiguous payload: it is nested too deeply")]
    TooDeep,
}

/// The form in which payloads are compared.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Canonical {
    /// The payload is JSON, and is compared by this form.
    Json(Vec<u8>),
    /// The payload is not JSON, and is compared by its bytes.
    NotJson,
}

const DEEPEST: usize = 64;

/// Returns the canonical form of a payload, if the payload is JSON.
pub(super) fn form(payload: &[u8]) -> Result<Canonical, AmbiguousPayload> {
    // This validation does not recurse, so a deeply nested payload cannot overflow the stack.
    let Ok(value) = serde_json::from_slice::<&RawValue>(without_mark(payload)) else {
        return Ok(Canonical::NotJson);
    };
    let mut form = Vec::with_capacity(payload.len());
    match write(&mut Outline::of(value), DEEPEST, &mut form) {
        Ok(()) => Ok(Canonical::Json(form)),
        Err(Problem::NotJson) => Ok(Canonical::NotJson),
        Err(Problem::Ambiguous(payload)) => Err(payload),
    }
}

enum Problem {
    NotJson,
    Ambiguous(AmbiguousPayload),
}

/// Appends the canonical form of the next value to `form`.
fn write(json: &mut Outline<'_>, depth_left: usize, form: &mut Vec<u8>) -> Result<(), Problem> {
    match json.token() {
        Token::Literal("null") => form.push(b'z'),
        Token::Literal("true") => form.push(b't'),
        Token::Literal("false") => form.push(b'f'),
        Token::Literal(number) => write_number(number, form),
        Token::String(text) => write_string(&read::<Text<'_>>(text)?.0, form),
        Token::Array => {
            let depth_left = deeper(depth_left)?;
            form.push(b'[');
            while json.has_element() {
                write(json, depth_left, form)?;
            }
            form.push(b']');
        }
        Token::Object => {
            let depth_left = deeper(depth_left)?;
            form.push(b'{');
            let members = sorted(json.members())?;
            let behind = json.here();
            for (name, value) in members {
                write_string(&name, form);
                json.go_to(value);
                write(json, depth_left, form)?;
            }
            json.go_to(behind);
            form.push(b'}');
        }
    }
    Ok(())
}

fn deeper(depth_left: usize) -> Result<usize, Problem> {
    depth_left
        .checked_sub(1)
        .ok_or(Problem::Ambiguous(AmbiguousPayload::TooDeep))
}

/// Returns the members, sorted by the bytes of their names.
fn sorted(members: Vec<(&str, Place)>) -> Result<BTreeMap<Vec<u8>, Place>, Problem> {
    let mut sorted = BTreeMap::new();
    for (name, value) in members {
        let name = read::<Text<'_>>(name)?.0.into_owned();
        if sorted.insert(name, value).is_some() {
            return Err(Problem::Ambiguous(AmbiguousPayload::DuplicateMember));
        }
    }
    Ok(sorted)
}

/// Parses a part of the text. The whole text is valid, so this succeeds.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|_| Problem::NotJson)
}

fn write_string(text: &[u8], form: &mut Vec<u8>) {
    form.push(b's');
    form.extend_from_slice(itoa::Buffer::new().format(text.len()).as_bytes());
    form.push(b':');
    form.extend_from_slice(text);
}

/// Writes the exact value of a number: its sign, its digits without leading and trailing zeros, and the exponent of the
/// last of these digits.
fn write_number(text: &str, form: &mut Vec<u8>) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = match fraction {
        "" => Cow::Borrowed(whole),
        fraction => Cow::Owned([whole, fraction].concat()),
    };
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    let shift = i128::try_from(dropped).unwrap_or(i128::MAX)
        - i128::try_from(fraction.len()).unwrap_or(i128::MAX);
    if significant.is_empty() {
        form.extend_from_slice(b"n0e0;");
        return;
    }
    let mut write = |text: &str| form.extend_from_slice(text.as_bytes());
    write("n");
    write(sign);
    write(significant);
    write("e");
    let sum = power.parse::<i128>().ok();
    match sum.and_then(|power| power.checked_add(shift)) {
        Some(power) => write(itoa::Buffer::new().format(power)),
        // An exponent beyond 128 bits is compared by its digits.
        None => write(&format!("{shift}+{power}")),
    }
    write(";");
}

#[cfg(test)]
mod tests;
