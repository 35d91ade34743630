//! What a connection logs in with where the URL does not say it: a token, fresh for each connection to each node.
//!
//! The client library asks for it whenever it opens a socket, the nodes' of a cluster included, which it replaces by itself.

use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use aws_client::CredentialsCell;
use foundation::Deadline;
use futures_util::{Stream, StreamExt, stream};
use redis::auth::{BasicAuth, StreamingCredentialsProvider};
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::task;
use tracing::warn;

use super::NO_CREDENTIALS;
use super::token::sign_token;
use crate::IamLogin;

/// An IAM user that logs in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TokenLogin(Arc<Inner>);

struct Inner {
    login: IamLogin,
    credentials: CredentialsCell,
}

impl TokenLogin {
    pub(crate) fn new(login: &IamLogin) -> Self {
        Self(Arc::new(Inner {
            login: login.clone(),
            credentials: CredentialsCell::default(),
        }))
    }

    async fn token(self) -> RedisResult<BasicAuth> {
        let Inner { login, credentials } = &*self.0;
        // Whoever opens the connection has a limit for all of it.
        let found = credentials.current(&login.region, Deadline::UNKNOWN).await;
        let token = found
            .inspect_err(|error| warn!(aws.error_code = error.code, "no token for Redis: {error}"));
        let token = token
            .ok()
            .and_then(|credentials| sign_token(login, &credentials, now()));
        match token {
            Some(token) => Ok(BasicAuth::new(login.user.clone(), token)),
            None => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "cannot log in",
                NO_CREDENTIALS.to_owned(),
            ))),
        }
    }
}

impl StreamingCredentialsProvider for TokenLogin {
    /// A token for the one who opens a connection, and none after it.
    ///
    /// The library subscribes twice: once in the task that opens the connection, which takes the first item and logs in
    /// with it; then for a task of its own, which logs in again with every item that comes. ElastiCache counts and
    /// throttles logins, and a connection is replaced before it needs another, so that task gets none.
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let (login, opening) = (self.clone(), task::try_id());
        let token = async move {
            if task::try_id() != opening {
                future::pending::<()>().await;
            }
            login.token().await
        };
        Box::pin(stream::once(token).chain(stream::pending()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "AWS judges a signature by the time that is in it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
