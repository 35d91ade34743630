//! Reads secrets from AWS Secrets Manager.

use async_trait::async_trait;
use aws_config::Region;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use foundation::Deadline;
use foundation::secret::{ReadError, Secret, SecretStore, StoredSecret};

use super::{REQUEST_TIMEOUT, Unavailable, configuration};

/// AWS Secrets Manager, in the region of each secret's ARN.
#[derive(Clone, Copy, Debug)]
pub struct SecretsManager;

#[async_trait]
impl SecretStore for SecretsManager {
    async fn read(&self, secret: &StoredSecret, deadline: Deadline) -> Result<Secret, ReadError> {
        let answer = read(secret, deadline).await;
        answer.map_err(|Unavailable { code }| ReadError { code })
    }
}

async fn read(stored: &StoredSecret, deadline: Deadline) -> Result<Secret, Unavailable> {
    let deadline = deadline.within(REQUEST_TIMEOUT);
    let configuration = configuration(&stored.region, deadline).await?;
    let configuration = aws_sdk_secretsmanager::config::Builder::from(configuration)
        .region(Region::new(stored.region.clone()))
        .build();
    let client = Client::from_conf(configuration);
    let request = client.get_secret_value().secret_id(&stored.arn).send();
    let answer = deadline
        .bound(request)
        .await
        .map_err(|_| Unavailable::new("timeout"))?
        .map_err(|error| Unavailable::new(error.code().unwrap_or("connection_failed")))?;
    let text = answer.secret_string().map_or("", str::trim);
    if text.is_empty() {
        return Err(Unavailable::new("empty"));
    }
    Ok(Secret::new(text))
}
