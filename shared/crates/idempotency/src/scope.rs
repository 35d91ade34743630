//! The scope of a key, and the name of the key in stores.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::IdempotencyKey;

/// The namespace of a key. The same key in two scopes is two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The prefix of the names of all keys in this scope.
    start: String,
}

/// A part of a scope is empty or longer than 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope: a part is empty or longer than 256 bytes")]
pub struct InvalidScope;

/// The name of a key in every store: `idempotency:`, the parts of the scope, and the key, separated by colons. Every
/// byte outside `A–Z a–z 0–9 . _ ~ -` is percent-encoded, so two keys never have the same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Arc<str>);

/// The first 64 bits of a name's SHA-256. They identify a key in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(u64);

const LONGEST_PART: usize = 256;
/// The beginning of every name.
const START: &str = "idempotency";
/// Bytes that are percent-encoded in a name.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'-');

impl Scope {
    /// The empty scope. A name then consists only of the prefix and the key.
    pub fn none() -> Self {
        Self {
            start: START.to_owned(),
        }
    }

    /// The scope of a `tenant`'s keys for an HTTP operation.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`] for an empty or oversized part.
    pub fn http(operation: &str, tenant: &str) -> Result<Self, InvalidScope> {
        Self::of(["http", operation, tenant])
    }

    /// The scope of a function that is invoked directly.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`] for an empty or oversized part.
    pub fn function(namespace: &str, scope: &str) -> Result<Self, InvalidScope> {
        Self::of(["fn", namespace, scope])
    }

    fn of(parts: [&str; 3]) -> Result<Self, InvalidScope> {
        if parts
            .iter()
            .all(|part| (1..=LONGEST_PART).contains(&part.len()))
        {
            let mut start = START.to_owned();
            for part in parts {
                push(&mut start, part);
            }
            Ok(Self { start })
        } else {
            Err(InvalidScope)
        }
    }
}

impl RecordKey {
    /// The prefix of every name.
    pub const PREFIX: &'static str = "idempotency:";

    /// The name of `key` in `scope`.
    pub fn new(scope: &Scope, key: &IdempotencyKey) -> Self {
        let key = key.as_str();
        // Most keys need no encoding.
        let mut name = String::with_capacity(scope.start.len() + 1 + key.len());
        name.push_str(&scope.start);
        push(&mut name, key);
        Self(name.into())
    }

    /// Returns the key with this name. `name` must come from [`as_str`](Self::as_str).
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the decoded parts of the scope, and the decoded key.
    pub fn parts(&self) -> (Vec<String>, String) {
        let mut parts: Vec<_> = self.0.split(':').skip(1).map(decode).collect();
        let key = parts.pop().unwrap_or_default();
        (parts, key)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that identifies the key in logs.
    pub fn hash(&self) -> KeyHash {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        KeyHash(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A key must not be logged.
impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({})", self.hash())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn push(name: &mut String, part: &str) {
    name.push(':');
    name.extend(utf8_percent_encode(part, ENCODED));
}

fn decode(part: &str) -> String {
    percent_encoding::percent_decode_str(part)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text).expect("a key")
    }

    /// During a deployment, two versions of a function share one keyspace. So names and hashes must never change.
    #[test]
    fn names_never_change() {
        let http = Scope::http("payments.create", "jwt:alice@example.com").expect("valid");
        let function = Scope::function("billing", "größe").expect("valid");
        let cases = [
            (Scope::none(), "abc123", "idempotency:abc123"),
            (
                http,
                "K-1/{x}#%3A",
                "idempotency:http:payments.create:jwt%3Aalice%40example.com:K-1%2F%7Bx%7D%23%253A",
            ),
            (
                function,
                "a~b_c.d*",
                "idempotency:fn:billing:gr%C3%B6%C3%9Fe:a~b_c.d%2A",
            ),
        ];
        for (scope, text, name) in cases {
            assert_eq!(RecordKey::new(&scope, &key(text)).as_str(), name);
        }
        let hash = RecordKey::new(&Scope::none(), &key("abc123")).hash();
        assert_eq!(hash.to_string(), "9146717100a0f3dd");
    }

    #[test]
    fn a_scope_rejects_empty_and_oversized_parts() {
        let longest = "t".repeat(256);
        assert!(Scope::http("o", &longest).is_ok());
        assert_eq!(Scope::http("o", ""), Err(InvalidScope));
        assert_eq!(
            Scope::function(&format!("{longest}t"), "s"),
            Err(InvalidScope)
        );
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let part = || "[a:%/.é{}*]{1,3}";
        prop_oneof![
            Just(Scope::none()),
            (part(), part()).prop_map(|(a, b)| Scope::http(&a, &b).expect("valid")),
            (part(), part()).prop_map(|(a, b)| Scope::function(&a, &b).expect("valid")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn two_keys_never_have_the_same_name(
            a in (scope(), "[a:%/.{}*hfn]{1,4}"),
            b in (scope(), "[a:%/.{}*hfn]{1,4}"),
        ) {
            let names = [&a, &b].map(|(scope, text)| RecordKey::new(scope, &key(text)));
            prop_assert_eq!(names[0] == names[1], a == b);
            for name in names {
                let is_plain = !name.as_str().contains(['{', '}', '*', '?', '[', ' ']);
                prop_assert!(is_plain);
            }
        }
    }
}
