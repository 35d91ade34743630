//! A JSON text that is known to be valid, read from front to back.
//!
//! Members are written in another order than they are read, so an object's values are passed over before they are read. Where each
//! ends is found out in one pass over the whole text: to look for the end again on each level would read the text once per level.

use serde_json::value::RawValue;

/// The text, and the place in it that is read next.
pub(super) struct Outline<'a> {
    text: &'a str,
    here: Place,
    /// What follows each array and object that is a member's value, in the order in which they begin.
    ends: Vec<Place>,
}

/// A place in the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    at: usize,
    /// How many of the ends are those of values that began before it.
    begun: usize,
}

/// What begins at a place.
pub(super) enum LeaseToken<'a> {
    Array,
    Object,
    /// With its quotes.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Word(&'a str),
}

impl<'a> Outline<'a> {
    pub(super) fn of(value: &'a RawValue) -> Self {
        Self {
            text: value.get(),
            here: Place::default(),
            ends: ends(value.get().as_bytes()),
        }
    }

    /// The place that is read next.
    pub(super) fn here(&self) -> Place {
        self.here
    }

    /// Reads on at another place.
    pub(super) fn go_to(&mut self, place: Place) {
        self.here = place;
    }

    /// Reads a token; of an array and an object its beginning alone.
    pub(super) fn token(&mut self) -> LeaseToken<'a> {
        let start = self.skip_to_token();
        let bytes = self.text.as_bytes();
        let (end, token): (_, fn(&'a str) -> LeaseToken<'a>) = match bytes.get(start) {
            Some(b'[') => (start + 1, |_| LeaseToken::Array),
            Some(b'{') => (start + 1, |_| LeaseToken::Object),
            Some(b'"') => (end_of_string(bytes, start), LeaseToken::String),
            _ => (end_of_word(bytes, start), LeaseToken::Word),
        };
        self.here.at = end;
        token(self.text.get(start..end).unwrap_or_default())
    }

    /// Whether the array goes on; if not, its end is read.
    pub(super) fn has_element(&mut self) -> bool {
        self.goes_on_before(b']')
    }

    /// Reads an object to its end: the names of its members, with their quotes, and the places of their values.
    pub(super) fn members(&mut self) -> Vec<(&'a str, Place)> {
        let mut members = Vec::new();
        while self.goes_on_before(b'}') {
            let LeaseToken::String(name) = self.token() else {
                break;
            };
            members.push((name, self.pass_over_value()));
        }
        members
    }

    /// Passes over a member's value. Returns its place.
    fn pass_over_value(&mut self) -> Place {
        let start = self.skip_to_token();
        let mut place = self.here;
        if matches!(self.text.as_bytes().get(start), Some(b'[' | b'{')) {
            let behind = self.ends.get(place.begun).copied();
            place.begun += 1;
            self.here = behind.unwrap_or(Place {
                at: self.text.len(),
                ..place
            });
        } else {
            self.token();
        }
        place
    }

    fn goes_on_before(&mut self, end: u8) -> bool {
        let next = self.skip_to_token();
        let byte = self.text.as_bytes().get(next);
        if byte == Some(&end) {
            self.here.at += 1;
        }
        byte.is_some_and(|byte| *byte != end)
    }

    /// Passes over blanks, and over the commas and colons that stand where they have to.
    fn skip_to_token(&mut self) -> usize {
        let rest = self.text.as_bytes().iter().skip(self.here.at);
        let skipped = rest.take_while(|byte| b" \t\n\r,:".contains(byte));
        self.here.at += skipped.count();
        self.here.at
    }
}

/// What follows each array and object that is a member's value.
fn ends(bytes: &[u8]) -> Vec<Place> {
    let mut ends = Vec::<Place>::new();
    // The depth of each that is open, and which one it is.
    let mut open = Vec::new();
    let (mut at, mut depth, mut follows_colon) = (0, 0_usize, false);
    while let Some(byte) = bytes.get(at) {
        let mut next = at + 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'[' | b'{' => {
                if follows_colon {
                    open.push((depth, ends.len()));
                    ends.push(Place::default());
                }
                depth += 1;
                follows_colon = false;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                let closed = open.pop_if(|(outer, _)| *outer == depth);
                let begun = ends.len();
                if let Some(end) = closed.and_then(|(_, number)| ends.get_mut(number)) {
                    *end = Place { at: next, begun };
                }
            }
            b'"' => {
                next = end_of_string(bytes, at);
                follows_colon = false;
            }
            other => follows_colon = *other == b':',
        }
        at = next;
    }
    ends
}

/// The place behind the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// The place behind the number, `true`, `false` or `null` that begins at `start`.
fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let word = bytes.iter().skip(start);
    start
        + word
            .take_while(|byte| !b" \t\n\r,:]}".contains(byte))
            .count()
}
