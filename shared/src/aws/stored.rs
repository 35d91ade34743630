//! What does a secret of Secrets Manager hold?

use aws_config::Region;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use futures_util::future::BoxFuture;

use super::{QUESTION_TIMEOUT, Unavailable, configuration};
use crate::config::{Secret, StoredSecret};
use crate::deadline::Deadline;

/// The text of a secret, as it is now. Boxed: AWS's futures are large, and deep, and whatever connects holds this one.
///
/// # Errors
///
/// [`Unavailable`] where there was none by `deadline`.
///
/// # Cancel safety
///
/// Reads alone.
pub(crate) fn read_secret(
    stored: &StoredSecret,
    deadline: Deadline,
) -> BoxFuture<'_, Result<Secret, Unavailable>> {
    Box::pin(read(stored, deadline))
}

async fn read(stored: &StoredSecret, deadline: Deadline) -> Result<Secret, Unavailable> {
    let deadline = deadline.within(QUESTION_TIMEOUT);
    let configuration = configuration(&stored.region, deadline).await?;
    let configuration = aws_sdk_secretsmanager::config::Builder::from(configuration)
        .region(Region::new(stored.region.clone()))
        .build();
    let client = Client::from_conf(configuration);
    let question = client.get_secret_value().secret_id(&stored.arn).send();
    let answer = deadline
        .bound(question)
        .await
        .map_err(|_| Unavailable::new("timeout"))?
        .map_err(|error| Unavailable::new(error.code().unwrap_or("connection_failed")))?;
    let text = answer.secret_string().map_or("", str::trim);
    if text.is_empty() {
        return Err(Unavailable::new("empty"));
    }
    Ok(Secret::new(text))
}
