//! A shop: the payment functions with a ledger and a provider, and clients that retry.

use std::time::Duration;

use harness::{Answer, Lambda, LambdaBuilder, MongoServer, TestRequest};
use mongodb::Collection;
use mongodb::bson::Document;
use serde_json::{Value, json};
use shared::App;
use shared::idempotency::Idempotency;
use tempfile::TempDir;

use crate::openapi;

/// The functions, and the stores that they share.
pub(super) struct Shop {
    pub(super) create: Lambda,
    pub(super) get: Lambda,
    /// The folder of the sandbox's intents and, without MongoDB, of the ledger. Dropping the shop removes the folder.
    pub(super) folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Shop {
    /// A shop on a laptop, without stores: keys are in memory, and the ledger is in files.
    pub(super) async fn on_a_laptop() -> Self {
        Self::with(&[]).await
    }

    /// A shop with MongoDB and these variables.
    pub(super) async fn with_mongodb(variables: &[(&str, &str)]) -> Self {
        let server = MongoServer::shared().await;
        let (uri, database) = (server.uri(), server.fresh_database());
        let mut all = vec![
            ("MONGODB_URI", uri.as_str()),
            ("MONGODB_DATABASE", &database),
        ];
        all.extend(variables);
        Self::with(&all).await
    }

    pub(super) async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut owned: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let ledger = folder.path().to_string_lossy().into_owned();
        owned.push(("LEDGER_DIR".to_owned(), ledger));
        let create = function("payments-create", &owned).start().await;
        let get = function("payments-get", &owned).start().await;
        Self {
            create,
            get,
            folder,
            variables: owned,
        }
    }

    /// The ledger in MongoDB.
    pub(super) async fn ledger(&self) -> Collection<Document> {
        self.collection("payments").await
    }

    /// A collection in MongoDB.
    pub(super) async fn collection(&self, name: &str) -> Collection<Document> {
        let database = self.variable("MONGODB_DATABASE");
        let server = MongoServer::shared().await;
        server.collection(database, name).await
    }

    /// Builds an engine with the functions' settings and these variables.
    pub(super) fn engine(&self, more: &[(&str, &str)]) -> Idempotency {
        let lookup = |variable: &str| {
            let more = more.iter().find(|(name, _)| *name == variable);
            let own = || self.variables.iter().find(|(name, _)| name == variable);
            match more {
                Some((_, value)) => Some((*value).into()),
                None => own().map(|(_, value)| value.into()),
            }
        };
        App::from_lookup(lookup).expect("usable").idempotency()
    }

    fn variable(&self, name: &str) -> &str {
        let mut variables = self.variables.iter();
        let variable = variables.find(|(set, _)| set == name);
        let (_, value) = variable.expect("a shop with MongoDB");
        value
    }

    /// Starts another process of `payments-create`.
    pub(super) async fn another(&self) -> Lambda {
        function("payments-create", &self.variables).start().await
    }

    /// Starts another process that handles this many requests concurrently, as on Lambda Managed Instances.
    pub(super) async fn parallel(&self, concurrency: usize) -> Lambda {
        let builder = function("payments-create", &self.variables);
        builder.concurrency(concurrency).start().await
    }

    /// Starts another process with this timeout.
    pub(super) async fn another_with_timeout(&self, timeout: Duration) -> Lambda {
        let builder = function("payments-create", &self.variables);
        builder.timeout(timeout).start().await
    }

    /// Starts another function, with these additional variables.
    pub(super) async fn function(&self, name: &str, more: &[(&str, &str)]) -> Lambda {
        function(name, &self.variables).envs(more).start().await
    }

    pub(super) async fn pay(&self, key: &str, body: &Value) -> Answer {
        let answer = self.create.request(payment(key, body)).await;
        openapi::check("/api/payments", "post", &answer);
        answer
    }

    pub(super) async fn show(&self, id: &str) -> Answer {
        let answer = self.get.request(shown(id)).await;
        openapi::check("/api/payments/{id}", "get", &answer);
        answer
    }

    /// The statuses of all intents in the sandbox.
    pub(super) fn intents(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.folder.path().join("sandbox")) else {
            return Vec::new();
        };
        let mut statuses: Vec<_> = files
            .filter_map(|file| {
                let path = file.expect("readable").path();
                let is_intent = path
                    .extension()
                    .is_some_and(|extension| extension == "json");
                is_intent.then(|| std::fs::read_to_string(path).expect("readable"))
            })
            .map(|text| {
                let kept: Value = serde_json::from_str(&text).expect("JSON");
                kept["intent"]["status"]
                    .as_str()
                    .expect("a status")
                    .to_owned()
            })
            .collect();
        statuses.sort();
        statuses
    }
}

fn function(name: &str, variables: &[(String, String)]) -> LambdaBuilder {
    variables
        .iter()
        .fold(Lambda::function(name), |builder, (name, value)| {
            builder.env(name, value)
        })
}

/// A request for a payment.
pub(super) fn payment(key: &str, body: &Value) -> TestRequest {
    TestRequest::post("/api/payments")
        .header("Idempotency-Key", key)
        .json(body)
}

pub(super) fn shown(id: &str) -> TestRequest {
    TestRequest::get(&format!("/api/payments/{id}"))
        .route("/api/payments/{id}")
        .path_parameter("id", id)
}

/// An order of ten euros with this payment method.
pub(super) fn ten_euros(method: &str) -> Value {
    json!({"amount": 1000, "currency": "EUR", "payment_method": method})
}

pub(super) fn problem(answer: &Answer) -> String {
    let kind = answer.json()["type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    kind.trim_start_matches("urn:truebond:problem:").to_owned()
}

/// The kinds of all anomalies that a function has counted.
pub(super) fn anomalies(function: &Lambda) -> Vec<String> {
    let lines = function.log_events();
    let counted = lines.iter().filter(|line| line["PaymentAnomalies"] == 1.0);
    let kinds = counted.map(|line| line["anomaly"].as_str().expect("a kind").to_owned());
    kinds.collect()
}
