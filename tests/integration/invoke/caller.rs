//! A remote caller of the function. Each request and each reply is validated against the schema.

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use bytes::Bytes;
use harness::lambda::LambdaBuilder;
use harness::{CacheUser, Lambda, MongoServer, Outcome, RedisServer};
use serde_json::{Value, json};
use shared::idempotency::OwnerId;

/// A caller of one process of the function.
pub(crate) struct Caller {
    pub(crate) lambda: Lambda,
    /// The Redis server of the function, if the function uses Redis. Dropping the caller ends the server.
    pub(crate) redis: Option<RedisServer>,
}

struct Schema {
    schemas: Schemas,
    request: SchemaIndex,
    answer: SchemaIndex,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let text = include_str!("../../../functions/idempotency/schema.json");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = serde_json::from_str(text).expect("JSON");
    let id = "urn:truebond:idempotency";
    compiler.add_resource(id, schema).expect("a schema");
    let mut part = |name: &str| {
        let part = format!("{id}#/$defs/{name}");
        compiler.compile(&part, &mut schemas).expect("a schema")
    };
    let (request, answer) = (part("request"), part("answer"));
    Schema {
        schemas,
        request,
        answer,
    }
});

/// A Redis server whose user has the permissions of the function `idempotency` in template.yaml.
async fn redis() -> RedisServer {
    let user = CacheUser::Idempotency;
    let server = RedisServer::builder().user(user.name(), user.name(), &user.rules());
    server.start().await
}

impl Caller {
    pub(crate) async fn of(lambda: LambdaBuilder) -> Self {
        Self {
            lambda: lambda.start().await,
            redis: None,
        }
    }

    pub(crate) async fn memory() -> Self {
        Self::of(function()).await
    }

    pub(crate) async fn redis() -> Self {
        let redis = redis().await;
        let lambda = on_redis(&redis.url()).start().await;
        Self {
            lambda,
            redis: Some(redis),
        }
    }

    pub(crate) async fn tiered() -> Self {
        let (redis, mongo) = (redis().await, MongoServer::shared().await);
        let lambda = on_redis(&redis.url())
            .env("MONGODB_URI", &mongo.uri())
            .env("MONGODB_DATABASE", &mongo.fresh_database());
        Self {
            lambda: lambda.start().await,
            redis: Some(redis),
        }
    }

    /// Sends a request and returns the reply. Checks that the schema and the function agree: both accept the request,
    /// or both reject it.
    pub(crate) async fn ask(&self, request: &Value) -> Value {
        let answer = self.ask_beyond_the_schema(request).await;
        let fits = SCHEMA.schemas.validate(request, SCHEMA.request);
        assert_eq!(
            fits.is_ok(),
            answer["outcome"] != "invalid",
            "{request}\n{answer}\n{fits:?}"
        );
        answer
    }

    /// Sends a request that the schema cannot validate completely, and returns the reply.
    pub(crate) async fn ask_beyond_the_schema(&self, request: &Value) -> Value {
        let text = self.ask_text(request.to_string()).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        if let Err(error) = SCHEMA.schemas.validate(&answer, SCHEMA.answer) {
            panic!("{error:#}\nin the answer {answer}\nto {request}");
        }
        answer
    }

    /// Sends these bytes, even if they are not valid JSON, and returns the text of the reply.
    pub(crate) async fn ask_text(&self, request: impl Into<Bytes>) -> String {
        match self.lambda.invoke_bytes(request).await {
            Outcome::Answered(answer) => String::from_utf8(answer.into()).expect("UTF-8"),
            other => panic!("not answered: {other:?}\n{}", self.lambda.log_text()),
        }
    }

    /// Sends any JSON, including JSON that a [`Value`] cannot hold, and returns the reply.
    pub(crate) async fn ask_json(&self, request: impl Into<Bytes>) -> Value {
        serde_json::from_str(&self.ask_text(request).await).expect("JSON")
    }

    /// Sends a `begin` and returns the reply. Checks that an attempt starts.
    pub(crate) async fn started(&self, begin: &Value) -> Value {
        let answer = self.ask(begin).await;
        assert_eq!(answer["outcome"], "started", "{answer}");
        answer
    }

    /// Sends a `begin` and returns the lease. Checks that an attempt starts.
    pub(crate) async fn lease(&self, begin: &Value) -> Value {
        self.started(begin).await["lease"].clone()
    }

    /// Sends a `begin`, and completes its key with this response.
    pub(crate) async fn completed(&self, begin: &Value, response: Value) {
        let lease = self.lease(begin).await;
        let answer = self.ask(&complete(&lease, response)).await;
        assert_eq!(answer, json!({"outcome": "completed"}));
    }

    /// Sends a request of a lease holder, and returns the reply.
    pub(crate) async fn ask_with_lease(&self, operation: &str, lease: &Value) -> Value {
        self.ask(&lease_request(operation, lease)).await
    }
}

/// The function with the settings of development, without stores.
pub(crate) fn function() -> LambdaBuilder {
    Lambda::function("idempotency")
}

/// The function with Redis, alone or in front of MongoDB.
pub(crate) fn on_redis(url: &str) -> LambdaBuilder {
    function()
        .env("REDIS_URL", url)
        .env("IDEMPOTENCY_FALLBACK", "reject")
}

/// A `begin` request for a payment of ten euros with this key. The request has the default policy (at most one run) and
/// a new owner id.
pub(crate) fn begin(key: &str) -> Value {
    json!({
        "operation": "begin",
        "scope": "orders",
        "key": key,
        "payload": {"amount": 10, "currency": "EUR"},
        "owner": OwnerId::fresh().to_string(),
    })
}

/// Returns the request with this member set to this value.
pub(crate) fn with(mut request: Value, member: &str, value: impl Into<Value>) -> Value {
    request[member] = value.into();
    request
}

pub(crate) fn lease_request(operation: &str, lease: &Value) -> Value {
    json!({"operation": operation, "lease": lease})
}

pub(crate) fn complete(lease: &Value, response: Value) -> Value {
    with(lease_request("complete", lease), "response", response)
}

pub(crate) fn checkpoint(lease: &Value, data: Value) -> Value {
    with(lease_request("checkpoint", lease), "data", data)
}

pub(crate) fn status(key: &str) -> Value {
    json!({"operation": "status", "scope": "orders", "key": key})
}
