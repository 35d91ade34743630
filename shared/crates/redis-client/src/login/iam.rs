//! The login of an IAM user: a new token for each connection to each node.
//!
//! The client library requests a token for each socket that it opens. The cluster client replaces sockets by itself,
//! and requests a token each time.

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

/// The login of an IAM user. Cheap to clone.
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
        // No deadline here: the connect as a whole has a time limit.
        let found = credentials.current(&login.region, Deadline::UNKNOWN).await;
        let token = found.inspect_err(|error| {
            warn!(
                aws.error_code = error.code,
                "cannot sign the IAM token for Redis: {error}"
            )
        });
        let token = token
            .ok()
            .and_then(|credentials| sign_token(login, &credentials, now()));
        match token {
            Some(token) => Ok(BasicAuth::new(login.user.clone(), token)),
            None => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "cannot log in to Redis",
                NO_CREDENTIALS.to_owned(),
            ))),
        }
    }
}

impl StreamingCredentialsProvider for TokenLogin {
    /// Returns a stream. The task that opens a connection gets one token from the stream. After that, the stream gives
    /// nothing.
    ///
    /// The library subscribes twice. The task that opens the connection takes the first item and logs in with it. A
    /// second task would log in again with every item that it gets. That task gets no item: ElastiCache throttles
    /// logins, and a connection is replaced before it needs another login.
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
    reason = "AWS checks the time in a signature"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
