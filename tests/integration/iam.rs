//! The login to ElastiCache with IAM tokens. A proxy in front of Redis (the gate) verifies the tokens as
//! ElastiCache does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::iam_gate::Login;
use harness::{
    CacheKind, FaultProxy, IamGate, IamUser, Lambda, LambdaBuilder, RedisCluster, RedisServer,
    eventually, within,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(20);

fn user(kind: CacheKind) -> IamUser {
    IamUser::new("payments", "truebond", kind)
}

async fn gate(kind: CacheKind) -> (RedisServer, IamGate) {
    let redis = RedisServer::start().await;
    let gate = IamGate::to(&redis, &user(kind)).await;
    (redis, gate)
}

/// `health-redis` with a probe at every request, and with time limits for a slow test machine.
fn probing() -> LambdaBuilder {
    Lambda::function("health-redis").envs(&[
        ("HEALTH_MEMO_MS", "0"),
        ("HEALTH_CHECK_TIMEOUT_MS", "8000"),
        ("HEALTH_TOTAL_TIMEOUT_MS", "8500"),
    ])
}

async fn status(lambda: &Lambda) -> u16 {
    lambda.get("/api/health/redis").await.status
}

/// Waits for the next second, because two tokens that are signed in the same second are equal.
async fn next_second() {
    let second = Timestamp::now().as_second();
    eventually(LIMIT, async || Timestamp::now().as_second() > second).await;
}

fn assert_all_are_good(logins: &[Login]) {
    for login in logins {
        assert_eq!(login.verdict, Ok(()), "{login:?}");
        assert_eq!(login.command, "HELLO", "{login:?}");
    }
}

#[tokio::test]
async fn every_connection_logs_in_with_a_new_token() {
    for kind in [CacheKind::Serverless, CacheKind::ReplicationGroup] {
        let (_redis, gate) = gate(kind).await;
        let lambda = gate.serving(probing()).start().await;
        assert!(
            gate.logins().is_empty(),
            "the function connects only when it needs Redis"
        );

        for connection in 1..=3 {
            for _ in 0..3 {
                assert_eq!(status(&lambda).await, 200);
            }
            assert_eq!(gate.logins().len(), connection);
            gate.close_connections();
            next_second().await;
        }

        let logins = gate.logins();
        assert_all_are_good(&logins);
        assert_ne!(logins[0].token, logins[1].token);
        assert_ne!(logins[1].token, logins[2].token);
        assert!(logins.iter().all(|login| login.user == "payments"));
    }
}

#[tokio::test]
async fn every_connection_to_a_node_logs_in_with_a_new_token() {
    let cluster = RedisCluster::start().await;
    let mut gates = Vec::new();
    for node in cluster.nodes() {
        let gate = IamGate::to(node, &user(CacheKind::Serverless)).await;
        let port = gate.port().to_string();
        node.command(&["CONFIG", "SET", "cluster-announce-ip", "127.0.0.1"])
            .await;
        node.command(&["CONFIG", "SET", "cluster-announce-port", &port])
            .await;
        gates.push(gate);
    }
    for node in cluster.nodes() {
        eventually(LIMIT, async || {
            let nodes: String = node.query(&["CLUSTER", "NODES"]).await;
            gates
                .iter()
                .all(|gate| nodes.contains(&format!(":{}@", gate.port())))
        })
        .await;
    }
    let lambda = gates[0]
        .serving(probing())
        .env("REDIS_CA_FILE", &authorities(&gates))
        .env("REDIS_CLUSTER", "true")
        .start()
        .await;

    // Each health probe opens a connection to every node to which no connection is open.
    let all_have = async |least: usize| {
        eventually(LIMIT, async || {
            assert_eq!(status(&lambda).await, 200);
            gates.iter().all(|gate| gate.logins().len() >= least)
        })
        .await;
    };
    all_have(1).await;
    let before: Vec<_> = gates.iter().map(|gate| gate.logins().len()).collect();
    for _ in 0..20 {
        assert_eq!(status(&lambda).await, 200);
    }
    let after: Vec<_> = gates.iter().map(|gate| gate.logins().len()).collect();
    assert_eq!(before, after, "no second login on a connection");

    next_second().await;
    for gate in &gates {
        gate.close_connections();
    }
    all_have(2).await;

    for gate in &gates {
        let logins = gate.logins();
        assert_all_are_good(&logins);
        assert_ne!(logins[0].token, logins[logins.len() - 1].token);
    }
}

/// A file with the CA certificates of all gates.
fn authorities(gates: &[IamGate]) -> String {
    let all: String = gates
        .iter()
        .map(|gate| std::fs::read_to_string(gate.ca_file()).expect("an authority"))
        .collect();
    let file = gates[0].ca_file().with_file_name("authorities.pem");
    std::fs::write(&file, all).expect("written");
    file.to_str().expect("a name in UTF-8").to_owned()
}

#[tokio::test]
async fn a_token_for_another_cache_user_region_or_key_is_rejected() {
    let (_redis, gate) = gate(CacheKind::Serverless).await;
    let wrong = [
        ("REDIS_CACHE_TYPE", "replication_group"),
        ("REDIS_CACHE_NAME", "another"),
        ("REDIS_USER", "another"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_SECRET_ACCESS_KEY", "another"),
        ("AWS_SESSION_TOKEN", "another"),
    ];
    for (number, (variable, value)) in wrong.into_iter().enumerate() {
        let lambda = gate.serving(probing()).env(variable, value).start().await;
        let answer = lambda.get("/api/health/redis").await;
        assert_eq!(
            (answer.status, &answer.json()["error_code"]),
            (503, &"auth_failed".into()),
            "{variable}"
        );
        let logins = gate.logins();
        assert_eq!(logins.len(), number + 1, "{variable}");
        assert!(logins[number].verdict.is_err(), "{variable}");
    }
}

#[tokio::test]
async fn no_token_and_no_key_is_logged() {
    let (redis, gate) = gate(CacheKind::Serverless).await;
    let user = user(CacheKind::Serverless);
    let lambda = gate
        .serving(probing())
        .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .start()
        .await;
    lambda.plant_secret(&user.secret_access_key);
    lambda.plant_secret(user.session_token.as_ref().expect("one"));
    lambda.plant_secret("X-Amz-Signature");

    assert_eq!(status(&lambda).await, 200);
    redis.stop().await;
    gate.close_connections();
    assert_eq!(status(&lambda).await, 503);

    lambda.assert_no_secret_in_logs();
}

#[tokio::test]
async fn a_request_that_waits_for_credentials_ends_at_its_deadline() {
    let (_redis, gate) = gate(CacheKind::Serverless).await;
    let silent = FaultProxy::silent();
    let lambda = gate
        .serving(probing())
        .unset("AWS_ACCESS_KEY_ID")
        .unset("AWS_SECRET_ACCESS_KEY")
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("http://{}/", silent.address()),
        )
        .env("HEALTH_CHECK_TIMEOUT_MS", "800")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "1000")
        .concurrency(4)
        .start()
        .await;

    let asking = || within(Duration::from_secs(2), lambda.get("/api/health/redis"));
    let answers = tokio::join!(asking(), asking(), asking(), asking());

    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(
            (answer.status, &answer.json()["error_code"]),
            (503, &"connect_timeout".into())
        );
    }
    assert!(gate.logins().is_empty());
}

