//! A record as text: one header line, then the checkpoint or the saved response. Redis stores this text with another
//! prefix (`store/redis_text.rs`).
//!
//! ```text
//! tb1 in_progress 7b6f…32 digits 0000000001 0000000003 1764000000000 0032000 0000000000000 1764000000000 0000000000000 0 3a7b…64 digits 00000000
//!     state       owner          attempt    rev        leased_at     lease   policy        first_at      finished_at   took_over fingerprint  length of what follows
//! ```
//!
//! Every field has a fixed width, so a script needs only the first bytes of a record, even if the response is large. An
//! operator can read the record with `GET`.
//!
//! Times and durations are in milliseconds. In an unfinished record, `finished_at` is zero. The policy is stored as its
//! bound. The length of the body distinguishes a whole record from a truncated one.
//!
//! During a deployment, two versions of a function share one keyspace. A version with a different header must start its
//! records with a different tag than `tb1`. Then the old version cannot read such a record, and no claim of that key
//! succeeds.

use std::str;
use std::time::Duration;

use bytes::Bytes;

use super::{Record, State};
use crate::store_time::{StoreTime, whole_ms};
use crate::{Fingerprint, OwnerId, Policy, SavedResponse};

const VERSION: &str = "tb1";
/// Length of a header without the version, including its line feed.
const FIELDS_BYTES: usize = 208;
const STATE_WIDTH: usize = 11;
/// Width of an attempt or a revision.
pub(crate) const COUNT_WIDTH: usize = 10;
/// Width of an instant or a policy's bound.
pub(crate) const TIME_WIDTH: usize = 13;
pub(crate) const LEASE_WIDTH: usize = 7;
const FLAG_WIDTH: usize = 1;
const LENGTH_WIDTH: usize = 8;
const FIELDS: usize = 13;
/// Widths of the fields after the version.
const WIDTHS: [usize; FIELDS - 1] = [
    STATE_WIDTH,
    32,
    COUNT_WIDTH,
    COUNT_WIDTH,
    TIME_WIDTH,
    LEASE_WIDTH,
    TIME_WIDTH,
    TIME_WIDTH,
    TIME_WIDTH,
    FLAG_WIDTH,
    64,
    LENGTH_WIDTH,
];

/// The error for a stored value that this version cannot read as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable record: damaged, or not a record")]
pub struct Unreadable;

