//! Reads a valid JSON text from front to back.
//!
//! The canonical form sorts the members of an object. So the values of an object are skipped first, and read later in
//! sorted order. One pass over the whole text finds where the skipped arrays and objects end. If each level searched
//! for the ends again, the text would be read once per level.

use serde_json::value::RawValue;

/// The text, and the position of the next token.
pub(super) struct Outline<'a> {
    text: &'a str,
    here: Place,
    /// The position after each array and object that is a member's value. The arrays and objects are in the order in
    /// which they begin.
    ends: Vec<Place>,
    /// The number of tokens read so far. A test limits this number.
    #[cfg(test)]
    pub(super) tokens: usize,
}

/// A position in the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    at: usize,
    /// Number of values in `ends` that begin before this position.
    begun: usize,
}

/// The token at a position.
pub(super) enum Token<'a> {
    Array,
    Object,
    /// A string, including its quotes.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Literal(&'a str),
}

impl<'a> Outline<'a> {
    pub(super) fn of(value: &'a RawValue) -> Self {
        Self {
            text: value.get(),
            here: Place::default(),
            ends: ends(value.get().as_bytes()),
            #[cfg(test)]
            tokens: 0,
        }
    }

    /// The position of the next token.
    pub(super) fn here(&self) -> Place {
        self.here
    }

    /// Continues at another position.
    pub(super) fn go_to(&mut self, place: Place) {
        self.here = place;
    }

    /// Reads a token. For an array or an object, reads only its beginning.
    pub(super) fn token(&mut self) -> Token<'a> {
        #[cfg(test)]
        {
            self.tokens += 1;
        }
        let start = self.skip_to_token();
        let bytes = self.text.as_bytes();
        let (end, token): (_, fn(&'a str) -> Token<'a>) = match bytes.get(start) {
            Some(b'[') => (start + 1, |_| Token::Array),
            Some(b'{') => (start + 1, |_| Token::Object),
            Some(b'"') => (end_of_string(bytes, start), Token::String),
            _ => (end_of_literal(bytes, start), Token::Literal),
        };
        self.here.at = end;
        token(self.text.get(start..end).unwrap_or_default())
    }

    /// Returns whether the array has another element. If it has none, reads the end of the array.
    pub(super) fn has_element(&mut self) -> bool {
        self.goes_on_before(b']')
    }

    /// Reads an object to its end. Returns the names of its members, with quotes, and the positions of their values.
    pub(super) fn members(&mut self) -> Vec<(&'a str, Place)> {
        let mut members = Vec::new();
        while self.goes_on_before(b'}') {
            let Token::String(name) = self.token() else {
                break;
            };
            members.push((name, self.skip_value()));
        }
        members
    }

    /// Skips a member's value. Returns the position at which the value begins.
    fn skip_value(&mut self) -> Place {
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

    /// Skips whitespace, commas and colons.
    fn skip_to_token(&mut self) -> usize {
        let rest = self.text.as_bytes().iter().skip(self.here.at);
        let skipped = rest.take_while(|byte| b" \t\n\r,:".contains(byte));
        self.here.at += skipped.count();
        self.here.at
    }
}

/// Returns the position after each array and object that is a member's value.
fn ends(bytes: &[u8]) -> Vec<Place> {
    let mut ends = Vec::<Place>::new();
    // Depth and index of each open value.
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

/// The position after the string that begins at `start`.
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

/// The position after the number, `true`, `false` or `null` that begins at `start`.
fn end_of_literal(bytes: &[u8], start: usize) -> usize {
    let literal = bytes.iter().skip(start);
    start
        + literal
            .take_while(|byte| !b" \t\n\r,:]}".contains(byte))
            .count()
}
