//! Servers that reject every client or every command. The server's reply determines the error code.

use std::time::Duration;

use harness::{FaultProxy, Lambda, LambdaBuilder, RedisCluster, RedisServer, ScriptedServer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATH: &str = "/api/health/redis";

/// The error code of a function that cannot connect to Redis at `url`. Also checks the statuses and `connected` in the
/// answer.
async fn refusal(function: LambdaBuilder, url: &str) -> String {
    let lambda = function.env("REDIS_URL", url).start().await;
    let answer = lambda.get(PATH).await;
    let health = answer.json();
    assert_eq!(
        (answer.status, &health["status"], &health["connected"]),
        (503, &"disconnected".into(), &Value::Bool(false)),
        "{url}: {health}"
    );
    health["error_code"].as_str().expect("a code").to_owned()
}

fn standalone() -> LambdaBuilder {
    Lambda::function("health-redis")
}

fn cluster() -> LambdaBuilder {
    standalone().env("REDIS_CLUSTER", "true")
}

/// Opens connections until the server has rejected ten in a row, because connections of the harness may close in the
/// meantime. Returns the accepted connections.
async fn all_clients_of(redis: &RedisServer) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    let mut refused = 0;
    while refused < 10 {
        let mut client = TcpStream::connect(redis.address()).await.expect("accepted");
        let mut reply = [0; 5];
        // The write can fail, because the server can close the connection before the command arrives.
        let _ = client.write_all(b"PING\r\n").await;
        if client.read_exact(&mut reply).await.is_ok() && &reply == b"+PONG" {
            clients.push(client);
            refused = 0;
        } else {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    clients
}

#[tokio::test]
async fn a_server_at_maxclients_is_too_many_clients() {
    for setting in ["no", "yes"] {
        let redis = RedisServer::builder()
            .setting("cluster-enabled", setting)
            .setting("maxclients", "8")
            .start()
            .await;
        let url = redis.url();
        let _clients = all_clients_of(&redis).await;
        assert_eq!(refusal(standalone(), &url).await, "too_many_clients");
        assert_eq!(
            refusal(standalone(), &format!("{url}/1")).await,
            "too_many_clients"
        );
        assert_eq!(refusal(cluster(), &url).await, "too_many_clients");
    }
}

/// This test runs only on Linux, because the loopback interface of macOS has only one address. It always runs on Redis,
/// because Valkey in protected mode accepts all loopback addresses. The test
/// `the_reply_of_the_server_determines_the_error_code` has the replies of Redis and Valkey in protected mode.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_in_protected_mode_is_reported() {
    let redis = RedisServer::builder()
        .on_redis()
        .setting("protected-mode", "yes")
        .start()
        .await;
    let proxy = FaultProxy::from_another_host(redis.address());
    let url = redis.url_through(&proxy);
    assert_eq!(refusal(standalone(), &url).await, "protected_mode");
    assert_eq!(
        refusal(standalone(), &format!("{url}/1")).await,
        "protected_mode"
    );
    assert_eq!(refusal(cluster(), &url).await, "protected_mode");
}

#[tokio::test]
async fn a_missing_database_is_no_database() {
    let redis = RedisServer::start().await;
    let url = format!("{}/99", redis.url());
    assert_eq!(refusal(standalone(), &url).await, "no_database");

    let node = RedisServer::builder()
        .setting("cluster-enabled", "yes")
        .start()
        .await;
    let url = format!("{}/1", node.url());
    assert_eq!(refusal(standalone(), &url).await, "no_database");
}

#[tokio::test]
async fn a_database_that_the_user_may_not_select_is_no_permission() {
    let redis = RedisServer::builder()
        .user("app", "pw", "~* +@all -select")
        .start()
        .await;
    let url = format!("{}/1", redis.url());
    assert_eq!(refusal(standalone(), &url).await, "no_permission");
}

/// This test always runs on Redis, whose error message quotes the password. Valkey's message only requires a login.
#[tokio::test]
async fn a_server_without_hello_is_unsupported() {
    let redis = RedisServer::builder()
        .on_redis()
        .setting("rename-command HELLO", "")
        .password("unknown-command-WRONGPASS")
        .start()
        .await;
    assert_eq!(
        refusal(standalone(), &redis.url()).await,
        "unsupported_server"
    );
    assert_eq!(refusal(cluster(), &redis.url()).await, "unsupported_server");
}

#[tokio::test]
async fn a_standalone_server_does_not_support_cluster_mode() {
    let redis = RedisServer::start().await;
    assert_eq!(
        refusal(cluster(), &redis.url()).await,
        "cluster_mode_unsupported"
    );
}

#[tokio::test]
async fn a_user_without_permission_for_cluster_slots_is_no_permission() {
    let redis_cluster = RedisCluster::start().await;
    for node in redis_cluster.nodes() {
        let user = [
            "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-cluster",
        ];
        node.command(&user).await;
    }
    let url = redis_cluster.nodes()[0].url_with("app", "pw");
    assert_eq!(refusal(cluster(), &url).await, "no_permission");
}

#[tokio::test]
async fn a_tls_server_at_maxclients_is_a_failed_handshake() {
    let redis = RedisServer::builder()
        .tls()
        .setting("maxclients", "8")
        .start()
        .await;
    let ca_file = redis.ca_file().to_str().expect("a path").to_owned();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let held = standalone()
            .env("REDIS_URL", &redis.url())
            .env("REDIS_CA_FILE", &ca_file)
            .start()
            .await;
        // Redis counts the connections of the harness too, until these connections close.
        if held.get(PATH).await.status != 200 {
            break;
        }
        clients.push(held);
    }
    let function = standalone().env("REDIS_CA_FILE", &ca_file);
    assert_eq!(refusal(function, &redis.url()).await, "handshake_failed");
}

/// The cases are replies of servers and proxies that the tests cannot run.
#[tokio::test]
async fn the_reply_of_the_server_determines_the_error_code() {
    let cases = [
        ("", "handshake_failed"),
        (
            "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n",
            "protected_mode",
        ),
        (
            "-DENIED Running in protected mode because protected mode is enabled and no password is set for the default user.\r\n",
            "protected_mode",
        ),
        ("-ERR max number of clients reached\r\n", "too_many_clients"),
        (
            "-ERR max number of clients + cluster connections reached\r\n",
            "too_many_clients",
        ),
        // Redis 5 and Redis 3 reply with one error for each of the three commands of the handshake.
        (
            "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n-ERR Unknown subcommand\r\n-ERR Unknown subcommand\r\n",
            "unsupported_server",
        ),
        (
            "-ERR unknown command 'HELLO'\r\n-ERR Syntax error\r\n-ERR Syntax error\r\n",
            "unsupported_server",
        ),
        // The next cases are replies of proxies.
        (
            "-NOPROTO unsupported protocol version\r\n",
            "unsupported_server",
        ),
        (
            "-ERR unsupported command 'hello'\r\n-ERR\r\n-ERR\r\n",
            "unsupported_server",
        ),
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            "loading",
        ),
        ("-ERR something else\r\n", "rejected"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "unexpected_answer"),
    ];
    for (words, code) in cases {
        let server = ScriptedServer::answering(words);
        let url = format!("redis://{}", server.address());
        assert_eq!(refusal(standalone(), &url).await, code, "{words}");
        assert_eq!(
            refusal(cluster(), &url).await,
            code,
            "in cluster mode: {words}"
        );
    }
}
