#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(feature = "iam"),
    allow(dead_code, unused_mut, reason = "what only IAM users need")
)]

mod address;
mod commands;
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
pub use config::{CacheType, IamLogin, Plaintext, RedisAuth, RedisConfig};
pub use error::Error;
use foundation::Deadline;
use foundation::secret::Secrets;
use link::{Link, Live};
pub use probe::{HealthCheck, Operation, ServerInfo};
pub use reason::Reason;
use redis::{FromRedisValue, RedisError, Value};
use request::{Request, ScriptCall};
pub use script::Script;
use tracing::warn;

/// The process's access to Redis. Cheap to clone; all clones share the connection.
#[derive(Clone)]
pub struct RedisClient {
    inner: Arc<Inner>,
    /// By when every command of this clone has to end.
    deadline: Deadline,
}

struct Inner {
    /// Where the connection lives, or why there can be none.
    link: Result<Link, Reason>,
    is_cluster: bool,
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

impl RedisClient {
    /// A client for what is configured, whose URL may be one of `secrets`. Nothing is connected, and nothing here fails: without a URL, or with one that
    /// cannot be parsed, every command says so.
    pub fn new(config: &RedisConfig, secrets: &Secrets) -> Self {
        // redis-rs picks no crypto provider, and panics at its first TLS connection where it finds none or two.
        // A second installation changes nothing.
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

    /// The same client, whose commands all end by `deadline`.
    #[must_use]
    pub fn within(&self, deadline: Deadline) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline,
        }
    }

    /// The URL as it may be shown, `<unparseable>` where it cannot be taken apart, `<not read yet>` where a secret holds it
    /// that nobody needed so far; `None` where none is configured.
    pub fn masked_url(&self) -> Option<String> {
        match &self.inner.link {
            Ok(link) => Some(link.masked_url()),
            Err(Reason::NotConfigured) => None,
            Err(_) => Some("<unparseable>".to_owned()),
        }
    }

    /// Why every command will fail, where the settings alone say that.
    pub fn fault(&self) -> Option<Reason> {
        self.inner.link.as_ref().err().copied()
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
        self.acquire().await.map(drop)
    }

    /// Closes the connection once the commands under way have ended. The next command opens a new one.
    pub fn disconnect(&self) {
        if let Ok(link) = &self.inner.link {
            link.close();
        }
    }

    /// Whether a connection stands, as far as is known without asking the server.
    pub fn is_connected(&self) -> bool {
        self.inner.link.as_ref().is_ok_and(Link::is_connected)
    }

    /// Runs `script` on `keys` with `args`: one round trip, two when the server does not have the script yet.
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
        let call = Request::Script(ScriptCall { script, keys, args });
        typed(self.send(script.repeat, &call).await?)
    }

    async fn send(&self, repeat: Repeat, request: &Request<'_>) -> Result<Value, Error> {
        match self.attempt_with_newest_login(request).await {
            // Whatever becomes of the second attempt, the first one may have run.
            Err(Error::Unanswered(_)) if repeat == Repeat::Safe && !self.is_over() => {
                let repeated = self.attempt_with_newest_login(request).await;
                repeated.map_err(|error| Error::Unanswered(error.reason()))
            }
            settled => settled,
        }
    }

    /// Sends `request`, and where a connection turns out to have lost its login, on a new one: it has not run.
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

    async fn acquire(&self) -> Result<Live, Error> {
        let live = self.link()?.acquire(self.deadline).await;
        live.map_err(Error::Unreachable)
    }

    /// Sends `request` once on `live`, and judges the connection by what comes of it.
    async fn attempt_on(&self, live: &Live, request: &Request<'_>) -> Result<Value, Error> {
        let link = self.link()?;
        let limit = self.deadline.clip(self.inner.response_timeout);
        if limit.is_zero() {
            return Err(Error::Unreachable(Reason::Timeout));
        }
        let error = match tokio::time::timeout(limit, request.send(live.connection.clone())).await {
            Ok(Ok(value)) => {
                live.mark_answered();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                if link::is_fair_wait(limit, self.inner.response_timeout) {
                    link.discard(live);
                }
                return Err(Error::Unanswered(Reason::Timeout));
            }
        };
        // In a cluster a node that refuses the login is one that cannot be found.
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
        live.mark_answered();
        match reason {
            // A demoted node of a cluster of one master redirects to the new one.
            Reason::ReadOnly | Reason::ClusterModeRequired => link.suspect_failover(),
            Reason::AuthFailed => link.discard(live),
            _ => {}
        }
        // A script can fail after it has written; only what is refused at its door has not run for certain.
        match request {
            Request::Script(_) if !reason.precedes_execution() => Err(Error::Unanswered(reason)),
            _ => Err(Error::Refused(reason)),
        }
    }

    /// Why a command failed on a connection that stood.
    fn reason_of(&self, error: &RedisError) -> Reason {
        match diagnosis::of_command(error) {
            // The slots move faster than this client follows.
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
