//! Tests that each deviation of a server takes effect.

use std::time::Duration;

use redis::Client;

use super::RedisServer;
use crate::eventually::eventually;
use crate::fault_proxy::FaultProxy;

/// The reply to one command of a normal client, as text.
async fn ask(url: &str, words: &[&str]) -> Result<String, redis::RedisError> {
    let mut connection = Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd(words[0])
        .arg(&words[1..])
        .query_async(&mut connection)
        .await
}

/// The error code of a refused command or login.
async fn refusal(url: &str, words: &[&str]) -> String {
    let error = ask(url, words)
        .await
        .expect_err("the server refuses the command");
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => "WRONGPASS".to_owned(),
        _ => error
            .code()
            .unwrap_or_else(|| panic!("not an error of the server: {error}"))
            .to_owned(),
    }
}

#[tokio::test]
async fn a_default_server_stores_values_directly_and_through_a_proxy() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::in_front_of(server.address());
    ask(&server.url(), &["SET", "a", "1"])
        .await
        .expect("it stores");
    ask(&server.url_through(&proxy), &["SET", "b", "2"])
        .await
        .expect("it stores");
    assert_eq!(server.keys("*").await, ["a", "b"]);
    assert_eq!(server.query::<String>(&["GET", "b"]).await, "2");
    assert!(proxy.commands().contains(&"SET".to_owned()));
}

#[tokio::test]
async fn a_password_is_required() {
    let server = RedisServer::builder()
        .password("p@ss \"word\"")
        .start()
        .await;
    assert_eq!(
        ask(&server.url(), &["PING"])
            .await
            .expect("the password is right"),
        "PONG"
    );
    assert_eq!(
        refusal(&server.url_with("", "wrong"), &["PING"]).await,
        "WRONGPASS"
    );
    let without = format!("redis://{}", server.address());
    assert_eq!(refusal(&without, &["PING"]).await, "NOAUTH");
}

#[tokio::test]
async fn a_user_has_only_the_rights_of_its_rules() {
    let server = RedisServer::builder()
        .user("app", "p/w", "~* &* +@all -del")
        .default_user("off")
        .start()
        .await;
    assert_eq!(
        ask(&server.url(), &["SET", "k", "v"])
            .await
            .expect("it may"),
        "OK"
    );
    assert_eq!(refusal(&server.url(), &["DEL", "k"]).await, "NOPERM");
    assert_eq!(
        refusal(&server.url_with("app", "wrong"), &["PING"]).await,
        "WRONGPASS"
    );
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_answers_ping() {
    let server = RedisServer::builder().full_memory().start().await;
    assert_eq!(refusal(&server.url(), &["SET", "k", "v"]).await, "OOM");
    assert_eq!(
        ask(&server.url(), &["PING"]).await.expect("it answers"),
        "PONG"
    );
}

#[tokio::test]
async fn a_replica_serves_reads_and_refuses_writes() {
    let master = RedisServer::start().await;
    master.command(&["SET", "k", "v"]).await;
    let replica = RedisServer::builder().replica_of(&master).start().await;
    assert_eq!(
        ask(&replica.url(), &["GET", "k"]).await.expect("it reads"),
        "v"
    );
    assert_eq!(
        refusal(&replica.url(), &["SET", "k", "w"]).await,
        "READONLY"
    );
}

#[tokio::test]
async fn a_tls_server_has_a_certificate_of_its_authority() {
    // An error means that another test has already installed the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = RedisServer::builder()
        .tls()
        .password("secret")
        .start()
        .await;
    assert!(server.url().starts_with("rediss://:secret@127.0.0.1:"));
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(std::fs::read(server.ca_file()).expect("it is there")),
    };
    let client = Client::build_with_tls(server.url(), certificates).expect("the URL is valid");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the authority is trusted");
    assert_eq!(
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .expect("it answers"),
        "PONG"
    );
    assert!(
        ask(&server.url(), &["PING"]).await.is_err(),
        "an unknown authority is trusted"
    );
}

#[tokio::test]
async fn a_server_can_be_stopped_restarted_and_paused() {
    let server = RedisServer::start().await;
    server.command(&["SET", "k", "v"]).await;
    server.stop().await;
    assert!(ask(&server.url(), &["PING"]).await.is_err());
    server.restart().await;
    assert_eq!(server.keys("*").await, [""; 0]);

    server.pause();
    let url = server.url();
    let paused = tokio::time::timeout(Duration::from_millis(50), ask(&url, &["PING"])).await;
    assert!(paused.is_err(), "a paused server answers");
    server.resume();
    eventually(Duration::from_secs(5), async || {
        ask(&url, &["PING"]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_loading_server_answers_loading() {
    let server = RedisServer::start().await;
    server.restart_loading().await;
    assert_eq!(refusal(&server.url(), &["SET", "k", "v"]).await, "LOADING");
}

#[tokio::test]
async fn a_replica_can_refuse_reads_without_its_master() {
    let master = RedisServer::start().await;
    let replica = RedisServer::builder()
        .replica_of(&master)
        .setting("replica-serve-stale-data", "no")
        .start()
        .await;
    master.stop().await;
    let url = replica.url();
    eventually(Duration::from_secs(5), async || {
        // The replica answers until it notices that its master is gone.
        let answer = ask(&url, &["GET", "k"]).await;
        answer.is_err_and(|error| error.code() == Some("MASTERDOWN"))
    })
    .await;
}
