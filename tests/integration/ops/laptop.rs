//! `truebond-ops` on a developer's machine: without a store, or with the stores that `.env` configures.

use std::path::Path;
use std::process::{Command, Output};

use harness::{Lambda, RedisServer};
use serde_json::Value;
use tempfile::TempDir;

use super::{function, pay, text};

const SCOPE: &str = "http:payments.create:jwt:tester";

/// Runs the tool in a folder, with these variables.
fn ops_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(Lambda::function("truebond-ops").binary())
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .expect("truebond-ops runs")
}

fn shown(folder: &Path, arguments: &[&str]) -> String {
    let output = ops_in(folder, &[], arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Regression: without a store, `key show` did not read the ledger, so the command failed even if the
/// ledger had the payment.
#[tokio::test]
async fn without_a_store_key_show_prints_the_payment_from_the_ledger() {
    let folder = TempDir::new().expect("a folder");
    let ledger = folder.path().join("target/ledger");
    let variables = [("LEDGER_DIR".to_owned(), ledger.display().to_string())];
    let create = function(&variables).await;
    let paid = pay(&create, "A-1", "pm_card_visa").await;
    let id = paid["id"].as_str().expect("an id");

    let key = shown(folder.path(), &["key", "show", SCOPE, "A-1"]);
    let json = shown(folder.path(), &["key", "show", SCOPE, "A-1", "--json"]);

    assert!(key.contains(&format!("{id}, succeeded")), "{key}");
    assert!(
        key.contains("progress     not visible: without REDIS_URL and MONGODB_URI"),
        "{key}"
    );
    assert!(key.contains("The customer was charged."), "{key}");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["progress"], &json["payment"]["id"]),
        (&Value::Null, &paid["id"])
    );
    for other in [
        ["key", "show", SCOPE, "A-2"],
        ["key", "show", "fn:default:orders", "A-1"],
    ] {
        let output = ops_in(folder.path(), &[], &other);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("keeps its keys in the memory of its process"),
            "{error}"
        );
    }
}

/// For a payment that waits for its customer, the store holds a reference to the payment instead of a
/// response.
#[tokio::test]
async fn key_show_names_a_result_that_is_a_reference_to_a_payment() {
    let (redis, folder) = (
        RedisServer::start().await,
        TempDir::new().expect("a folder"),
    );
    let ledger = folder.path().join("target/ledger");
    let variables = [
        ("REDIS_URL".to_owned(), redis.url()),
        ("LEDGER_DIR".to_owned(), ledger.display().to_string()),
    ];
    pay(
        &function(&variables).await,
        "A-1",
        "pm_sandbox_requires_action",
    )
    .await;
    std::fs::write(
        folder.path().join(".env"),
        format!("REDIS_URL={}\n", redis.url()),
    )
    .expect("written");

    let key = shown(folder.path(), &["key", "show", SCOPE, "A-1"]);
    std::fs::remove_dir_all(&ledger).expect("removed");
    let lost = shown(folder.path(), &["key", "show", SCOPE, "A-1"]);

    assert!(
        key.contains("result       a reference to the payment; the ledger answers retries\n"),
        "{key}"
    );
    assert!(!key.contains("303"), "{key}");
    assert!(
        lost.contains("refers to a payment that this ledger does not have"),
        "{lost}"
    );
}

/// Regression: `config check` accepted URLs to which no client can connect.
#[tokio::test]
async fn config_check_rejects_a_url_that_no_client_can_connect_to() {
    let folder = TempDir::new().expect("a folder");
    let production = ("ENVIRONMENT", "production");
    let cluster = ("REDIS_CLUSTER", "true");
    let redis = "REDIS_URL cannot be used: the Redis URL is invalid";
    let mongo = "MONGODB_URI cannot be used: the MongoDB URI is invalid";
    let cases: [(&[_], _); 9] = [
        (&[("REDIS_URL", "hunter2")], redis),
        (&[("REDIS_URL", "redis://cache?db=hunter2")], redis),
        (&[("REDIS_URL", "redis://cache/1"), cluster], redis),
        (&[("MONGODB_URI", "hunter2")], mongo),
        (&[("MONGODB_URI", "mongodb://app:hunter2:x@db")], mongo),
        (
            &[("MONGODB_URI", "mongodb+srv://a.example.com,b.example.com")],
            mongo,
        ),
        (&[("MONGODB_URI", "hunter2"), production], mongo),
        (&[("REDIS_URL", "redis://cache/1")], ""),
        (&[("MONGODB_URI", "mongodb+srv://db.invalid")], ""),
    ];
    for (variables, expected) in cases {
        let output = ops_in(folder.path(), variables, &["config", "check"]);
        let error = text(&output.stderr);
        assert_eq!(
            output.status.success(),
            expected.is_empty(),
            "{variables:?}"
        );
        assert!(
            error.contains(expected) && !error.contains("hunter2"),
            "{error}"
        );
        let stdout = text(&output.stdout);
        assert_eq!(
            stdout.contains("are valid"),
            expected.is_empty(),
            "{stdout}"
        );
    }
}

/// The tool uses `.env` only in development, so that a developer's store never replaces the store of a deployed
/// environment.
#[tokio::test]
async fn the_environment_takes_precedence_over_the_file() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(
        folder.path().join(".env"),
        "HEALTH_SLOW_MS=many\nREDIS_CLUSTER=maybe\n",
    )
    .expect("written");
    let check = |variables: &[(&str, &str)]| {
        let output = ops_in(folder.path(), variables, &["config", "check"]);
        text(&output.stdout) + &text(&output.stderr)
    };
    let cases: [(&[_], _); 5] = [
        (
            &[],
            "truebond-ops: REDIS_CLUSTER is `maybe`; accepted: `true` or `false`\n",
        ),
        (
            &[("REDIS_CLUSTER", "")],
            "truebond-ops: HEALTH_SLOW_MS is `many`; accepted: whole milliseconds from 1 to 29000\n",
        ),
        (
            &[("REDIS_CLUSTER", "true"), ("HEALTH_SLOW_MS", "5")],
            "The settings are valid.\n",
        ),
        (
            &[("ENVIRONMENT", "production")],
            "The settings are valid.\n",
        ),
        (
            &[("ENVIRONMENT", "development")],
            "truebond-ops: REDIS_CLUSTER is `maybe`; accepted: `true` or `false`\n",
        ),
    ];
    for (variables, expected) in cases {
        assert_eq!(check(variables), expected, "{variables:?}");
    }
    std::fs::write(folder.path().join(".env"), "A\n").expect("written");
    assert_eq!(
        check(&[]),
        "truebond-ops: .env, line 1: expected NAME=value\n"
    );
}
