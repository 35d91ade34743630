//! Parses the objects of a request. A duplicate or an unknown member is a problem. All problems are reported at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foundation::json::{self, Members};
use serde::Serialize;
use serde_json::value::RawValue;

/// A problem of a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// The position of the problem in the request, as a JSON Pointer (RFC 6901).
    pub(super) pointer: String,
    /// What is wrong at this position, or what was expected instead.
    pub(super) detail: Cow<'static, str>,
}

/// The problems of a request, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

/// An object in a request.
pub(super) struct Object<'a> {
    /// The position of the object in the request, as a JSON Pointer.
    pointer: &'static str,
    /// The members that have not been read yet.
    members: BTreeMap<String, &'a RawValue>,
}

/// What is wrong with a value, or what was expected instead.
pub(super) type Expected = &'static str;

/// The largest number of problems that are reported.
const MOST_PROBLEMS: usize = 16;
/// The largest number of members of an object that are read. Every valid object has fewer.
const MOST_MEMBERS: usize = 32;
/// The longest member name that a problem contains, in bytes.
const LONGEST_NAME: usize = 64;

impl Problem {
    /// The problem of a checkpoint that the engine rejected because of its size.
    pub(super) fn checkpoint_too_long() -> Self {
        Self {
            pointer: "/data".to_owned(),
            detail: "longer than 65536 bytes".into(),
        }
    }
}

impl Problems {
    pub(super) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) {
        if self.0.len() < MOST_PROBLEMS {
            self.0.push(Problem {
                pointer: pointer.into(),
                detail: detail.into(),
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl<'a> Object<'a> {
    /// Parses an object. If that fails, adds a problem and returns `None`.
    pub(super) fn read(
        value: &'a RawValue,
        pointer: &'static str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let read = serde_json::from_str::<Members<'a>>(value.get())
            .map_err(|_| "expected an object")
            .and_then(distinct);
        match read {
            Ok(members) => Some(Self { pointer, members }),
            Err(expected) => {
                problems.add(pointer, expected);
                None
            }
        }
    }

    /// Reads a required member.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Expected>,
        problems: &mut Problems,
    ) -> Option<T> {
        if !self.members.contains_key(name) {
            problems.add(self.pointer_to(name), "missing");
        }
        self.optional(name, parse, problems)
    }

    /// Reads an optional member.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Expected>,
        problems: &mut Problems,
    ) -> Option<T> {
        let value = self.members.remove(name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(expected) => {
                let is_lone = json::is_lone_surrogate(value);
                let expected = if is_lone {
                    json::LONE_SURROGATE
                } else {
                    expected
                };
                problems.add(self.pointer_to(name), expected);
                None
            }
        }
    }

    /// Reads a required member that is an object.
    pub(super) fn object(
        &mut self,
        name: &str,
        pointer: &'static str,
        problems: &mut Problems,
    ) -> Option<Object<'a>> {
        let value = self.required(name, Ok, problems)?;
        Object::read(value, pointer, problems)
    }

    /// Adds a problem for each member that has not been read.
    pub(super) fn end(self, problems: &mut Problems) {
        for name in self.members.keys() {
            if name.len() > LONGEST_NAME {
                problems.add(self.pointer, "contains an unknown member with a long name");
            } else {
                problems.add(self.pointer_to(name), "unknown member");
            }
        }
    }

    fn pointer_to(&self, name: &str) -> String {
        let name = name.replace('~', "~0").replace('/', "~1");
        format!("{}/{name}", self.pointer)
    }
}

/// Returns the members by name. A duplicate member is an error.
fn distinct(read: Members<'_>) -> Result<BTreeMap<String, &RawValue>, Expected> {
    let mut members = BTreeMap::new();
    for (name, value) in read.0.into_iter().take(MOST_MEMBERS + 1) {
        let name = name.as_str().ok_or(json::LONE_SURROGATE_IN_NAME)?;
        if members.insert(name.to_owned(), value).is_some() || members.len() > MOST_MEMBERS {
            return Err("expected an object without duplicate or unknown members");
        }
    }
    Ok(members)
}
