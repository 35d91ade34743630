//! Tests which processes sign saved responses, and which saved responses a process accepts.

use foundation::environment::Host;
use foundation::secret::{Secret, SecretSource, Secrets};
use harness::MongoServer;
use idempotency::{Blocked, ClaimOutcome, Operation, SavedResponse, UnknownCause};
use mongo_client::{Mongo, MongoConfig};

use super::*;
use crate::Setup;

/// A process without MAC keys does not sign.
#[tokio::test]
async fn an_unsigned_saved_response_is_accepted_in_development_only() {
    let server = MongoServer::shared().await;
    let cases = [
        ("development", None, None, true),
        ("production", None, None, false),
        ("production", Some("0123456789abcdef"), None, false),
        ("production", None, Some("0123456789abcdef"), false),
        (
            "production",
            Some("0123456789abcdef"),
            Some("0123456789abcdef"),
            true,
        ),
        ("development", None, Some("0123456789abcdef"), false),
        ("development", Some("0123456789abcdef"), None, true),
    ];
    for (environment, signs_with, accepts_with, expected) in cases {
        let config = MongoConfig::at(server.uri(), server.fresh_database());
        let mongo = Mongo::new(&config, &Secrets::without_store());
        let engine = |key: Option<&str>| {
            let mut setup = Setup {
                environment: Environment::new(environment, Host::Laptop),
                ..Setup::sandbox("nowhere")
            };
            setup.config.mac_keys = key.map(|key| SecretSource::Given(Secret::new(key)));
            Idempotency::new(idempotency::Setup {
                environment: environment.to_owned(),
                response_keys: setup.response_keys(),
                ..idempotency::Setup::of(Stores {
                    mongodb: Some(mongo.clone()),
                    ..Stores::default()
                })
            })
        };
        let scope = Scope::http("payments.create", "local").expect("a scope");
        let key = IdempotencyKey::parse("k-1").expect("a key");
        let fingerprint = Fingerprint::of(&idempotency::Request::default()).expect("one");
        let operation = Operation::new(RecordKey::new(&scope, &key), fingerprint);
        let claim = async |key| {
            let claimed = engine(key).claim(&operation, Deadline::UNKNOWN).await;
            claimed.expect("decided").value
        };
        let ClaimOutcome::Claimed(lease) = claim(signs_with).await else {
            panic!("a fresh key starts");
        };
        let response = SavedResponse::new(StatusCode::CREATED, "charged");
        lease.complete(response).await;

        let repeated = claim(accepts_with).await;

        let case = format!("{environment}, {signs_with:?}, {accepts_with:?}: {repeated:?}");
        match repeated {
            ClaimOutcome::Blocked(Blocked::Replay(_)) => assert!(expected, "{case}"),
            ClaimOutcome::Blocked(Blocked::Unknown(UnknownCause::Unreadable)) => {
                assert!(!expected, "{case}")
            }
            _ => panic!("{case}"),
        }
    }
}
