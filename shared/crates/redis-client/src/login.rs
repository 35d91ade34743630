//! The login of a connection whose URL has no credentials.

#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "iam")]
mod token;

#[cfg(feature = "iam")]
pub(super) use iam::TokenLogin;

/// The text of the error if there are no credentials. The cluster client keeps only the text of an error, so the reason
/// is recognised by this text.
pub(super) const NO_CREDENTIALS: &str = "no AWS credentials for an IAM token";

/// The login of an IAM user. Without the feature `iam` there is no such login, so this type has no value.
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
