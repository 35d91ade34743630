//! The Redis commands of [`RedisClient`], one function each.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Error, RedisClient, Repeat, Request, typed};

/// When a value expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The value expires after this time, rounded down to whole milliseconds. The minimum is one millisecond.
    After(Duration),
    /// The value expires at this time of the server's clock, in milliseconds since 1970.
    AtMs(u64),
    /// The value expires when the value that it replaces would have expired.
    Kept,
    /// Never: the value stays until it is deleted.
    Never,
}

/// The time until a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The key does not exist.
    NoKey,
    /// The key does not expire.
    NoExpiry,
    /// The key expires after this time.
    Left(Duration),
}

impl Expiry {
    /// The option of `SET`, and the milliseconds that follow it.
    pub(super) fn option(self) -> (Option<&'static str>, Option<u64>) {
        match self {
            Self::After(time) => (Some("PX"), Some(at_least_one_ms(time))),
            Self::AtMs(ms) => (Some("PXAT"), Some(ms)),
            Self::Kept => (Some("KEEPTTL"), None),
            Self::Never => (None, None),
        }
    }
}

impl Ttl {
    /// The time in a reply to `PTTL`.
    pub(super) fn of_reply(left: i64) -> Self {
        match u64::try_from(left) {
            Ok(ms) => Self::Left(Duration::from_millis(ms)),
            Err(_) if left == -1 => Self::NoExpiry,
            Err(_) => Self::NoKey,
        }
    }
}

impl RedisClient {
    /// Pings the server.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server does not reply.
    pub async fn ping(&self) -> Result<(), Error> {
        self.command(Repeat::Safe, &cmd("PING"))
            .await
            .map(|_: Value| ())
    }

    /// Returns the value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the key cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.command(Repeat::Safe, cmd("GET").arg(key)).await
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the value is not known to be set.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set the value.
    pub async fn set(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
    ) -> Result<(), Error> {
        let mut set = cmd("SET");
        set.arg(key).arg(value.as_ref());
        let (option, ms) = expiry.option();
        // An absent argument adds no word to the command.
        set.arg(option).arg(ms);
        self.command(Repeat::Never, &set).await
    }

    /// Deletes `key`. Returns whether the key existed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the key is not known to be deleted.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have deleted the key.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.command(Repeat::Never, cmd("DEL").arg(key)).await
    }

    /// Returns whether `key` exists.
    ///
    /// # Errors
    ///
    /// [`Error`] if the key cannot be read.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.command(Repeat::Safe, cmd("EXISTS").arg(key)).await
    }

    /// Adds one to the integer at `key`. A missing key counts as zero. Returns the sum.
    ///
    /// # Errors
    ///
    /// [`Error`] if the integer is not known to be incremented.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have incremented the integer.
    pub async fn incr(&self, key: &str) -> Result<i64, Error> {
        self.command(Repeat::Never, cmd("INCR").arg(key)).await
    }

    /// Sets `key` to expire after `time`. Returns whether the key existed.
    ///
    /// # Errors
    ///
    /// [`Error`] if the expiry is not known to be set.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set the expiry.
    pub async fn expire(&self, key: &str, time: Duration) -> Result<bool, Error> {
        self.command(
            Repeat::Never,
            cmd("PEXPIRE").arg(key).arg(at_least_one_ms(time)),
        )
        .await
    }

    /// Returns the time until `key` expires.
    ///
    /// # Errors
    ///
    /// [`Error`] if the key cannot be read.
    pub async fn ttl(&self, key: &str) -> Result<Ttl, Error> {
        let left = self.command(Repeat::Safe, cmd("PTTL").arg(key)).await?;
        Ok(Ttl::of_reply(left))
    }

    async fn command<T: FromRedisValue>(&self, repeat: Repeat, command: &Cmd) -> Result<T, Error> {
        typed(self.send(repeat, &Request::Command(command)).await?)
    }
}

pub(super) fn at_least_one_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
