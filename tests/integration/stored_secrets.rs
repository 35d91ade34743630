//! Settings in Secrets Manager: when they are read, and what happens if they cannot be read.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{
    Answer, Lambda, LambdaBuilder, MongoServer, RedisServer, SecretsManager, TestRequest,
    eventually, within,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "planted-redis-password";

/// A Redis whose URL is in Secrets Manager.
struct World {
    redis: RedisServer,
    aws: SecretsManager,
    arn: String,
}

impl World {
    async fn new() -> Self {
        let redis = RedisServer::builder()
            .user("app", PASSWORD, "~* &* +@all")
            .default_user("off")
            .start()
            .await;
        let aws = SecretsManager::start().await;
        let arn = aws.create("truebond/redis", &redis.url()).await;
        Self { redis, aws, arn }
    }

    /// `health-redis` with a probe at every request, and with time limits for a slow test machine.
    fn probing(&self) -> LambdaBuilder {
        let function = Lambda::function("health-redis")
            .env("HEALTH_MEMO_MS", "0")
            .env("HEALTH_CHECK_TIMEOUT_MS", "8000")
            .env("HEALTH_TOTAL_TIMEOUT_MS", "8500")
            .env("REDIS_URL_SECRET_ARN", &self.arn);
        self.aws.serving(function)
    }
}

async fn probe(lambda: &Lambda) -> Answer {
    lambda.get("/api/health/redis").await
}

fn outcome(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error_code"].clone())
}

#[tokio::test]
async fn a_secret_is_read_once_at_the_first_request() {
    let world = World::new().await;
    let lambda = world.probing().start().await;
    lambda.plant_secret(PASSWORD);
    assert_eq!(world.aws.reads(), 0, "nothing is read at the start");

    for _ in 0..5 {
        assert_eq!(probe(&lambda).await.status, 200);
    }
    world
        .redis
        .command(&["CLIENT", "KILL", "USER", "app"])
        .await;
    let answer = probe(&lambda).await;

    assert_eq!((answer.status, world.aws.reads()), (200, 1));
    let shown = format!("redis://***:***@127.0.0.1:{}", world.redis.port());
    assert_eq!(answer.json()["url"], shown);
    lambda.assert_no_secret_in_logs();
}

#[tokio::test]
async fn parallel_requests_read_a_secret_once() {
    let world = World::new().await;
    let lambda = world.probing().concurrency(8).start().await;

    let answers = join_all((0..8).map(|_| probe(&lambda))).await;

    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.aws.reads(), 1);
}

#[tokio::test]
async fn a_function_starts_without_secrets_manager_and_recovers() {
    let world = World::new().await;
    world.aws.proxy().refuse();
    let lambda = world
        .probing()
        .env("HEALTH_CHECK_TIMEOUT_MS", "9000")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "9000")
        .start()
        .await;

    let down = probe(&lambda).await;
    world.aws.proxy().heal();
    eventually(LIMIT, async || probe(&lambda).await.status == 200).await;

    assert_eq!(outcome(&down), (503, "no_credentials".into()));
    assert_eq!(down.json()["url"], "<not read yet>");
    assert!(lambda.log_text().contains("cannot read a secret"));
}

#[tokio::test]
async fn a_request_that_waits_for_secrets_manager_ends_at_its_deadline() {
    let world = World::new().await;
    world.aws.proxy().black_hole();
    let lambda = world
        .probing()
        .env("HEALTH_CHECK_TIMEOUT_MS", "800")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "1000")
        .concurrency(4)
        .start()
        .await;

    let asking = || within(Duration::from_secs(2), probe(&lambda));
    for answer in join_all((0..4).map(|_| asking())).await {
        assert_eq!(outcome(&answer), (503, "connect_timeout".into()));
    }
    world.aws.proxy().heal();
    eventually(LIMIT, async || probe(&lambda).await.status == 200).await;
}

