//! `truebond-ops` with stores that hold payments and keys.

mod hostile;
mod keys;
mod laptop;

use std::process::{Command, Output};

use harness::{
    Lambda, MongoServer, RedisCluster, RedisServer, STRIPE_TEST_KEY, StripeServer, TENANT,
    TestRequest,
};
use mongodb::bson::doc;
use serde_json::{Value, json};
use shared::idempotency::{IdempotencyKey, RecordKey, Scope};

use crate::parity::names;

/// A deployment with payments, and the environment in which `truebond-ops` runs.
struct World {
    stripe: StripeServer,
    _redis: RedisServer,
    create: Lambda,
    variables: Vec<(String, String)>,
}

const PASSWORD: &str = "planted-password";

impl World {
    /// A deployment with MongoDB, Redis in front of MongoDB, and a simulated Stripe.
    async fn new() -> Self {
        let (stripe, mongo) = (StripeServer::start().await, MongoServer::shared().await);
        let redis = RedisServer::builder().password(PASSWORD).start().await;
        let variables = [
            ("REDIS_URL", redis.url()),
            ("MONGODB_URI", mongo.uri()),
            ("MONGODB_DATABASE", mongo.fresh_database()),
            ("PAYMENT_PROVIDER", "stripe".to_owned()),
            ("STRIPE_API_KEY", STRIPE_TEST_KEY.to_owned()),
            ("STRIPE_API_BASE", StripeServer::url_at(stripe.address())),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        Self {
            stripe,
            _redis: redis,
            create: function(&variables).await,
            variables,
        }
    }

    /// Starts `payments-create` with Redis alone and the sandbox provider. Returns the function and
    /// its variables.
    async fn of_redis(
        url: String,
        is_cluster: bool,
        folder: &str,
    ) -> (Lambda, Vec<(String, String)>) {
        let variables = [
            ("REDIS_URL", url),
            ("REDIS_CLUSTER", is_cluster.to_string()),
            ("LEDGER_DIR", folder.to_owned()),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        (function(&variables).await, variables)
    }

    fn database(&self) -> &str {
        let mut variables = self.variables.iter();
        let (_, database) = variables
            .find(|(name, _)| name == "MONGODB_DATABASE")
            .expect("set");
        database
    }

    async fn pay(&self, key: &str, method: &str) -> Value {
        pay(&self.create, key, method).await
    }

    fn ops(&self, arguments: &[&str]) -> String {
        let output = ops(&self.variables, arguments);
        let text = text(&output.stdout);
        assert!(
            output.status.success(),
            "{}{text}",
            self::text(&output.stderr)
        );
        for secret in [PASSWORD, STRIPE_TEST_KEY] {
            assert!(!text.contains(secret));
        }
        text
    }

    fn ops_json(&self, arguments: &[&str]) -> Value {
        let text = self.ops(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }
}

async fn function(variables: &[(String, String)]) -> Lambda {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Lambda::function("payments-create")
        .envs(&variables)
        .start()
        .await
}

async fn pay(create: &Lambda, key: &str, method: &str) -> Value {
    let order = json!({"amount": 1999, "currency": "EUR", "payment_method": method});
    let request = TestRequest::post("/api/payments").header("Idempotency-Key", key);
    create.request(request.json(&order)).await.json()
}

fn ops(variables: &[(String, String)], arguments: &[&str]) -> Output {
    let mut command = Command::new(Lambda::function("truebond-ops").binary());
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned());
    command.output().expect("truebond-ops runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a text")
}

#[tokio::test]
async fn an_open_payment_is_listed_shown_and_settled() {
    let world = World::new().await;
    world.pay("k-0", "pm_card_visa").await;
    assert_eq!(world.ops(&["payments", "open"]), "No payment is open.\n");
    let card = world.stripe.card("4000002500003155").await;
    let acting = world.pay("k-1", &card).await;
    let id = acting["id"].as_str().expect("an id");

    let open = world.ops(&["payments", "open"]);
    assert!(
        open.contains(id) && open.contains("19.99 EUR") && open.contains(" ago"),
        "{open}"
    );
    assert!(
        open.contains("The customer is not charged before completing an action"),
        "{open}"
    );
    let listed = world.ops_json(&["payments", "open"]);
    assert_eq!(
        (listed.as_array().map(Vec::len), &listed[0]["id"]),
        (Some(1), &json!(id))
    );

    let waiting = world.ops(&["payments", "settle", id]);
    let expected = [
        "the intent is requires_action",
        "otherwise payments-reconcile closes the payment after ",
    ];
    assert!(
        expected.iter().all(|text| waiting.contains(text)),
        "{waiting}"
    );
    let shown = world.ops_json(&["payments", "show", id]);
    assert!(
        shown["ends"].is_string() && shown["found_at_provider"].is_null(),
        "{shown}"
    );
    let (intent, secret) = (&acting["provider_reference"], &acting["client_secret"]);
    let [intent, secret] = [intent, secret].map(|text| text.as_str().expect("a text"));
    world.stripe.authenticate(intent, secret, true).await;
    let settled = world.ops_json(&["payments", "settle", id]);
    assert_eq!(
        (&settled["state"], &settled["is_final"]),
        (&json!("succeeded"), &json!(true))
    );
    assert_eq!(settled["found_at_provider"], "the intent is succeeded");
    assert_eq!(settled["ends"], Value::Null);
    let again = world.ops_json(&["payments", "settle", id]);
    let not_asked = "not asked: the payment had already ended";
    assert_eq!(again["found_at_provider"], not_asked);
    let shown = world.ops(&["payments", "show", id]);
    assert!(
        shown.contains("The customer was charged.") && shown.contains(intent),
        "{shown}"
    );
    assert!(!shown.contains(secret));
    assert_eq!(world.ops(&["payments", "open"]), "No payment is open.\n");
}

/// Regression: for a ledger with only unreadable rows, `payments open` printed "No payment is
/// open."
#[tokio::test]
async fn an_unreadable_payment_is_listed_below_the_open_ones() {
    let world = World::new().await;
    let paid = world.pay("k-1", "pm_card_visa").await;
    let id = paid["id"].as_str().expect("an id");
    let mongo = MongoServer::shared().await;
    let ledger = mongo.collection(world.database(), "payments").await;
    let filter = doc! { "_id": id };
    let broken = doc! { "$set": { "state": "succeded" } };
    ledger.update_one(filter, broken).await.expect("broken");
    for number in 0..3 {
        let row = doc! { "_id": format!("pay_x{number}"), "state": "unknown" };
        ledger.insert_one(row).await.expect("inserted");
    }
    let open = |more: &[&str]| {
        let output = ops(&world.variables, &[&["payments", "open"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        text(&output.stdout)
    };

    let listed = open(&[]);

    assert!(
        listed.starts_with("No readable payment is open.\n\nUNREADABLE\n"),
        "{listed}"
    );
    assert!(listed.contains(id) && listed.contains("pay_x2"), "{listed}");
    let card = world.stripe.card("4000002500003155").await;
    let acting = world.pay("k-2", &card).await;
    // The limit counts readable payments only, although the unreadable payments are older.
    let listed = open(&["--limit", "1"]);
    let open_one = acting["id"].as_str().expect("an id");
    let at = |part: &str| listed.find(part).expect(part);
    assert!(at(open_one) < at("UNREADABLE"), "{listed}");
    let listed: Value = serde_json::from_str(&open(&["--json"])).expect("JSON");
    let unreadable = listed.as_array().expect("a list").iter();
    let unreadable: Vec<_> = unreadable.map(|row| row["unreadable"] == true).collect();
    assert_eq!(unreadable, [false, true, true, true, true]);

    for command in ["show", "settle"] {
        let output = ops(&world.variables, &["payments", command, id]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains("the ledger row of the payment is damaged"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn payments_are_shown_without_the_providers_key() {
    let world = World::new().await;
    let paid = world.pay("k-1", "pm_card_visa").await;
    let id = paid["id"].as_str().expect("an id");
    let mut variables = world.variables.clone();
    variables.retain(|(name, _)| name != "STRIPE_API_KEY");

    let shown = ops(&variables, &["payments", "show", id]);
    let open = ops(&variables, &["payments", "open"]);
    let settled = ops(&variables, &["payments", "settle", id]);

    assert!(text(&shown.stdout).contains("The customer was charged."));
    assert_eq!(text(&open.stdout), "No payment is open.\n");
    assert_eq!(settled.status.code(), Some(1));
    let error = text(&settled.stderr);
    assert!(
        error.contains("set PAYMENT_PROVIDER, and STRIPE_API_KEY"),
        "{error}"
    );
}

#[tokio::test]
async fn keys_are_listed_and_shown_from_redis_mongodb_and_a_cluster() {
    let world = World::new().await;
    let (redis, cluster) = (RedisServer::start().await, RedisCluster::start().await);
    let folders = [(); 2].map(|()| tempfile::TempDir::new().expect("a folder"));
    let [one, many] = [0, 1].map(|number| folders[number].path().to_string_lossy());
    let (to_one, of_one) = World::of_redis(redis.url(), false, &one).await;
    let (to_many, of_many) = World::of_redis(cluster.url(), true, &many).await;
    // The cluster keeps these two keys on different nodes.
    for key in ["k-1", "k/2"] {
        for create in [&world.create, &to_one, &to_many] {
            pay(create, key, "pm_card_visa").await;
        }
    }
    for node in cluster.nodes() {
        assert!(node.keys("idempotency:*").await.len() < 2);
    }
    let scope = "http:payments.create:jwt:tester";
    for variables in [&world.variables, &of_one, &of_many] {
        let run = |arguments: &[&str]| {
            let output = ops(variables, &[arguments, &["--json"]].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
        };
        let list = run(&["key", "list"]);
        // The log contains the hash of a key instead of the key. The output has this hash as
        // `key_hash`.
        let expected = [("k/2", hash_of("k/2")), ("k-1", hash_of("k-1"))]
            .map(|(key, hash)| json!({"scope": scope, "key": key, "key_hash": hash}));
        let listed = list.as_array().expect("a list");
        assert!(
            listed.len() == 2 && expected.iter().all(|key| listed.contains(key)),
            "{list}"
        );
        assert_eq!(
            run(&["key", "list", "--limit", "1"])
                .as_array()
                .map(Vec::len),
            Some(1)
        );
        let shown = run(&["key", "show", scope, "k/2"]);
        assert_eq!(
            (&shown["progress"], &shown["status"]),
            (&json!("completed"), &json!(201))
        );
    }
    let shown = world.ops(&["key", "show", scope, "k-1"]);
    assert!(
        shown.contains("status 201") && shown.contains("rerun always"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_failed_command_names_the_reason_and_exits_with_1() {
    let none = format!("pay_{}", "0".repeat(32));
    let world = World::new().await;
    let redis = [("REDIS_URL".to_owned(), "redis://127.0.0.1:1".to_owned())];
    let cluster = [
        redis[0].clone(),
        ("REDIS_CLUSTER".to_owned(), "true".to_owned()),
    ];
    let production = [("ENVIRONMENT".to_owned(), "production".to_owned())];
    let cases: [(&[_], &[_], _); 9] = [
        (
            &world.variables,
            &["payments", "show", &none],
            "not found in this ledger",
        ),
        (
            &world.variables,
            &["payments", "settle", &none],
            "not found in this ledger",
        ),
        (
            &world.variables,
            &["payments", "show", "7"],
            "32 lower-case hexadecimal digits",
        ),
        (
            &world.variables,
            &["key", "show", "-", "k"],
            "not found in scope `-`",
        ),
        (
            &world.variables,
            &["key", "show", "x:y", "k"],
            "`x:y` is not a scope",
        ),
        (&[], &["key", "list"], "no idempotency store is configured"),
        (&redis, &["key", "list"], "redis store unavailable"),
        (&cluster, &["key", "list"], "redis store unavailable"),
        (&production, &["payments", "open"], "set MONGODB_URI"),
    ];
    for (variables, arguments, expected) in cases {
        let output = ops(variables, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains(STRIPE_TEST_KEY) && !error.contains(PASSWORD));
    }
    let help = ops(&[], &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("payments"));
    assert!(!names().contains("truebond-ops"), "it is not a function");
}

/// The hash of this key. The log contains the hash instead of the key. The key belongs to the
/// tenant of these tests.
fn hash_of(key: &str) -> String {
    let scope = Scope::http("payments.create", TENANT).expect("a scope");
    let key = IdempotencyKey::parse(key).expect("a key");
    RecordKey::new(&scope, &key).hash().to_string()
}
