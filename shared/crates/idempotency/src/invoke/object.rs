//! Reading a request's objects: every member at most once, none unknown, and everything that is wrong told at once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foundation::json::{self, Members};
use serde::Serialize;
use serde_json::value::RawValue;

/// What is wrong with a request, and where (RFC 6901).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) pointer: String,
    pub(super) detail: Cow<'static, str>,
}

/// All that is wrong with a request, as far as it is told.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

/// An object, and where it stands.
pub(super) struct Object<'a> {
    pointer: &'static str,
    /// Those that are still to be read.
    members: BTreeMap<String, &'a RawValue>,
}

/// What a value should have been.
pub(super) type Needed = &'static str;

/// More than this is told of no request.
const MOST_PROBLEMS: usize = 16;
/// More members than any object has; the rest of a larger one is not looked at.
const MOST_MEMBERS: usize = 32;
/// A longer name is not repeated to its sender.
const LONGEST_NAME: usize = 64;

impl Problem {
    /// For the note that only the engine found too long.
    pub(super) fn too_long_a_note() -> Self {
        Self {
            pointer: "/data".to_owned(),
            detail: "at most 65536 bytes are kept".into(),
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
    /// The object that `value` is.
    pub(super) fn read(
        value: &'a RawValue,
        pointer: &'static str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let read = serde_json::from_str::<Members<'a>>(value.get())
            .map_err(|_| "an object is needed")
            .and_then(distinct);
        match read {
            Ok(members) => Some(Self { pointer, members }),
            Err(needed) => {
                problems.add(pointer, needed);
                None
            }
        }
    }

    /// A member that has to be there.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Needed>,
        problems: &mut Problems,
    ) -> Option<T> {
        if !self.members.contains_key(name) {
            problems.add(self.pointer_to(name), "it is missing");
        }
        self.optional(name, parse, problems)
    }

    /// A member that may be there.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Needed>,
        problems: &mut Problems,
    ) -> Option<T> {
        let value = self.members.remove(name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(needed) => {
                let is_lone = json::is_lone_surrogate(value);
                let needed = if is_lone {
                    json::LONE_SURROGATE
                } else {
                    needed
                };
                problems.add(self.pointer_to(name), needed);
                None
            }
        }
    }

    /// A member that has to be an object.
    pub(super) fn object(
        &mut self,
        name: &str,
        pointer: &'static str,
        problems: &mut Problems,
    ) -> Option<Object<'a>> {
        let value = self.required(name, Ok, problems)?;
        Object::read(value, pointer, problems)
    }

    /// Refuses what has not been read.
    pub(super) fn end(self, problems: &mut Problems) {
        for name in self.members.keys() {
            if name.len() > LONGEST_NAME {
                problems.add(self.pointer, "it has a member with an unknown, long name");
            } else {
                problems.add(self.pointer_to(name), "no such member is known here");
            }
        }
    }

    fn pointer_to(&self, name: &str) -> String {
        let name = name.replace('~', "~0").replace('/', "~1");
        format!("{}/{name}", self.pointer)
    }
}

/// The members by name, where each has a name of its own.
fn distinct(read: Members<'_>) -> Result<BTreeMap<String, &RawValue>, Needed> {
    let mut members = BTreeMap::new();
    for (name, value) in read.0.into_iter().take(MOST_MEMBERS + 1) {
        let name = name.as_str().ok_or(json::LONE_SURROGATE_IN_NAME)?;
        if members.insert(name.to_owned(), value).is_some() || members.len() > MOST_MEMBERS {
            return Err(
                "an object is needed whose members all have another name, and no unknown one",
            );
        }
    }
    Ok(members)
}
