//! A script's reply: a verdict, the server's time, and optionally a record, the end of a lease, or a revision.

use bytes::Bytes;
use redis::Value;
use redis_client::Error;

use super::{Backend, StoreError};
use crate::store_time::StoreTime;

pub(super) struct Reply {
    pub(super) verdict: String,
    /// The server's time.
    pub(super) now: StoreTime,
    detail: Detail,
}

enum Detail {
    Nothing,
    Text(Bytes),
    Number(u64),
}

/// The error for a reply that does not have the form of the script's replies.
pub(super) const UNEXPECTED: StoreError = StoreError::Unavailable {
    store: Backend::Redis,
    code: "unexpected_answer",
};

impl Reply {
    pub(super) fn parse(value: Value) -> Option<Self> {
        let Value::Array(parts) = value else {
            return None;
        };
        let mut parts = parts.into_iter();
        let (Value::BulkString(verdict), Value::Int(now)) = (parts.next()?, parts.next()?) else {
            return None;
        };
        Some(Self {
            verdict: String::from_utf8(verdict).ok()?,
            now: time(now)?,
            detail: match parts.next() {
                None => Detail::Nothing,
                Some(Value::BulkString(text)) => Detail::Text(text.into()),
                Some(Value::Int(number)) => Detail::Number(number.try_into().ok()?),
                Some(_) => return None,
            },
        })
    }

    /// The text of a record, if the reply has one.
    pub(super) fn text(&self) -> Option<&Bytes> {
        match &self.detail {
            Detail::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn lease_end(&self) -> Option<StoreTime> {
        self.number().map(StoreTime::from_ms)
    }

    pub(super) fn rev(&self) -> Option<u64> {
        self.number()
    }

    fn number(&self) -> Option<u64> {
        match self.detail {
            Detail::Number(number) => Some(number),
            _ => None,
        }
    }
}

/// Maps an error of the Redis client.
pub(super) fn unavailable(error: Error) -> StoreError {
    StoreError::Unavailable {
        store: Backend::Redis,
        code: error.reason().code(),
    }
}

fn time(ms: i64) -> Option<StoreTime> {
    u64::try_from(ms).ok().map(StoreTime::from_ms)
}