impl Record {
    /// Returns the record as text. A store may keep records in this form.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = VERSION.as_bytes().to_vec();
        self.append_to(&mut text);
        text
    }

    /// Appends the rest of the header and the body to a text that has the first words of the header.
    ///
    /// Every claim and every result is written here, so nothing but the text itself is allocated.
    pub(crate) fn append_to(&self, text: &mut Vec<u8>) {
        let body = self.body();
        text.reserve_exact(FIELDS_BYTES + body.len());
        let state = self.state.name();
        text.push(b' ');
        text.extend_from_slice(state.as_bytes());
        text.resize(text.len() + STATE_WIDTH.saturating_sub(state.len()), b' ');
        append_hex(text, &self.owner.to_bytes());
        append_number(text, self.attempt, COUNT_WIDTH);
        append_number(text, self.rev, COUNT_WIDTH);
        append_number(text, self.leased_at.as_ms(), TIME_WIDTH);
        append_number(text, whole_ms(self.lease), LEASE_WIDTH);
        append_number(text, self.policy.to_bound_ms(), TIME_WIDTH);
        append_number(text, self.first_at.as_ms(), TIME_WIDTH);
        let finished_at = self.finished_at().map_or(0, StoreTime::as_ms);
        append_number(text, finished_at, TIME_WIDTH);
        append_number(text, self.took_over.into(), FLAG_WIDTH);
        append_hex(text, &self.fingerprint.to_bytes());
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        append_number(text, length, LENGTH_WIDTH);
        text.push(b'\n');
        text.extend_from_slice(&body);
    }

    /// The part after the header: the response of a completed record, otherwise the checkpoint.
    fn body(&self) -> Bytes {
        match &self.state {
            State::Completed { response, .. } => response.to_bytes(),
            _ => self.checkpoint.clone(),
        }
    }

    /// Parses a record.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for any text that [`to_text`](Self::to_text) cannot have returned.
    pub fn from_text(text: &Bytes) -> Result<Self, Unreadable> {
        if !text.starts_with(VERSION.as_bytes()) {
            return Err(Unreadable);
        }
        Self::from_fields(&text.slice(VERSION.len()..)).ok_or(Unreadable)
    }

    /// Parses the text after the prefix of a header.
    pub(crate) fn from_fields(text: &Bytes) -> Option<Self> {
        let header = str::from_utf8(text.get(..FIELDS_BYTES)?).ok()?;
        let mut fields = header.strip_suffix('\n')?;
        let mut next = [""; FIELDS - 1];
        for (field, width) in next.iter_mut().zip(WIDTHS) {
            fields = fields.strip_prefix(' ')?;
            (*field, fields) = fields.split_at_checked(width)?;
        }
        if !fields.is_empty() {
            return None;
        }
        let [
            state,
            owner,
            attempt,
            rev,
            leased_at,
            lease,
            policy,
            first_at,
            finished_at,
            took_over,
            fingerprint,
            length,
        ] = next;
        let body = text.slice(FIELDS_BYTES..);
        if u64::try_from(body.len()) != Ok(number(length)?) {
            return None;
        }
        let finished_at = StoreTime::from_ms(number(finished_at)?);
        let (state, checkpoint) = match state.trim_end_matches(' ') {
            "in_progress" => (State::InProgress, body),
            "unknown" => (State::Unknown, body),
            "released" => (State::Released { finished_at }, body),
            "completed" => {
                let response = SavedResponse::from_bytes(&body)?;
                let completed = State::Completed {
                    finished_at,
                    response,
                };
                (completed, Bytes::new())
            }
            _ => return None,
        };
        Some(Self {
            state,
            owner: OwnerId::from_hex(owner)?,
            attempt: number(attempt)?,
            rev: number(rev)?,
            leased_at: StoreTime::from_ms(number(leased_at)?),
            lease: Duration::from_millis(number(lease)?),
            fingerprint: Fingerprint::from_hex(fingerprint)?,
            policy: Policy::from_bound_ms(number(policy)?),
            first_at: StoreTime::from_ms(number(first_at)?),
            took_over: match took_over {
                "0" => false,
                "1" => true,
                _ => return None,
            },
            checkpoint,
        })
    }
}

impl State {
    /// The name in records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Unknown => "unknown",
            Self::Released { .. } => "released",
            Self::Completed { .. } => "completed",
        }
    }
}

/// A number with the width of its header field. Scripts receive numbers in this form, so that the scripts need not
/// format them.
#[cfg(feature = "redis")]
pub(crate) fn field(number: u64, width: usize) -> Vec<u8> {
    let mut field = Vec::with_capacity(width);
    append_digits(&mut field, number, width);
    field
}

/// Appends a space, and a number with the width of its header field.
pub(crate) fn append_number(text: &mut Vec<u8>, number: u64, width: usize) {
    text.push(b' ');
    append_digits(text, number, width);
}

fn append_digits(text: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    let zeros = width.saturating_sub(digits.len());
    text.resize(text.len() + zeros, b'0');
    text.extend_from_slice(digits.as_bytes());
}

/// Appends a space, and bytes as lowercase hexadecimal digits.
fn append_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b' ');
    let start = text.len();
    text.resize(start + 2 * bytes.len(), b'0');
    // Fails only for a buffer of another length.
    let _ = hex::encode_to_slice(bytes, &mut text[start..]);
}

fn number(field: &str) -> Option<u64> {
    let digits = field.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| field.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
