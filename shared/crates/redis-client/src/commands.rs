//! The commands, one function each.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Error, RedisClient, Repeat, Request, typed};

/// How long a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is gone this much later (to the millisecond, at least one).
    After(Duration),
    /// It stays until it is deleted.
    Never,
}

/// How long a key still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    NoKey,
    /// It does not expire.
    NoExpiry,
    /// It expires in this much time.
    Left(Duration),
}

impl RedisClient {
    /// Asks the server for a sign of life.
    ///
    /// # Errors
    ///
    /// [`Error`] when none came.
    pub async fn ping(&self) -> Result<(), Error> {
        self.command(Repeat::Safe, &cmd("PING"))
            .await
            .map(|_: Value| ())
    }

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error`] when it could not be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.command(Repeat::Safe, cmd("GET").arg(key)).await
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    ///
    /// [`Error`] when it is not known to be set.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set it.
    pub async fn set(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
    ) -> Result<(), Error> {
        let mut set = cmd("SET");
        set.arg(key).arg(value.as_ref());
        if let Expiry::After(time) = expiry {
            set.arg("PX").arg(at_least_one_ms(time));
        }
        self.command(Repeat::Never, &set).await
    }

    /// Deletes `key`; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error`] when it is not known to be gone.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have deleted it.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.command(Repeat::Never, cmd("DEL").arg(key)).await
    }

    /// Whether `key` is there.
    ///
    /// # Errors
    ///
    /// [`Error`] when it could not be read.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.command(Repeat::Safe, cmd("EXISTS").arg(key)).await
    }

    /// Adds one to the integer at `key`, which starts at zero; the sum.
    ///
    /// # Errors
    ///
    /// [`Error`] when it is not known to be counted.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have counted.
    pub async fn incr(&self, key: &str) -> Result<i64, Error> {
        self.command(Repeat::Never, cmd("INCR").arg(key)).await
    }

    /// Lets `key` expire `time` from now; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error`] when it is not known to be set.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have set it.
    pub async fn expire(&self, key: &str, time: Duration) -> Result<bool, Error> {
        self.command(
            Repeat::Never,
            cmd("PEXPIRE").arg(key).arg(at_least_one_ms(time)),
        )
        .await
    }

    /// How long `key` still has.
    ///
    /// # Errors
    ///
    /// [`Error`] when it could not be read.
    pub async fn ttl(&self, key: &str) -> Result<Ttl, Error> {
        let left: i64 = self.command(Repeat::Safe, cmd("PTTL").arg(key)).await?;
        Ok(match u64::try_from(left) {
            Ok(ms) => Ttl::Left(Duration::from_millis(ms)),
            Err(_) if left == -1 => Ttl::NoExpiry,
            Err(_) => Ttl::NoKey,
        })
    }

    async fn command<T: FromRedisValue>(&self, repeat: Repeat, command: &Cmd) -> Result<T, Error> {
        typed(self.send(repeat, &Request::Command(command)).await?)
    }
}

fn at_least_one_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
