//! A value and its expiry in one round trip, and writes that depend on the stored value.
//!
//! Most of them are plain commands, because a plain command costs the server less than a script.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::commands::at_least_one_ms;
use super::request::CompareAndSet;
use super::{Error, Expiry, Reason, RedisClient, Repeat, Request, Ttl, typed};

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub value: Vec<u8>,
    /// The time until the key expires, read after the value. If another client has set the key in between, this is the
    /// time of the other value.
    pub ttl: Ttl,
}

/// The result of setting a key if it is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetIfAbsent {
    /// The key was absent, and is set.
    Set,
    /// The key has a value.
    Present(Stored),
}

impl RedisClient {
    /// Sets `key` to `value` if `key` is absent. The new value expires after `time`, which is rounded down to whole
    /// milliseconds; the minimum is one millisecond. If the key has a value, returns it. Takes one round trip.
    ///
    /// If the reply is lost, the command is sent again. The second command may find the value that the first one has
    /// set.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the server rejected a command. If that was the command that reads the expiry, the key has a
    /// value. Any other [`Error`] if there is no reply.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set the value.
    pub async fn set_if_absent(
        &self,
        key: &str,
        value: &[u8],
        time: Duration,
    ) -> Result<SetIfAbsent, Error> {
        let mut set = cmd("SET");
        set.arg(key).arg(value).arg("NX").arg("GET");
        set.arg("PX").arg(at_least_one_ms(time));
        let stored = self.with_ttl(key, &set).await?;
        Ok(stored.map_or(SetIfAbsent::Set, SetIfAbsent::Present))
    }

    /// Returns the value of `key` and the time until it expires; `None`: the key is absent. Takes one round trip.
    ///
    /// # Errors
    ///
    /// [`Error`] if the key cannot be read.
    pub async fn get_with_ttl(&self, key: &str) -> Result<Option<Stored>, Error> {
        self.with_ttl(key, cmd("GET").arg(key)).await
    }

    /// Sends a command that returns the value of `key`, together with `PTTL`. Returns the value and the time until the
    /// key expires.
    async fn with_ttl(&self, key: &str, command: &Cmd) -> Result<Option<Stored>, Error> {
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(command.clone()).cmd("PTTL").arg(key);
        // Without this setting, an error reply to `PTTL` would hide the reply to the command.
        commands.ignore_errors();
        let request = Request::Pair(&commands);
        let replies: Vec<Value> = typed(self.send(Repeat::Safe, &request).await?)?;
        let mut replies = replies.into_iter();
        match (replies.next(), replies.next()) {
            (Some(Value::Nil), _) => Ok(None),
            (Some(Value::BulkString(value)), Some(Value::Int(left))) => Ok(Some(Stored {
                value,
                ttl: Ttl::of_reply(left),
            })),
            (Some(Value::BulkString(_)), Some(Value::ServerError(error))) => {
                Err(Error::Refused(self.reason_of(&error.into())))
            }
            _ => Err(Error::Unanswered(Reason::UnexpectedAnswer)),
        }
    }

    /// Replaces the value of `key` by `value` if the stored value is `expected`. Returns whether the value was
    /// replaced.
    ///
    /// Takes one round trip: `SET` with `IFEQ` (Redis from 8.4, Valkey from 8.1), or a script on older servers. On an
    /// older server, the first call of a connection takes two round trips.
    ///
    /// If the reply is lost, the command is sent again. If the first command has run, this function then returns false.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: the server wrote nothing, for example because the key has a value of another type. Any other
    /// [`Error`] if there is no reply.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have replaced the value.
    pub async fn set_if_equal(
        &self,
        key: &str,
        expected: &[u8],
        value: &[u8],
        expiry: Expiry,
    ) -> Result<bool, Error> {
        let (option, ms) = expiry.option();
        let ms = ms.map(|ms| ms.to_string());
        let request = Request::CompareAndSet(CompareAndSet {
            key,
            expected,
            value,
            option,
            ms: ms.as_deref(),
        });
        match self.send(Repeat::Safe, &request).await? {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            _ => Err(Error::Unanswered(Reason::UnexpectedAnswer)),
        }
    }
}
