//! The adapter for Stripe, or for a server with the same API (<https://docs.stripe.com/api/payment_intents>).
//!
//! Four requests on payment intents are enough: create, confirm, retrieve, cancel. A Stripe client library is not used, because it would
//! add size and start-up time. The description is sent as metadata, which every Stripe-compatible server accepts. Amounts are converted
//! to and from Stripe's unit here ([`StripeUnit`](crate::stripe_unit::StripeUnit)); all other modules use minor units of ISO 4217.

mod intent_form;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use reqwest::{Client, RequestBuilder};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use foundation::secret::{Secret, SecretCell, SecretSource};
use foundation::{Deadline, Environment};

use self::intent_form::{amount_of, digest, intent_form};
pub(crate) use self::reply::read;
use super::{Intent, OTHER_LIVEMODE, Provider, ProviderError};
use crate::{Order, Payment, Setup};

pub(crate) struct Stripe {
    client: Client,
    api_key: SecretCell,
    api_base: Url,
    timeout: Duration,
    /// Whether payments use real money (live mode) or not (test mode).
    livemode: bool,
    environment: Environment,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was idle for longer than this time is not reused. The server may have closed it while the process was frozen.
const LONGEST_IDLE: Duration = Duration::from_secs(5);
/// The error code if Stripe rejects the API key. If the key was rotated, Stripe may accept a newer key.
const AUTH_FAILED: &str = "auth_failed";
const LARGEST_RESPONSE: usize = 1024 * 1024;
/// The API version whose responses this code reads.
const API_VERSION: HeaderValue = HeaderValue::from_static("2024-06-20");

impl Stripe {
    /// The provider; `None`: the HTTP client cannot be built, or the configured API key is not a valid header value.
    pub(crate) fn new(api_key: &SecretSource, api_base: &Url, setup: &Setup) -> Option<Self> {
        if let SecretSource::Given(api_key) = api_key {
            bearer(api_key)?;
        }
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(LONGEST_IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .ok()?;
        Some(Self {
            client,
            api_key: setup.secrets.cell(api_key),
            api_base: api_base.clone(),
            timeout: setup.config.provider_timeout,
            livemode: setup.config.livemode,
            environment: setup.environment.clone(),
        })
    }

    fn post(&self, path: &str, form: &[(String, String)]) -> Result<RequestBuilder, ProviderError> {
        Ok(self.client.post(self.url(path)?).form(form))
    }

    fn url(&self, path: &str) -> Result<Url, ProviderError> {
        self.api_base
            .join(path)
            .map_err(|_| ProviderError::NotProcessed("invalid_url"))
    }

    /// Sends a request and returns the intent in the reply. If Stripe rejects the API key, reads the key again. If there is
    /// a newer key, sends the request once more with that key.
    async fn send(
        &self,
        request: RequestBuilder,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let deadline = deadline.within(self.timeout);
        let key = self.api_key.value(deadline).await;
        let key = key.map_err(|_| ProviderError::NotProcessed("no_credentials"))?;
        // A key of the wrong mode (live or test) is not used. With such a key, Stripe would reject the payment method as if it were
        // invalid, and the payment would fail.
        if livemode_of(&key).is_some_and(|livemode| livemode != self.livemode) {
            return Err(ProviderError::NotProcessed(OTHER_LIVEMODE));
        }
        let again = request.try_clone();
        match self.send_with(&key, request, deadline).await {
            Err(refused @ ProviderError::NotProcessed(AUTH_FAILED)) => {
                let newer = self.api_key.newer_than(&key, deadline).await;
                match newer.zip(again) {
                    Some((key, request)) => self.send_with(&key, request, deadline).await,
                    None => Err(refused),
                }
            }
            result => result,
        }
    }

    async fn send_with(
        &self,
        key: &Secret,
        request: RequestBuilder,
        limit: Deadline,
    ) -> Result<Intent, ProviderError> {
        let bearer = bearer(key).ok_or(ProviderError::NotProcessed("invalid_request"))?;
        let request = request
            .header(http::header::AUTHORIZATION, bearer)
            .header("stripe-version", API_VERSION);
        let exchange = async {
            let mut response = request.send().await.map_err(|error| error_of(&error))?;
            let status = response.status();
            let mut body = Vec::new();
            while let Some(chunk) = response
                .chunk()
                .await
                .map_err(|_| ProviderError::OutcomeUnknown("connection_lost"))?
            {
                body.extend_from_slice(&chunk);
                if body.len() > LARGEST_RESPONSE {
                    return Err(ProviderError::OutcomeUnknown("unexpected_answer"));
                }
            }
            Ok((status, body))
        };
        let (status, body) = limit
            .bound(exchange)
            .await
            .map_err(|_| ProviderError::OutcomeUnknown("timeout"))??;
        read(status, &body).and_then(|intent| self.of_our_mode(intent))
    }

    /// Returns the intent if its mode (live or test) is the configured mode, otherwise an error. For example, production may be configured
    /// with an API key for test mode.
    fn of_our_mode(&self, intent: Intent) -> Result<Intent, ProviderError> {
        if intent.livemode == self.livemode {
            Ok(intent)
        } else {
            Err(ProviderError::OutcomeUnknown(OTHER_LIVEMODE))
        }
    }
}

/// Whether an API key is for live mode; `None` if the form of the key does not show the mode
/// (<https://docs.stripe.com/keys>).
fn livemode_of(api_key: &Secret) -> Option<bool> {
    let (_, kind) = api_key.expose().split_once('_')?;
    match kind.split_once('_')?.0 {
        "live" => Some(true),
        "test" => Some(false),
        _ => None,
    }
}

/// The value of the `Authorization` header for a key; `None`: the key has characters that are not allowed in a header.
fn bearer(api_key: &Secret) -> Option<HeaderValue> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", api_key.expose())).ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}

#[async_trait]
impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn create(
        &self,
        payment: &Payment,
        key: &str,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        // `None`: an older version accepted an order whose amount Stripe cannot represent. For such an order, no request is sent.
        let amount = amount_of(&payment.order).ok_or(ProviderError::Rejected("no_such_amount"))?;
        let form = intent_form(payment, &self.environment, amount);
        let request = self
            .post("v1/payment_intents", &form)?
            .header("idempotency-key", format!("{key}-{}", digest(&form)));
        let created = self.send(request, deadline).await;
        created.map_err(|error| match error {
            // The mode (live or test) of this intent is wrong. The intent is not written into the ledger, so it is never confirmed.
            ProviderError::OutcomeUnknown(OTHER_LIVEMODE) => {
                ProviderError::NotProcessed(OTHER_LIVEMODE)
            }
            error => error,
        })
    }

    async fn confirm(
        &self,
        intent: &str,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let form: Vec<_> = order
            .return_url
            .iter()
            .map(|url| ("return_url".to_owned(), url.clone()))
            .collect();
        let request = self.post(&format!("v1/payment_intents/{intent}/confirm"), &form)?;
        self.send(request, deadline).await
    }

    async fn inspect(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        let url = self.url(&format!("v1/payment_intents/{intent}"))?;
        self.send(self.client.get(url), deadline).await
    }

    async fn cancel(&self, intent: &str, deadline: Deadline) -> Result<Intent, ProviderError> {
        let request = self.post(&format!("v1/payment_intents/{intent}/cancel"), &[])?;
        self.send(request, deadline).await
    }
}

fn error_of(error: &reqwest::Error) -> ProviderError {
    if error.is_connect() {
        ProviderError::NotProcessed("connect_failed")
    } else if error.is_builder() {
        ProviderError::NotProcessed("invalid_request")
    } else {
        ProviderError::OutcomeUnknown("connection_lost")
    }
}

#[cfg(test)]
mod tests;
