//! Stripe, or a server with the same API (<https://docs.stripe.com/api/payment_intents>).
//!
//! Four requests on payment intents are enough: create, confirm, retrieve, cancel. A Stripe client library would add size and start-up
//! time for them. The description is sent as metadata, which every Stripe-compatible server accepts. Amounts are converted to and from
//! Stripe's unit here ([`StripeUnit`]); all other modules use minor units of ISO 4217.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, StatusCode};
use reqwest::{Client, RequestBuilder};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tracing::warn;
use url::Url;

use foundation::secret::{Secret, SecretCell, SecretSource};
use foundation::{Deadline, Environment};

use super::{Intent, NO_SUCH_INTENT, OTHER_LIVEMODE, Provider, ProviderError, UNEXPECTED_AMOUNT};
use crate::order::OUR_METADATA;
use crate::stripe_unit::StripeUnit;
use crate::{Order, Payment, Setup};

pub(crate) struct Stripe {
    client: Client,
    api_key: SecretCell,
    api_base: Url,
    timeout: Duration,
    /// Whether real money moves.
    livemode: bool,
    environment: Environment,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was idle for longer is not reused, because it may have been closed while the process was frozen.
const LONGEST_IDLE: Duration = Duration::from_secs(5);
/// The code of an error that a rotated API key can repair.
const AUTH_FAILED: &str = "auth_failed";
const LARGEST_RESPONSE: usize = 1024 * 1024;
/// The API version whose responses this code reads.
const API_VERSION: HeaderValue = HeaderValue::from_static("2024-06-20");

/// The body of Stripe's error responses.
#[derive(Deserialize)]
struct ErrorBody {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    r#type: Option<String>,
    code: Option<String>,
}

impl Stripe {
    /// `None` if the HTTP client cannot be built, or the configured API key is no valid header value.
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

