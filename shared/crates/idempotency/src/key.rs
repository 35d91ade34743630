//! The idempotency key that a client sends with a request and with each retry.
//!
//! The rules are from the IETF draft <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.

use std::fmt;
use std::str;

/// A client's idempotency key: 1 to 255 visible ASCII characters without a comma.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// A text that is not a valid key. The error does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key is empty.
    #[error("invalid idempotency key: it is empty")]
    Empty,
    /// The key is longer than 255 bytes.
    #[error("invalid idempotency key: it is longer than 255 characters")]
    TooLong,
    /// The key contains a space, a control character, a comma, or a non-ASCII character. A comma is not allowed,
    /// because API Gateway joins two headers with a comma.
    #[error(
        "invalid idempotency key: it contains a comma, or a character that is not visible ASCII"
    )]
    Character,
}

const LONGEST: usize = 255;

impl IdempotencyKey {
    /// Parses a key. One pair of double quotes around the key is removed. So a quoted key equals the same key without
    /// quotes. Escape sequences are kept unchanged.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`]: why `text` is not a valid key.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        let text = text.as_ref();
        let bare = match text {
            [b'"', inner @ .., b'"'] => inner,
            _ => text,
        };
        if bare.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if bare.len() > LONGEST {
            return Err(InvalidKey::TooLong);
        }
        let is_key = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
        match str::from_utf8(bare) {
            Ok(text) if bare.iter().all(is_key) => Ok(Self(text.to_owned())),
            _ => Err(InvalidKey::Character),
        }
    }

    /// The key, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key must not be logged.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_visible_ascii_without_a_comma() {
        let longest = "k".repeat(255);
        let quoted = format!("\"{longest}\"");
        let cases: [(&str, Result<&str, InvalidKey>); 13] = [
            ("abc123", Ok("abc123")),
            ("\"abc123\"", Ok("abc123")),
            ("\"\"abc\"\"", Ok("\"abc\"")),
            ("\"", Ok("\"")),
            ("a\\\"b", Ok("a\\\"b")),
            (&longest, Ok(&longest)),
            (&quoted, Ok(&longest)),
            ("", Err(InvalidKey::Empty)),
            ("\"\"", Err(InvalidKey::Empty)),
            ("a,b", Err(InvalidKey::Character)),
            (" a", Err(InvalidKey::Character)),
            ("a\u{7f}", Err(InvalidKey::Character)),
            ("schlüssel", Err(InvalidKey::Character)),
        ];
        for (text, expected) in cases {
            let parsed = IdempotencyKey::parse(text);
            assert_eq!(
                parsed.as_ref().map(IdempotencyKey::as_str),
                expected.as_ref().copied(),
                "{text}"
            );
        }
        let too_long = "k".repeat(256);
        assert_eq!(IdempotencyKey::parse(&too_long), Err(InvalidKey::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            if let Ok(key) = IdempotencyKey::parse(&bytes) {
                prop_assert!((1..=255).contains(&key.as_str().len()));
                prop_assert!(key.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b','));
            }
        }

        #[test]
        fn quotes_do_not_change_the_key(key in "[!#-+\\--~]{1,253}") {
            let quoted = format!("\"{key}\"");
            prop_assert_eq!(IdempotencyKey::parse(&key), IdempotencyKey::parse(&quoted));
        }
    }
}
