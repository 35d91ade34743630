//! The number of connections that a function opens. docs/deploy-choices.md calculates with these numbers.

use harness::{
    FaultProxy, Lambda, LambdaBuilder, MongoServer, RedisServer, StripeEvent, TestRequest,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Redis and MongoDB, each behind a proxy that counts connections.
struct Stores {
    redis: RedisServer,
    to_redis: FaultProxy,
    to_mongodb: FaultProxy,
    folder: TempDir,
}

/// The number of invocations of each function in the test.
const INVOCATIONS: usize = 40;
const SECRET: &str = "whsec_0123456789abcdef";

impl Stores {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let mongodb = MongoServer::shared().await;
        Self {
            to_redis: FaultProxy::in_front_of(redis.address()),
            to_mongodb: FaultProxy::in_front_of(mongodb.address()),
            redis,
            folder: TempDir::new().expect("a folder"),
        }
    }

    async fn function(&self, name: &str) -> LambdaBuilder {
        let mongodb = MongoServer::shared().await;
        Lambda::function(name)
            .env("REDIS_URL", &self.redis.url_through(&self.to_redis))
            .env("MONGODB_URI", &mongodb.uri_through(&self.to_mongodb))
            .env("MONGODB_DATABASE", &mongodb.fresh_database())
            .env("LEDGER_DIR", &self.folder.path().to_string_lossy())
            .env("STRIPE_WEBHOOK_SECRETS", SECRET)
            .env("HEALTH_MEMO_MS", "0")
    }

    fn opened(&self) -> (usize, usize) {
        (self.to_redis.accepted(), self.to_mongodb.accepted())
    }
}

/// An event that invokes `function`. If the event contains a key or an id, that key or id is different for each
/// `number`.
fn event(function: &str, number: usize) -> Value {
    let key = format!("k-{number}");
    match function {
        "health-redis" => TestRequest::get("/api/health/redis").event(),
        "health-detailed" => TestRequest::get("/api/health/detailed").event(),
        "payments-create" => {
            let order =
                json!({"amount": 1000, "currency": "EUR", "payment_method": "pm_sandbox_ok"});
            TestRequest::post("/api/payments")
                .header("Idempotency-Key", &key)
                .json(&order)
                .event()
        }
        "payments-get" => {
            let id = format!("pay_{number:032x}");
            TestRequest::get(&format!("/api/payments/{id}"))
                .route("/api/payments/{id}")
                .path_parameter("id", &id)
                .event()
        }
        "payments-webhook" => {
            let id = format!("pay_{number:032x}");
            StripeEvent::new(
                &format!("evt_{number}"),
                "payment_intent.processing",
                "pi_1",
                &id,
            )
            .request(&[SECRET])
            .event()
        }
        "payments-reconcile" => json!({"source": "aws.scheduler"}),
        "idempotency" => json!({
            "operation": "begin", "scope": "orders", "key": key, "payload": {},
            "owner": format!("{number:032x}"), "lease_ms": 1000,
        }),
        _ => panic!("no event for {function}"),
    }
}

#[tokio::test]
async fn a_function_holds_one_connection_to_redis_and_two_to_mongodb() {
    // One of the two connections to MongoDB is the driver's monitoring.
    let cases = [
        ("health-redis", (1, 0)),
        ("health-detailed", (1, 2)),
        ("payments-create", (1, 2)),
        ("payments-get", (0, 2)),
        ("payments-webhook", (1, 2)),
        // The reconciler uses Redis only if it completes a key.
        ("payments-reconcile", (0, 2)),
        ("idempotency", (1, 2)),
    ];
    for (name, expected) in cases {
        let stores = Stores::start().await;
        let function = stores.function(name).await.start().await;
        for number in 0..INVOCATIONS {
            function.invoke(event(name, number)).await;
        }
        assert_eq!(stores.opened(), expected, "{name}");
    }
}
