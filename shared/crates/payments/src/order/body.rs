//! A body, member by member, with everything that is wrong with it.

use foundation::json::{self, Members, Text};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::body_error::BodyError;

/// A body's members, and what was wrong with those that were read.
pub(super) struct Body<'a> {
    members: Vec<(Text<'a>, &'a RawValue)>,
    /// What makes the body no order.
    pub(super) faults: Vec<BodyError>,
    /// What is refused now and was taken by an older version.
    pub(super) refused: Vec<BodyError>,
}

impl<'a> Body<'a> {
    /// The members; `None` where the body is no JSON object.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let members: Members<'_> = serde_json::from_slice(json::without_mark(body)).ok()?;
        Some(Self {
            members: members.0,
            faults: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// A member that has to be there.
    pub(super) fn required<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        match self.raw(member) {
            Some(value) => self.parsed(&[member], value, accepted, parse),
            None => {
                self.faults
                    .push(BodyError::of(&pointer(&[member]), accepted));
                None
            }
        }
    }

    /// A member that may be missing, or null, which says the same.
    pub(super) fn optional<T>(
        &mut self,
        member: &str,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.given(member)?;
        self.parsed(&[member], value, accepted, parse)
    }

    /// The members of an object that may be missing.
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
                self.faults
                    .push(BodyError::of(&pointer(&[member]), accepted));
                Vec::new()
            }
        }
    }

    /// The value at a place.
    pub(super) fn parsed<T>(
        &mut self,
        path: &[&str],
        value: &RawValue,
        accepted: &'static str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        // A string that Rust cannot hold is no `Value` either.
        let read = serde_json::from_str(value.get()).ok();
        let parsed = read.as_ref().and_then(parse);
        if parsed.is_none() {
            let is_lone = json::is_lone_surrogate(value);
            let detail = if is_lone {
                json::LONE_SURROGATE
            } else {
                accepted
            };
            self.faults.push(BodyError::of(&pointer(path), detail));
        }
        parsed
    }

    /// Notes what is refused now, unless an older version has taken it.
    pub(super) fn refuse(&mut self, path: &[&str], accepted: &'static str) {
        self.refused.push(BodyError::of(&pointer(path), accepted));
    }

    /// Refuses members of other names.
    pub(super) fn refuse_others(&mut self, known: &[&str]) {
        let names = self.members.iter().map(|(name, _)| name);
        let others = names.filter(|name| !name.as_str().is_some_and(|name| known.contains(&name)));
        let others = others
            .map(|name| BodyError::of(&pointer(&[&name.to_string_lossy()]), "no such member"));
        self.faults.extend(others.collect::<Vec<_>>());
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

/// A JSON Pointer (RFC 6901). Names are cut, for they come from the body.
pub(super) fn pointer(path: &[&str]) -> String {
    const LONGEST_SHOWN: usize = 64;
    path.iter()
        .map(|name| {
            let shown: String = name.chars().take(LONGEST_SHOWN).collect();
            format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
        })
        .collect()
}
