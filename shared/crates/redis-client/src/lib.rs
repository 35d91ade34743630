#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(feature = "iam"),
    allow(dead_code, unused_mut, reason = "used only by the IAM login")
)]

mod address;
mod commands;
mod conditional;
mod config;
mod connection;
mod diagnosis;
mod endpoint;
mod error;
mod link;
mod login;
mod masking;
mod probe;
mod reason;
mod request;
mod scan;
mod script;
mod server_url;
mod slots;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use address::Address;
pub use commands::{Expiry, Ttl};
pub use conditional::{SetIfAbsent, Stored};
pub use config::{CacheType, IamLogin, Plaintext, RedisAuth, RedisConfig};
pub use error::Error;
use foundation::Deadline;
use foundation::secret::Secrets;
use link::{Link, LiveConnection};
pub use probe::{HealthCheck, Operation, ServerInfo};
pub use reason::Reason;
use redis::{FromRedisValue, RedisError, Value};
use request::{Request, ScriptCall};
pub use script::Script;
use tracing::warn;

/// The Redis client of the process. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct RedisClient {
    inner: Arc<Inner>,
    /// The deadline of every command of this clone.
    deadline: Deadline,
}

struct Inner {
    /// The connection and how to open it, or why the settings allow no connection.
    link: Result<Link, Reason>,
    is_cluster: bool,
    response_timeout: Duration,
}

/// Whether a command may be sent again after its reply was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Running the command twice has the same effect as running it once: a read, or a script that recognises its owner
    /// token.
    Safe,
    /// Running the command twice has a different effect from running it once.
    Never,
}

