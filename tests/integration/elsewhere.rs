//! A payment Lambda of another project, which uses only the crate `idempotency` of this workspace (examples/payment-lambda).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::{Lambda, Outcome, RedisServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::parity::root;

const PROJECT: &str = "examples/payment-lambda";

/// Builds the project as a separate workspace, and returns the path of its program.
fn build() -> PathBuf {
    // The path of this test is <target directory>/<profile>/deps/<this test>.
    let test = std::env::current_exe().expect("this test has a path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let target = target.join("elsewhere");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(root().join(PROJECT).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    target.join("debug/payment-lambda")
}

async fn pay(function: &Lambda, key: &str) -> Value {
    match function.invoke(json!({"key": key, "amount": 1999})).await {
        Outcome::Answered(answer) => answer,
        failed => panic!("{failed:?}"),
    }
}

#[tokio::test]
async fn it_charges_once_whichever_process_is_asked() {
    let program = build();
    let redis = RedisServer::start().await;
    let folder = TempDir::new().expect("a folder");
    let charges = folder.path().join("charges.txt");
    let start = async || {
        Lambda::program("payment-lambda", program.clone())
            .env("REDIS_URL", &redis.url())
            .env("CHARGES", &charges.to_string_lossy())
            .start()
            .await
    };
    let (one, other) = (start().await, start().await);

    let first = pay(&one, "order-1").await;
    let again = [pay(&one, "order-1").await, pay(&other, "order-1").await];
    let another = pay(&other, "order-2").await;

    assert_eq!(first["charged"], true, "{first}");
    for again in again {
        assert_eq!(
            again,
            json!({"charged": false, "receipt": first["receipt"]})
        );
    }
    assert_eq!(another["charged"], true);
    let charged = fs::read_to_string(&charges).expect("charges");
    assert_eq!(charged.lines().count(), 2, "{charged}");
}

#[test]
fn the_docs_show_it() {
    let code = fs::read_to_string(root().join(PROJECT).join("src/main.rs")).expect("text");
    let (_, rest) = code.split_once("async fn pay(").expect("the function");
    let (body, _) = rest.split_once("\n}\n").expect("its end");
    let page = fs::read_to_string(root().join("docs/idempotency.md")).expect("text");
    assert!(page.contains(&format!("async fn pay({body}\n}}\n")));
}