    /// Sends a request. If Stripe rejects the API key, reads the key again and sends the request once more with a newer one.
    async fn send(
        &self,
        request: RequestBuilder,
        deadline: Deadline,
    ) -> Result<Intent, ProviderError> {
        let deadline = deadline.within(self.timeout);
        let key = self.api_key.value(deadline).await;
        let key = key.map_err(|_| ProviderError::NotProcessed("no_credentials"))?;
        // With a key of the other mode Stripe would reject the payment method like an invalid one, and the payment would fail.
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

    /// The intent, unless its mode differs from the configured one: a test key in production, or the reverse.
    fn of_our_mode(&self, intent: Intent) -> Result<Intent, ProviderError> {
        if intent.livemode == self.livemode {
            Ok(intent)
        } else {
            Err(ProviderError::OutcomeUnknown(OTHER_LIVEMODE))
        }
    }
}

/// Whether a key moves real money; `None` if its form does not tell (<https://docs.stripe.com/keys>).
fn livemode_of(api_key: &Secret) -> Option<bool> {
    let (_, kind) = api_key.expose().split_once('_')?;
    match kind.split_once('_')?.0 {
        "live" => Some(true),
        "test" => Some(false),
        _ => None,
    }
}

/// The `Authorization` value of a key; `None` if the key has characters that no header may have.
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
        // An older version accepted this order. Stripe cannot represent its amount, so nothing is ever sent.
        let amount = amount_of(&payment.order).ok_or(ProviderError::Rejected("no_such_amount"))?;
        let form = intent_form(payment, &self.environment, amount);
        let request = self
            .post("v1/payment_intents", &form)?
            .header("idempotency-key", format!("{key}-{}", digest(&form)));
        let created = self.send(request, deadline).await;
        created.map_err(|error| match error {
            // That intent is not written into the ledger, so it is never confirmed.
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

/// The order's amount in Stripe's unit; `None` if Stripe cannot represent it.
fn amount_of(order: &Order) -> Option<i64> {
    let unit = StripeUnit::of(&order.currency)?;
    unit.to_stripe(order.amount).ok()
}

/// The form of a new intent. It is the same in every attempt, because Stripe rejects a reused idempotency key with another form.
fn intent_form(payment: &Payment, environment: &Environment, amount: i64) -> Vec<(String, String)> {
    let order = &payment.order;
    let mut form = vec![
        ("amount".to_owned(), amount.to_string()),
        ("currency".to_owned(), order.currency.to_ascii_lowercase()),
        ("payment_method".to_owned(), order.payment_method.clone()),
        ("payment_method_types[0]".to_owned(), "card".to_owned()),
    ];
    let mut metadata: BTreeMap<_, _> = order
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    // The webhook finds the payment by the id, and ignores events of other environments on the same account. Orders that an older
    // version accepted may have these names too; ours overwrite them.
    let [id, of_environment, of_description] = OUR_METADATA;
    let description = order.description.as_deref();
    metadata.extend(description.map(|text| (of_description, text)));
    metadata.insert(id, &payment.id);
    metadata.insert(of_environment, environment.name());
    let metadata = metadata.into_iter();
    form.extend(metadata.map(|(key, value)| (format!("metadata[{key}]"), value.to_owned())));
    form
}

/// A digest of the form, as part of the idempotency key.
///
/// A later version of this code may send another form for the same payment. Stripe would reject the same key with other parameters.
/// With its own key, the other form creates a second intent. The ledger names only one of them, and only that one is confirmed.
fn digest(form: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (name, value) in form {
        for text in [name, value] {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
    }
    hex::encode(&hash.finalize()[..8])
}

pub(crate) fn read(status: StatusCode, body: &[u8]) -> Result<Intent, ProviderError> {
    if status.is_success() {
        let intent: Intent = serde_json::from_slice(body)
            .map_err(|_| ProviderError::OutcomeUnknown("unexpected_answer"))?;
        let unit = StripeUnit::of(&intent.currency);
        let Some(amount) = unit.and_then(|unit| unit.to_minor(intent.amount)) else {
            return Err(UNEXPECTED_AMOUNT);
        };
        return Ok(Intent { amount, ..intent });
    }
    let error = serde_json::from_slice(body).map(|body: ErrorBody| body.error);
    if let Ok(error) = &error {
        warn!(
            stripe.status = status.as_u16(),
            stripe.error_type = error.r#type,
            stripe.error_code = error.code,
            "Stripe answered a request with an error, for example for a declined card; see stripe.error_code"
        );
    }
    Err(match status.as_u16() {
        // Stripe checks the key and the rate limit before it processes the request.
        401 | 403 => ProviderError::NotProcessed(AUTH_FAILED),
        429 => ProviderError::NotProcessed("too_many_requests"),
        // Another request with the same idempotency key is being processed.
        409 => ProviderError::OutcomeUnknown("busy"),
        // The idempotency key was sent with other parameters before, so an intent may have been created.
        404 if error.is_ok() => NO_SUCH_INTENT,
        400..=499 if is_key_reused(error.as_ref().ok()) => {
            ProviderError::OutcomeUnknown("key_reused")
        }
        400..=499 if error.is_ok() => ProviderError::Rejected("refused"),
        _ => ProviderError::OutcomeUnknown("provider_error"),
    })
}

fn is_key_reused(error: Option<&Error>) -> bool {
    let kind = error.and_then(|error| error.r#type.as_deref());
    kind == Some("idempotency_error")
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
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::State;
    use crate::ledger::tests::payment as payment_in;

    fn error_of_response(status: u16, kind: &str) -> Option<ProviderError> {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = format!(r#"{{"error": {{"type": "{kind}", "code": "some_code"}}}}"#);
        read(status, body.as_bytes()).err()
    }

    /// `NotProcessed` frees the key, and `Rejected` ends the payment. So both need Stripe's documentation that it did nothing, or will do
    /// nothing.
    #[test]
    fn only_errors_before_processing_count_as_not_processed() {
        let cases = [
            (
                401,
                "invalid_request_error",
                ProviderError::NotProcessed(AUTH_FAILED),
            ),
            (
                403,
                "invalid_request_error",
                ProviderError::NotProcessed(AUTH_FAILED),
            ),
            (
                429,
                "rate_limit_error",
                ProviderError::NotProcessed("too_many_requests"),
            ),
            (
                409,
                "idempotency_error",
                ProviderError::OutcomeUnknown("busy"),
            ),
            (409, "api_error", ProviderError::OutcomeUnknown("busy")),
            (
                400,
                "idempotency_error",
                ProviderError::OutcomeUnknown("key_reused"),
            ),
            (
                400,
                "invalid_request_error",
                ProviderError::Rejected("refused"),
            ),
            (402, "card_error", ProviderError::Rejected("refused")),
            (404, "invalid_request_error", NO_SUCH_INTENT),
            (
                500,
                "api_error",
                ProviderError::OutcomeUnknown("provider_error"),
            ),
            (
                503,
                "api_error",
                ProviderError::OutcomeUnknown("provider_error"),
            ),
            (
                302,
                "api_error",
                ProviderError::OutcomeUnknown("provider_error"),
            ),
        ];
        for (status, kind, expected) in cases {
            assert_eq!(
                error_of_response(status, kind),
                Some(expected),
                "{status} {kind}"
            );
        }
        let from_a_proxy = read(StatusCode::BAD_REQUEST, b"<html>");
        assert_eq!(
            from_a_proxy.err(),
            Some(ProviderError::OutcomeUnknown("provider_error"))
        );
    }

    #[test]
    fn the_form_of_an_api_key_tells_its_mode() {
        let cases = [
            ("sk_live_1", Some(true)),
            ("rk_live_1", Some(true)),
            ("sk_test_1", Some(false)),
            ("rk_test_1", Some(false)),
            ("sk_1", None),
            ("sk_lively_1", None),
            ("live", None),
        ];
        for (key, expected) in cases {
            assert_eq!(livemode_of(&Secret::new(key)), expected, "{key}");
        }
    }

    #[test]
    fn different_forms_have_different_digests() {
        let form = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            digest(&pairs.collect::<Vec<_>>())
        };
        let one = form(&[("amount", "10"), ("currency", "eur")]);
        assert_eq!(one, form(&[("amount", "10"), ("currency", "eur")]));
        assert_eq!(one.len(), 16);
        for other in [
            form(&[("amount", "100"), ("currency", "eur")]),
            form(&[("amount", "10")]),
            form(&[("amount", "10c"), ("urrency", "eur")]),
            form(&[("currency", "eur"), ("amount", "10")]),
        ] {
            assert_ne!(one, other);
        }
    }

    /// A client of a server that answers one request with this body, and the request that it received.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server beside the test, which ends after one response"
    )]
    fn stripe(body: String) -> (Stripe, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}/", listener.local_addr().expect("an address"));
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a request");
            let (mut asked, mut buffer) = (String::new(), [0; 4096]);
            // The form ends with this member of the metadata.
            while !asked.contains("payment_id") {
                let length = stream.read(&mut buffer).expect("readable");
                asked.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            // The client closes the connection once the response is too long.
            drop(stream.write_all((head + &body).as_bytes()));
            asked
        });
        let stripe = Stripe::new(
            &SecretSource::Given(Secret::new("sk_1")),
            &base.parse().expect("a URL"),
            &Setup::sandbox("nowhere"),
        );
        (stripe.expect("a client"), asked)
    }

    fn payment() -> Payment {
        let order = serde_json::json!({
            "amount": 700, "currency": "UGX", "payment_method": "pm_1",
            "description": "Tea", "metadata": [["order", "A-1"]], "return_url": null,
        });
        Payment {
            order: serde_json::from_value(order).expect("an order"),
            ..payment_in(1, State::Created, None)
        }
    }

    const INTENT: &str = r#"{"id": "pi_1", "status": "requires_confirmation", "amount": 70000,
        "currency": "ugx", "livemode": false}"#;

