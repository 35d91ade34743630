//! Parses JSON strings that a Rust string cannot contain.
//!
//! A string of JavaScript, Python or Java can contain half of a surrogate pair, which is no character. These languages
//! write it as an escape, `"\ud83d"`, and JSON's grammar allows that ([RFC 8259, 8.2]). So strings are parsed as bytes
//! here: UTF-8, and [WTF-8] for a lone half. Two different strings never have the same bytes.
//!
//! Some programs write a byte order mark before the text. RFC 8259 allows a parser to ignore the mark (section 8.1),
//! and [`without_mark`] removes it.
//!
//! [RFC 8259, 8.2]: https://www.rfc-editor.org/rfc/rfc8259#section-8.2
//! [WTF-8]: https://wtf-8.codeberg.page/

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of the error for a string with half of a surrogate pair.
pub const LONE_SURROGATE: &str =
    r"it has half of a surrogate pair (`\ud83d` alone is no character)";
/// The text of the error for an object with half of a surrogate pair in a name.
pub const LONE_SURROGATE_IN_NAME: &str =
    r"the name of a member has half of a surrogate pair (`\ud83d` alone is no character)";

/// A string, borrowed if it has no escapes.
pub struct Text<'a>(pub Cow<'a, [u8]>);

/// The members of an object, in order and with duplicates.
pub struct Members<'a>(pub Vec<(Text<'a>, &'a RawValue)>);

/// Returns the text without its byte order mark, if it has one.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// Whether a value is a string with half of a surrogate pair.
pub fn is_lone_surrogate(value: &RawValue) -> bool {
    serde_json::from_str::<Text<'_>>(value.get()).is_ok_and(|text| text.as_str().is_none())
}

impl Text<'_> {
    /// Returns the text. `None` if it has half of a surrogate pair.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the text for display, with U+FFFD in place of bytes that are not a character.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, text: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_bytes<E>(self, text: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        // `deserialize_bytes` resolves the escapes of a string without creating a Rust string.
        deserializer.deserialize_bytes(Reader)
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
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<u8> {
        let text: Text<'_> = serde_json::from_str(json).expect(json);
        text.0.into_owned()
    }

    #[test]
    fn half_of_a_surrogate_pair_is_kept_and_a_whole_pair_is_a_character() {
        let cases: [(&str, &[u8]); 8] = [
            (r#""""#, b""),
            (r#""a\u00e9\n""#, "aé\n".as_bytes()),
            (r#""\ud83d\ude00""#, "😀".as_bytes()),
            (r#""\ud83d""#, b"\xed\xa0\xbd"),
            (r#""\uD83Dx""#, b"\xed\xa0\xbdx"),
            (r#""\ude00\ud83d""#, b"\xed\xb8\x80\xed\xa0\xbd"),
            (r#""\ud83d\ud83d\ude00""#, b"\xed\xa0\xbd\xf0\x9f\x98\x80"),
            (r#""\ud83d\u0041""#, b"\xed\xa0\xbdA"),
        ];
        for (json, bytes) in cases {
            assert_eq!(read(json), bytes, "{json}");
        }
        for (json, is_lone) in [(r#""\ud83d""#, true), (r#""a""#, false), ("{}", false)] {
            let value: &RawValue = serde_json::from_str(json).expect(json);
            assert_eq!(is_lone_surrogate(value), is_lone, "{json}");
        }
    }

    #[test]
    fn members_keep_their_order_duplicates_and_text() {
        let json = r#"{"b": 1, "\ud800": [2 ], "b": "\ud801"}"#;
        let members: Members<'_> = serde_json::from_str(json).expect("an object");
        let members = members.0.iter();
        let read: Vec<_> = members
            .map(|(name, value)| (&*name.0, value.get()))
            .collect();
        let expected: [(&[u8], &str); 3] = [
            (b"b", "1"),
            (b"\xed\xa0\x80", "[2 ]"),
            (b"b", r#""\ud801""#),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn one_byte_order_mark_is_ignored() {
        let cases = [
            ("\u{feff}{}", "{}"),
            ("{}", "{}"),
            ("\u{feff}\u{feff}{}", "\u{feff}{}"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(without_mark(text.as_bytes()), expected.as_bytes());
        }
    }
}
