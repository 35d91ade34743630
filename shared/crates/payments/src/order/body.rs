//! Reads the members of a JSON body one by one, and collects all errors.

use foundation::json::{self, Members, Text};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::body_error::BodyError;

/// The members of a body, and the errors of the members that were read so far.
pub(super) struct Body<'a> {
    members: Vec<(Text<'a>, &'a RawValue)>,
    /// Errors that every version reports.
    pub(super) errors: Vec<BodyError>,
    /// Errors by rules that older versions did not have.
    pub(super) newly_invalid: Vec<BodyError>,
}

impl<'a> Body<'a> {
    /// Parses a body; `None` if the body is not a JSON object.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let members: Members<'_> = serde_json::from_slice(json::without_mark(body)).ok()?;
        Some(Self {
            members: members.0,
            errors: Vec::new(),
            newly_invalid: Vec::new(),
        })
    }

    /// Reads a required member. If the member is missing or invalid, records an error and returns `None`.
    pub(super) fn required<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        match self.raw(member) {
            Some(value) => self.parsed(&[member], value, accepted, parse),
            None => {
                self.errors
                    .push(BodyError::new(&pointer(&[member]), accepted));
                None
            }
        }
    }

    /// Reads an optional member; `None`: it is missing, `null` or invalid. Records an error if it is invalid.
    pub(super) fn optional<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.given(member)?;
        self.parsed(&[member], value, accepted, parse)
    }

    /// Reads the members of an optional object. Returns no members if the object is missing or invalid, and records an
    /// error if it is invalid.
    pub(super) fn object(
        &mut self,
        member: &str,
        most: usize,
        accepted: &'static str,
    ) -> Vec<(Text<'a>, &'a RawValue)> {
        let Some(value) = self.given(member) else {
            return Vec::new();
        };
        match serde_json::from_str::<Members<'_>>(value.get()) {
            Ok(members) if members.0.len() <= most => members.0,
            _ => {
                self.errors
                    .push(BodyError::new(&pointer(&[member]), accepted));
                Vec::new()
            }
        }
    }

    /// Parses the value at `path`. If the value is invalid, records an error and returns `None`.
    pub(super) fn parsed<T>(
        &mut self,
        path: &[&str],
        value: &RawValue,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        // Parsing already fails for a string with a lone surrogate, because Rust strings are UTF-8.
        let read = serde_json::from_str(value.get()).ok();
        let parsed = read.as_ref().and_then(parse);
        if parsed.is_none() {
            let is_lone = json::is_lone_surrogate(value);
            let detail = if is_lone {
                json::LONE_SURROGATE
            } else {
                accepted
            };
            self.errors.push(BodyError::new(&pointer(path), detail));
        }
        parsed
    }

    /// Records an error by a rule that older versions did not have.
    pub(super) fn reject_newly(&mut self, path: &[&str], accepted: &'static str) {
        self.newly_invalid
            .push(BodyError::new(&pointer(path), accepted));
    }

    /// Rejects members whose names are not in `known`.
    pub(super) fn reject_unknown(&mut self, known: &[&str]) {
        let names = self.members.iter().map(|(name, _)| name);
        let others = names.filter(|name| !name.as_str().is_some_and(|name| known.contains(&name)));
        let others = others
            .map(|name| BodyError::new(&pointer(&[&name.to_string_lossy()]), "an unknown member"));
        self.errors.extend(others.collect::<Vec<_>>());
    }

    fn raw(&self, member: &str) -> Option<&'a RawValue> {
        let mut members = self.members.iter();
        let found = members.find(|(name, _)| &*name.0 == member.as_bytes());
        found.map(|(_, value)| *value)
    }

    fn given(&self, member: &str) -> Option<&'a RawValue> {
        self.raw(member).filter(|value| value.get() != "null")
    }
}

/// A JSON Pointer (RFC 6901). Long names are cut, because a client chose them.
pub(super) fn pointer(path: &[&str]) -> String {
    const LONGEST_SHOWN: usize = 64;
    path.iter()
        .map(|name| {
            let shown: String = name.chars().take(LONGEST_SHOWN).collect();
            format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
        })
        .collect()
}
