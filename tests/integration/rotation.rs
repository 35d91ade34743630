//! The rotation of a password during requests.
//!
//! Clients pay in a loop during the rotation, and the tests count failed payments. The function has no fallback for Redis,
//! so a payment fails if the function cannot use Redis.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use harness::{Lambda, RedisCluster, RedisServer, SecretsManager, TestRequest, eventually};
use serde_json::json;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const CLIENTS: usize = 4;
/// The minimum number of payments before a change. The same number of payments must follow the change.
const ENOUGH: usize = 40;

/// A function with clients that pay, and the secret with which the function logs in to Redis.
struct World {
    aws: SecretsManager,
    arn: String,
    lambda: Lambda,
    /// The folder of the ledger.
    _folder: TempDir,
    made: AtomicUsize,
    failed: AtomicUsize,
    /// Whether the clients should stop.
    stopping: AtomicBool,
}

impl World {
    async fn new(url: &str, variables: &[(&str, &str)]) -> Self {
        let aws = SecretsManager::start().await;
        let arn = aws.create("truebond/redis", url).await;
        let folder = TempDir::new().expect("a folder");
        let function = Lambda::function("payments-create")
            .env("REDIS_URL_SECRET_ARN", &arn)
            .env("IDEMPOTENCY_FALLBACK", "reject")
            .env("LEDGER_DIR", &folder.path().to_string_lossy())
            .envs(variables)
            .concurrency(CLIENTS);
        let lambda = aws.serving(function).start().await;
        for password in ["planted-one", "planted-two"] {
            lambda.plant_secret(password);
        }
        Self {
            aws,
            arn,
            lambda,
            _folder: folder,
            made: AtomicUsize::default(),
            failed: AtomicUsize::default(),
            stopping: AtomicBool::default(),
        }
    }

    /// Runs `change` while clients pay. Before `change` and after it, waits until the clients have made enough payments. Returns
    /// the number of failed payments.
    async fn failed_during(&self, change: impl AsyncFnOnce()) -> usize {
        let changing = async {
            self.enough().await;
            change().await;
            self.enough().await;
            self.stopping.store(true, Ordering::Relaxed);
        };
        let clients = join_all((0..CLIENTS).map(|client| self.pay_until_stopped(client)));
        tokio::join!(changing, clients);
        self.lambda.assert_no_secret_in_logs();
        self.failed.load(Ordering::Relaxed)
    }

    /// The warnings and errors in the log.
    fn warnings(&self) -> String {
        let lines = self.lambda.logs().into_iter();
        let warnings = lines.filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""));
        warnings.collect::<Vec<_>>().join("\n")
    }

    async fn enough(&self) {
        let before = self.made.load(Ordering::Relaxed);
        eventually(LIMIT, async || {
            self.made.load(Ordering::Relaxed) >= before + ENOUGH
        })
        .await;
    }

    async fn pay_until_stopped(&self, client: usize) {
        for number in 0.. {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            let request = TestRequest::post("/api/payments")
                .header("Idempotency-Key", &format!("{client}-{number}"))
                .json(
                    &json!({"amount": 1000, "currency": "EUR", "payment_method": "pm_card_visa"}),
                );
            let answer = self.lambda.request(request).await;
            let count = match answer.status {
                201 => &self.made,
                _ => &self.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn set_user(redis: &RedisServer, rules: &[&str]) {
    let mut command = vec!["ACL", "SETUSER", "app", "on", "~*", "&*", "+@all"];
    command.extend(rules);
    redis.command(&command).await;
}

async fn end_connections(redis: &RedisServer) {
    redis.command(&["CLIENT", "KILL", "USER", "app"]).await;
}

/// A Redis with the user `app`.
async fn redis() -> RedisServer {
    let redis = RedisServer::start().await;
    set_user(&redis, &[">planted-one"]).await;
    redis.command(&["ACL", "SETUSER", "default", "off"]).await;
    redis
}

#[tokio::test]
async fn a_rotation_with_two_valid_passwords_fails_no_request() {
    let redis = redis().await;
    let world = World::new(&redis.url_with("app", "planted-one"), &[]).await;

    let failed = world
        .failed_during(async || {
            set_user(&redis, &[">planted-two"]).await;
            let url = redis.url_with("app", "planted-two");
            world.aws.replace(&world.arn, &url).await;
            end_connections(&redis).await;
            world.enough().await;
            set_user(&redis, &["<planted-one"]).await;
            end_connections(&redis).await;
        })
        .await;

    assert_eq!(failed, 0, "{}", world.warnings());
}

#[tokio::test]
async fn a_rotation_of_the_secret_before_the_password_fails_no_request() {
    let redis = redis().await;
    let world = World::new(&redis.url_with("app", "planted-one"), &[]).await;

    let failed = world
        .failed_during(async || {
            let url = redis.url_with("app", "planted-two");
            world.aws.replace(&world.arn, &url).await;
            set_user(&redis, &["resetpass", ">planted-two"]).await;
            end_connections(&redis).await;
        })
        .await;

    assert_eq!(failed, 0, "{}", world.warnings());
    assert_eq!(world.aws.reads(), 2);
}

#[tokio::test]
async fn requests_recover_when_the_secret_is_rotated_after_the_password() {
    let redis = redis().await;
    let world = World::new(&redis.url_with("app", "planted-one"), &[]).await;

    let failed = world
        .failed_during(async || {
            set_user(&redis, &["resetpass", ">planted-two"]).await;
            end_connections(&redis).await;
            eventually(LIMIT, async || {
                world.failed.load(Ordering::Relaxed) > ENOUGH
            })
            .await;
            let url = redis.url_with("app", "planted-two");
            world.aws.replace(&world.arn, &url).await;
        })
        .await;

    assert!(failed > ENOUGH, "{failed}");
    assert!(world.aws.reads() < 10, "{}", world.aws.reads());
}

#[tokio::test]
async fn a_rotation_in_a_cluster_fails_no_request() {
    let cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        set_user(node, &[">planted-one"]).await;
        node.command(&["ACL", "SETUSER", "default", "off"]).await;
    }
    let node = &cluster.nodes()[0];
    let url = node.url_with("app", "planted-one");
    let world = World::new(&url, &[("REDIS_CLUSTER", "true")]).await;

    let failed = world
        .failed_during(async || {
            let url = node.url_with("app", "planted-two");
            world.aws.replace(&world.arn, &url).await;
            for node in cluster.nodes() {
                set_user(node, &["resetpass", ">planted-two"]).await;
            }
            for node in cluster.nodes() {
                end_connections(node).await;
                world.enough().await;
            }
        })
        .await;

    assert_eq!(failed, 0, "{}", world.warnings());
}