#[tokio::test]
async fn without_credentials_health_is_no_credentials() {
    let (_redis, gate) = gate(CacheKind::Serverless).await;
    let refusing = FaultProxy::refusing();
    let lambda = gate
        .serving(probing())
        .unset("AWS_ACCESS_KEY_ID")
        .unset("AWS_SECRET_ACCESS_KEY")
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("http://{}/", refusing.address()),
        )
        .env("HEALTH_CHECK_TIMEOUT_MS", "9000")
        .env("HEALTH_TOTAL_TIMEOUT_MS", "9000")
        .start()
        .await;

    let answer = lambda.get("/api/health/redis").await;

    assert_eq!(
        (answer.status, &answer.json()["error_code"]),
        (503, &"no_credentials".into())
    );
}

#[tokio::test]
async fn credentials_are_reused_until_they_expire() {
    let (_redis, gate) = gate(CacheKind::Serverless).await;
    let issuer = Issuer::start(&user(CacheKind::Serverless)).await;
    let lambda = gate
        .serving(probing())
        .unset("AWS_ACCESS_KEY_ID")
        .unset("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &issuer.url)
        .start()
        .await;

    // On a slow test machine, it is possible that the first credentials need more than one request.
    eventually(LIMIT, async || status(&lambda).await == 200).await;
    let requests = issuer.requests();
    for connection in 2..=4 {
        gate.close_connections();
        eventually(LIMIT, async || status(&lambda).await == 200).await;
        assert!(gate.logins().len() >= connection, "a new login");
    }

    assert_all_are_good(&gate.logins());
    assert_eq!(issuer.requests(), requests);
}

/// Issues a user's credentials over HTTP, as the credentials endpoint of a container does.
struct Issuer {
    url: String,
    requests: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Issuer {
    async fn start(user: &IamUser) -> Self {
        let expiration = Timestamp::now() + SignedDuration::from_hours(1);
        let body = json!({
            "AccessKeyId": user.access_key_id,
            "SecretAccessKey": user.secret_access_key,
            "Token": user.session_token,
            "Expiration": expiration.to_string(),
        })
        .to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let requests = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&requests);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.expect("a client");
                counted.fetch_add(1, Ordering::Relaxed);
                // A GET without a body arrives in one read over the loopback interface.
                let _ = client.read(&mut [0; 4096]).await;
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
            }
        });
        Self {
            url,
            requests,
            _serving: serving,
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}