    /// Stripe counts Ugandan shillings in hundredths; the ledger counts whole shillings.
    #[tokio::test]
    async fn an_intent_is_created_from_the_order_in_stripes_unit() {
        let (stripe, asked) = stripe(INTENT.to_owned());

        let created = stripe.create(&payment(), "key-1", Deadline::UNKNOWN).await;

        let created = created.expect("an intent");
        assert!(created.is_of(&payment().order));
        assert_eq!(stripe.name(), "stripe");
        let asked = asked.join().expect("asked");
        let (head, form) = asked.split_once("\r\n\r\n").expect("a body");
        assert!(
            head.starts_with("POST /v1/payment_intents HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("authorization: Bearer sk_1\r\n"), "{head}");
        assert!(head.contains("idempotency-key: key-1-"), "{head}");
        let form: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).collect();
        let expected = [
            ("amount", "70000"),
            ("currency", "ugx"),
            ("payment_method", "pm_1"),
            ("payment_method_types[0]", "card"),
            ("metadata[description]", "Tea"),
            ("metadata[environment]", "development"),
            ("metadata[order]", "A-1"),
            ("metadata[payment_id]", "pay_1"),
        ];
        assert_eq!(
            form,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[tokio::test]
    async fn a_response_of_more_than_a_megabyte_is_rejected() {
        for (length, is_read) in [(1_048_576, true), (1_048_577, false)] {
            let (stripe, _) = stripe(INTENT.to_owned() + &" ".repeat(length - INTENT.len()));
            let created = stripe.create(&payment(), "key-1", Deadline::UNKNOWN).await;
            let too_long = Some(ProviderError::OutcomeUnknown("unexpected_answer"));
            let expected = if is_read { None } else { too_long };
            assert_eq!(created.err(), expected, "{length}");
        }
    }
}