impl RedisClient {
    /// Creates the client for `config`, whose URL may be stored in `secrets`. Opens no connection and never fails. If
    /// the URL is missing or invalid, every command returns that error.
    pub fn new(config: &RedisConfig, secrets: &Secrets) -> Self {
        // redis-rs selects no crypto provider, and panics at its first TLS connection if no provider or more than one
        // is available. Installing the provider twice has no effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let link = match &config.url {
            Some(url) => {
                Address::new(url, config, secrets).map(|address| Link::new(address, config))
            }
            None => Err(Reason::NotConfigured),
        };
        if let Err(reason) = &link {
            warn!(
                redis.error_code = reason.code(),
                "Redis connection failed: {reason}"
            );
        }
        let inner = Inner {
            link,
            is_cluster: config.cluster,
            response_timeout: config.response_timeout,
        };
        Self {
            inner: Arc::new(inner),
            deadline: Deadline::UNKNOWN,
        }
    }

    /// A clone of this client whose commands all end by `deadline`.
    #[must_use]
    pub fn within(&self, deadline: Deadline) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline,
        }
    }

    /// The URL without credentials; `None` if no URL is configured. The result is `<unparseable>` for an invalid URL,
    /// and `<not read yet>` for a URL in a secret that was not read yet.
    pub fn masked_url(&self) -> Option<String> {
        match &self.inner.link {
            Ok(link) => Some(link.masked_url()),
            Err(Reason::NotConfigured) => None,
            Err(_) => Some("<unparseable>".to_owned()),
        }
    }

    /// The reason why every command fails, if the settings alone cause that.
    pub fn fault(&self) -> Option<Reason> {
        self.inner.link.as_ref().err().copied()
    }

    /// Opens the connection, or tests the open one. Optional: each command connects if it has to.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] with the reason.
    ///
    /// # Cancel safety
    ///
    /// A dropped call closes its socket.
    pub async fn connect(&self) -> Result<(), Error> {
        self.acquire().await.map(drop)
    }

    /// Closes the connection when the commands in flight have ended. The next command opens a new one.
    pub fn disconnect(&self) {
        if let Ok(link) = &self.inner.link {
            link.close();
        }
    }

    /// Whether the client has a connection. Sends no request.
    pub fn is_connected(&self) -> bool {
        self.inner.link.as_ref().is_ok_and(Link::is_connected)
    }

    /// Runs `script` on `keys` with the named `args`, in one round trip. It takes two round trips if the server does
    /// not have the script yet.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no result.
    ///
    /// # Cancel safety
    ///
    /// The script of a dropped call may or may not have run.
    pub async fn run_script<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[(&str, &[u8])],
    ) -> Result<T, Error> {
        let call = Request::Script(ScriptCall { script, keys, args });
        typed(self.send(script.repeat, &call).await?)
    }

    async fn send(&self, repeat: Repeat, request: &Request<'_>) -> Result<Value, Error> {
        match self.attempt_with_newest_login(request).await {
            // The first attempt may have run, even if the second attempt did not.
            Err(Error::Unanswered(_)) if repeat == Repeat::Safe && !self.is_over() => {
                let repeated = self.attempt_with_newest_login(request).await;
                repeated.map_err(|error| Error::Unanswered(error.reason()))
            }
            settled => settled,
        }
    }

    /// Sends `request`. If the server rejects the connection's login, the request has not run. So the request is sent
    /// again on a new connection.
    async fn attempt_with_newest_login(&self, request: &Request<'_>) -> Result<Value, Error> {
        match self.attempt(request).await {
            Err(Error::Refused(Reason::AuthFailed)) if !self.is_over() => {
                self.attempt(request).await
            }
            settled => settled,
        }
    }

    /// Sends `request` once.
    async fn attempt(&self, request: &Request<'_>) -> Result<Value, Error> {
        let live = self.acquire().await?;
        self.attempt_on(&live, request).await
    }

    async fn acquire(&self) -> Result<LiveConnection, Error> {
        let live = self.link()?.acquire(self.deadline).await;
        live.map_err(Error::Unreachable)
    }

    /// Sends `request` once on `live`. Discards the connection if the result shows that it is broken.
    async fn attempt_on(
        &self,
        live: &LiveConnection,
        request: &Request<'_>,
    ) -> Result<Value, Error> {
        let link = self.link()?;
        let limit = self.deadline.clip(self.inner.response_timeout);
        if limit.is_zero() {
            return Err(Error::Unreachable(Reason::Timeout));
        }
        let sending = request.send(live.connection.clone(), &live.state);
        let error = match tokio::time::timeout(limit, sending).await {
            Ok(Ok(value)) => {
                live.mark_replied();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                if link::is_meaningful_wait(limit, self.inner.response_timeout) {
                    link.discard(live);
                }
                return Err(Error::Unanswered(Reason::Timeout));
            }
        };
        // The cluster client reports a node that rejects the login as a missing node.
        let is_without_node = self.inner.is_cluster && request::is_without_node(&error);
        if is_without_node && link.has_newer_login(live, self.deadline).await {
            link.discard(live);
            return Err(Error::Refused(Reason::AuthFailed));
        }
        let reason = self.reason_of(&error);
        if diagnosis::breaks_connection(&error) {
            if !live.is_cluster() || error.is_timeout() {
                link.discard(live);
            }
            return Err(Error::Unanswered(reason));
        }
        live.mark_replied();
        match reason {
            // A demoted node of a cluster with one master redirects to the new master.
            Reason::ReadOnly | Reason::ClusterModeRequired => link.suspect_failover(),
            Reason::AuthFailed => link.discard(live),
            _ => {}
        }
        // A script can fail after a write. Only an error that precedes the execution proves that the script has not
        // run.
        match request {
            Request::Script(_) if !reason.precedes_execution() => Err(Error::Unanswered(reason)),
            // In a cluster, the error can be the reply to the second command, and the first one has run.
            Request::Pair(_)
                if self.inner.is_cluster && request::may_follow_a_write(&error, reason) =>
            {
                Err(Error::Unanswered(reason))
            }
            _ => Err(Error::Refused(reason)),
        }
    }

    /// The reason why a command failed on an open connection.
    fn reason_of(&self, error: &RedisError) -> Reason {
        match diagnosis::of_command(error) {
            // In cluster mode, this error means that the slot moved again after each redirection that the client
            // followed.
            Reason::ClusterModeRequired if self.inner.is_cluster => Reason::Rejected,
            reason => reason,
        }
    }

    fn link(&self) -> Result<&Link, Error> {
        self.inner
            .link
            .as_ref()
            .map_err(|reason| Error::Unreachable(*reason))
    }

    fn is_over(&self) -> bool {
        self.deadline.is_over()
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient")
            .field("url", &self.masked_url())
            .finish_non_exhaustive()
    }
}

fn typed<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    redis::from_redis_value(value).map_err(|_| Error::Unanswered(Reason::UnexpectedAnswer))
}
