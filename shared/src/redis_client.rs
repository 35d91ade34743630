//! How do the functions talk to Redis (or Valkey)?
//!
//! Through one [`RedisClient`] per process: one connection, opened at the first command and shared by all, to a
//! standalone server, with TLS, with a user of its ACL, or to a cluster. There is no pool: commands travel interleaved
//! on the one socket, so a process never holds more than one connection (to each node, in a cluster).
//!
//! Every command has a limit: `REDIS_RESPONSE_TIMEOUT_MS`, `REDIS_CONNECT_TIMEOUT_MS` where it has to connect first,
//! and the [`Deadline`] of the invocation if that is sooner ([`RedisClient::within`]). A connection that rested, as it
//! does while Lambda freezes the process, is tested before use; one that timed out is replaced. Commands that are safe
//! to repeat are repeated once on a new connection, the others are not: [`Error`] says whether they may have run.
//! After a failed connect, requests fail at once for half a second instead of each waiting for the same.
//!
//! The client does nothing in the background, decides nothing, and shows no credential: not in an error, not in
//! `Debug`, not in the log, which says `Redis connected` and `Redis connection failed` once per change.
//!
//! Why the client is built this way: <https://github.com/redis-rs/redis-rs/issues/1223> (a command that finds the
//! connection dead is not repeated) and <https://github.com/redis-rs/redis-rs/issues/1415> (a connection that times
//! out is not replaced).

mod connection;
mod endpoint;
mod error;
mod probe;
mod script;
mod slot;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation, Value, cmd};
use tracing::debug;

use crate::config::RedisConfig;
use crate::deadline::Deadline;
use connection::Connection;
use endpoint::Endpoint;
pub use error::{Error, Reason};
pub use probe::{HealthCheck, Operation, ServerInfo};
pub use script::Script;
use slot::{Live, Slot};

/// The process's access to Redis. Cheap to clone; all clones share the connection.
#[derive(Clone)]
pub struct RedisClient {
    inner: Arc<Inner>,
    /// By when every command of this clone has to end.
    deadline: Deadline,
}

struct Inner {
    /// Where the connection lives, or why there can be none.
    slot: Result<Slot, Reason>,
    response_timeout: Duration,
}

/// Whether a command may be sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Twice has the effect of once: a read, or a script that recognises its own owner token.
    Safe,
    /// Twice is once too often.
    Never,
}

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
    /// A client for what is configured. Nothing is connected, and nothing here fails: without a URL, or with one that
    /// cannot be parsed, every command says so.
    pub fn new(config: &RedisConfig) -> Self {
        // redis-rs picks no crypto provider, and panics at its first TLS connection where it finds none or two.
        // A second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let slot = match &config.url {
            Some(url) => {
                Endpoint::parse(url.expose(), config).map(|endpoint| Slot::new(endpoint, config))
            }
            None => Err(Reason::NotConfigured),
        };
        let inner = Inner {
            slot,
            response_timeout: config.response_timeout,
        };
        Self {
            inner: Arc::new(inner),
            deadline: Deadline::UNKNOWN,
        }
    }

    /// The same client, whose commands all end by `deadline`.
    #[must_use]
    pub fn within(&self, deadline: Deadline) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline,
        }
    }

    /// The URL as it may be shown, `<unparseable>` where it cannot be taken apart; `None` where none is configured.
    pub fn masked_url(&self) -> Option<&str> {
        match &self.inner.slot {
            Ok(slot) => Some(slot.masked_url()),
            Err(Reason::NotConfigured) => None,
            Err(_) => Some("<unparseable>"),
        }
    }

    /// Opens the connection, or makes sure of the one that is there. No command needs it: each connects by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] with the reason.
    ///
    /// # Cancel safety
    ///
    /// A dropped attempt closes its socket.
    pub async fn connect(&self) -> Result<(), Error> {
        self.slot()?
            .acquire(self.deadline)
            .await
            .map(drop)
            .map_err(Error::Unreachable)
    }

    /// Closes the connection once the commands under way have ended. The next command opens a new one.
    pub fn disconnect(&self) {
        if let Ok(slot) = &self.inner.slot {
            slot.close();
        }
    }

    /// Whether a connection stands, as far as is known without asking the server.
    pub fn is_connected(&self) -> bool {
        self.inner.slot.as_ref().is_ok_and(Slot::is_connected)
    }

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
    /// In cluster mode the client library itself repeats a command whose connection broke, so that a lost answer can
    /// count twice. A count that has to be exact belongs into a [`Script`] with a token of its own.
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

    /// Runs `script` on `keys` with `args`: one round trip, three when the server does not have the script yet.
    ///
    /// # Errors
    ///
    /// [`Error`] when there is no result.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have run it.
    pub async fn run_script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<T, Error> {
        let mut invocation = script.script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for arg in args {
            invocation.arg(*arg);
        }
        typed(
            self.send(script.repeat, &Request::Script(&invocation))
                .await?,
        )
    }

    async fn command<T: FromRedisValue>(&self, repeat: Repeat, command: &Cmd) -> Result<T, Error> {
        typed(self.send(repeat, &Request::Command(command)).await?)
    }

    async fn send(&self, repeat: Repeat, request: &Request<'_>) -> Result<Value, Error> {
        let slot = self.slot()?;
        let first = self.attempt(slot, request).await;
        match first {
            Err(Error::Unanswered(reason)) if repeat == Repeat::Safe && !self.is_over() => {
                debug!(
                    redis.error_code = reason.code(),
                    "Redis did not answer; repeating on a new connection"
                );
                self.attempt(slot, request).await
            }
            settled => settled,
        }
    }

    /// Sends `request` once, and judges the connection by what comes of it.
    async fn attempt(&self, slot: &Slot, request: &Request<'_>) -> Result<Value, Error> {
        let live = slot
            .acquire(self.deadline)
            .await
            .map_err(Error::Unreachable)?;
        let limit = self.deadline.clip(self.inner.response_timeout);
        let error = match tokio::time::timeout(limit, request.send(live.connection.clone())).await {
            Ok(Ok(value)) => {
                live.mark_answered();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                if Live::is_to_blame(limit, self.inner.response_timeout) {
                    slot.discard(&live);
                }
                return Err(Error::Unanswered(Reason::Timeout));
            }
        };
        let reason = Reason::of_command(&error);
        if error::breaks_connection(&error) {
            slot.discard(&live);
            return Err(Error::Unanswered(reason));
        }
        live.mark_answered();
        if reason == Reason::ReadOnly && live.predates_failover() {
            slot.discard(&live);
        }
        Err(Error::Refused(reason))
    }

    fn slot(&self) -> Result<&Slot, Error> {
        self.inner
            .slot
            .as_ref()
            .map_err(|reason| Error::Unreachable(*reason))
    }

    fn is_over(&self) -> bool {
        self.deadline.remaining().is_some_and(|left| left.is_zero())
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient")
            .field("url", &self.masked_url())
            .finish_non_exhaustive()
    }
}

/// What can travel to the server.
enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send(&self, mut connection: Connection) -> RedisResult<Value> {
        match self {
            Self::Command(command) => command.query_async(&mut connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(&mut connection).await,
            Self::Script(invocation) => invocation.invoke_async(&mut connection).await,
        }
    }
}

fn typed<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    redis::from_redis_value(value).map_err(|_| Error::Unanswered(Reason::UnexpectedAnswer))
}

fn at_least_one_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