#[tokio::test]
async fn the_log_names_the_variable_of_a_missing_secret() {
    let world = World::new().await;
    let missing = format!("{}x", world.arn);
    let lambda = world
        .probing()
        .env("REDIS_URL_SECRET_ARN", &missing)
        .start()
        .await;

    let answer = probe(&lambda).await;

    assert_eq!(outcome(&answer), (503, "no_credentials".into()));
    let logged = lambda.log_events();
    let warning = logged
        .iter()
        .find(|line| line["secret.variable"] == "REDIS_URL_SECRET_ARN")
        .expect("a line");
    let message = warning["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("cannot read a secret"), "{message}");
    assert_eq!(warning["secret.error_code"], "ResourceNotFoundException");
}

#[tokio::test]
async fn a_secret_that_is_no_url_is_not_shown() {
    let world = World::new().await;
    let with_query = format!("{}?db=1", world.redis.url());
    for secret in [PASSWORD, &with_query] {
        world.aws.replace(&world.arn, secret).await;
        let lambda = world.probing().start().await;
        lambda.plant_secret(PASSWORD);

        let answer = probe(&lambda).await;

        assert_eq!(outcome(&answer), (503, "invalid_url".into()));
        assert_eq!(answer.json()["url"], "<unparseable>");
        lambda.assert_no_secret_in_logs();
    }
}

#[tokio::test]
async fn an_old_value_is_read_again_and_stays_in_use_if_that_fails() {
    let world = World::new().await;
    let lambda = world
        .probing()
        .env("SECRETS_TTL_SECONDS", "1")
        .env("HEALTH_CHECK_TIMEOUT_MS", "2000")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "2500")
        .start()
        .await;
    assert_eq!(probe(&lambda).await.status, 200);

    let reconnected = async || {
        world
            .redis
            .command(&["CLIENT", "KILL", "USER", "app"])
            .await;
        probe(&lambda).await.status
    };
    // The secret is read when a connection is opened.
    eventually(LIMIT, async || {
        assert_eq!(reconnected().await, 200);
        world.aws.reads() >= 2
    })
    .await;
    // The read of the secret times out before the request does, so the request continues with the
    // old value.
    world.aws.proxy().black_hole();
    eventually(LIMIT, async || {
        assert_eq!(reconnected().await, 200);
        lambda.log_text().contains("cannot read a secret")
    })
    .await;
    assert_eq!(reconnected().await, 200);
}

#[tokio::test]
async fn a_password_that_stays_rejected_is_read_rarely() {
    let world = World::new().await;
    let lambda = world.probing().start().await;
    assert_eq!(probe(&lambda).await.status, 200);

    let rules = ["ACL", "SETUSER", "app", "resetpass", ">another"];
    world.redis.command(&rules).await;
    world
        .redis
        .command(&["CLIENT", "KILL", "USER", "app"])
        .await;
    let began = Instant::now();
    eventually(LIMIT, async || {
        assert_eq!(outcome(&probe(&lambda).await), (503, "auth_failed".into()));
        began.elapsed() > Duration::from_secs(3)
    })
    .await;

    // The client tries to connect to Redis twice a second, but reads the secret less often.
    assert!(world.aws.reads() <= 5, "{}", world.aws.reads());
}

#[tokio::test]
async fn the_mongodb_client_reads_its_secret_again_when_the_login_is_rejected() {
    let mongo = MongoServer::shared().await;
    let aws = SecretsManager::start().await;
    // This user does not exist, so the server rejects the login.
    let refused = mongo
        .uri()
        .replace("mongodb://", "mongodb://unknown:planted-password@");
    let arn = aws.create("truebond/mongodb", &refused).await;
    let function = Lambda::function("health-detailed")
        .env("HEALTH_MEMO_MS", "0")
        .env("HEALTH_CHECK_TIMEOUT_MS", "5000")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "5000")
        .env("MONGODB_URI_SECRET_ARN", &arn);
    let lambda = aws.serving(function).start().await;
    lambda.plant_secret("planted-password");
    let ask =
        async || lambda.get("/api/health/detailed").await.json()["services"]["mongodb"].clone();

    let before = ask().await;
    aws.replace(&arn, &mongo.uri()).await;
    eventually(LIMIT, async || ask().await["status"] == "connected").await;

    assert_eq!(before["error_code"], "auth_failed", "{before}");
    lambda.assert_no_secret_in_logs();
}

/// Regression: the deployment resolved the token into the function's environment variables, where
/// the token was readable.
#[tokio::test]
async fn the_token_for_health_details_can_be_in_a_secret() {
    let world = World::new().await;
    let (first, second) = ("first-token-of-health", "second-token-of-health");
    let arn = world.aws.create("truebond/health-token", first).await;
    let function = world.probing().env("ENVIRONMENT", "staging");
    let lambda = function
        .env("HEALTH_DETAILS_TOKEN_SECRET_ARN", &arn)
        .start()
        .await;
    let has_details = async |token: &str| {
        let request = TestRequest::get("/api/health/redis");
        let request = request.header("authorization", &format!("Bearer {token}"));
        let answer = lambda.request(request).await;
        assert_eq!(answer.status, 200);
        answer.json().get("operations").is_some()
    };
    assert!(!probe(&lambda).await.text().contains("operations"));
    let reads = world.aws.reads();
    assert_eq!(
        reads, 1,
        "only the URL was read, because no request had a token"
    );

    assert!(has_details(first).await);
    world.aws.replace(&arn, second).await;

    assert!(
        has_details(second).await,
        "the new token is valid after a rotation"
    );
    assert!(!has_details(first).await && !has_details("an-unknown-token").await);
    lambda.plant_secret(first);
    lambda.plant_secret(second);
    lambda.assert_no_secret_in_logs();
}
