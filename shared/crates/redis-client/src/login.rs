//! What a connection logs in with where the URL does not say it.

#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "iam")]
mod token;

#[cfg(feature = "iam")]
pub(super) use iam::TokenLogin;

/// What the client library's error says where there is nothing to log in with. Of its text alone it keeps this in a cluster.
pub(super) const NO_CREDENTIALS: &str = "no credentials for a token";

/// Without the feature `iam` there is none.
#[cfg(not(feature = "iam"))]
#[derive(Clone)]
pub(super) enum TokenLogin {}

#[cfg(not(feature = "iam"))]
impl redis::auth::StreamingCredentialsProvider for TokenLogin {
    fn subscribe(
        &self,
    ) -> std::pin::Pin<
        Box<
            dyn futures_util::Stream<Item = redis::RedisResult<redis::auth::BasicAuth>>
                + Send
                + 'static,
        >,
    > {
        match *self {}
    }
}
