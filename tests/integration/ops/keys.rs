//! Commands of `truebond-ops` for keys whose outcome is unknown.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::{Lambda, MongoServer, Outcome, eventually};
use mongodb::bson::doc;
use serde_json::{Value, json};
use shared::idempotency::OwnerId;

use super::{World, ops, text};

const SCOPE: &str = "fn:default:orders";
const LIMIT: Duration = Duration::from_secs(10);

/// The function `idempotency`. It uses the stores of the payment functions of `world`.
async fn engine(world: &World) -> Lambda {
    let variables: Vec<_> = world
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Lambda::function("idempotency")
        .envs(&variables)
        .start()
        .await
}

async fn begin(engine: &Lambda, key: &str, lease_ms: u64) -> Value {
    let owner = OwnerId::fresh().to_string();
    let begin = json!({"operation": "begin", "scope": "orders", "key": key, "payload": 1,
        "owner": owner, "lease_ms": lease_ms});
    match engine.invoke(begin).await {
        Outcome::Answered(answer) => answer,
        failed => panic!("{failed:?}"),
    }
}

/// Starts an attempt, abandons it, and waits until the outcome of its key is unknown.
async fn abandoned(world: &World, engine: &Lambda, key: &str) {
    assert_eq!(begin(engine, key, 1).await["outcome"], "started");
    eventually(LIMIT, async || {
        world.ops_json(&["key", "show", SCOPE, key])["progress"] == "unknown"
    })
    .await;
}

/// Runs `truebond-ops` with this text on standard input.
fn ops_with(world: &World, arguments: &[&str], typed: &str) -> Output {
    let mut command = Command::new(Lambda::function("truebond-ops").binary());
    command
        .args(arguments)
        .env_clear()
        .envs(world.variables.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("truebond-ops runs");
    let mut input = child.stdin.take().expect("piped");
    // An error does not matter here, because the process can end before it reads its input.
    let _ = input.write_all(typed.as_bytes());
    drop(input);
    child.wait_with_output().expect("truebond-ops ends")
}

fn failed(world: &World, arguments: &[&str]) -> String {
    let output = ops(&world.variables, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    text(&output.stderr)
}

#[tokio::test]
async fn an_unknown_key_is_listed_shown_and_resolved_after_confirmation() {
    let world = World::new().await;
    let engine = engine(&world).await;
    abandoned(&world, &engine, "o-1").await;
    begin(&engine, "running", 60_000).await;

    let listed = world.ops_json(&["key", "list", "--unknown"]);
    let keys: Vec<_> = listed.as_array().expect("a list").iter().collect();
    assert_eq!(keys.len(), 1, "{listed}");
    assert_eq!(
        (&keys[0]["key"], &keys[0]["progress"]),
        (&json!("o-1"), &json!("unknown"))
    );
    let shown = world.ops(&["key", "show", SCOPE, "o-1"]);
    assert!(shown.contains("key resolve"), "{shown}");

    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("response.json");
    std::fs::write(&file, "{ \"charge\": 1 }\n").expect("written");
    let file = file.to_string_lossy().into_owned();
    let resolve = ["key", "resolve", SCOPE, "o-1", "--completed", &file];
    let no = ops_with(&world, &resolve, "\n");
    assert_eq!(no.status.code(), Some(1));
    let error = text(&no.stderr);
    assert!(
        error.contains("completed, with a response of 15 bytes")
            && error.contains("nothing was written"),
        "{error}"
    );
    assert_eq!(begin(&engine, "o-1", 1).await["outcome"], "unknown");

    let yes = ops_with(&world, &resolve, "y\n");
    assert!(yes.status.success(), "{}", text(&yes.stderr));
    let again = begin(&engine, "o-1", 1).await;
    assert_eq!(
        (&again["outcome"], &again["response"]),
        (&json!("replay"), &json!({"charge": 1}))
    );
    let left = world.ops(&["key", "list", "--unknown"]);
    assert!(left.contains("No key is unknown"), "{left}");
}

#[tokio::test]
async fn a_key_is_released_with_a_reason_and_only_at_the_revision_that_was_seen() {
    let world = World::new().await;
    let engine = engine(&world).await;
    abandoned(&world, &engine, "o-1").await;
    let release = |more: &[&'static str]| {
        let fixed = [
            "key",
            "resolve",
            SCOPE,
            "o-1",
            "--released",
            "fenced-by-provider",
        ];
        [&fixed, more].concat()
    };

    let error = failed(
        &world,
        &release(&["--yes", "--revision", "7-0123456789abcdef"]),
    );
    assert!(error.contains("the revision of key `o-1`"), "{error}");
    let without = ["key", "resolve", SCOPE, "o-1"];
    let output = ops(&world.variables, &without);
    assert_eq!(
        output.status.code(),
        Some(2),
        "`--completed` or `--released` is required"
    );

    let unseen = ops(&world.variables, &release(&["--yes"]));
    assert_eq!(
        unseen.status.code(),
        Some(2),
        "`--yes` requires `--revision`"
    );
    let shown = world.ops_json(&["key", "show", SCOPE, "o-1"]);
    let revision = shown["revision"].as_str().expect("a revision");
    let seen = [&release(&["--yes", "--revision"])[..], &[revision]].concat();
    let resolved = world.ops_json(&seen);
    assert_eq!(resolved["resolved"], true);
    assert_eq!(begin(&engine, "o-1", 60_000).await["outcome"], "started");
    let error = failed(&world, &seen);
    assert!(error.contains("an attempt is running"), "{error}");
    let error = failed(
        &world,
        &[
            "key",
            "resolve",
            SCOPE,
            "never",
            "--released",
            "attempt-ended",
            "--yes",
            "--revision",
            "1-0123456789abcdef",
        ],
    );
    assert!(error.contains("not found in scope"), "{error}");
}

/// Regression: if the record of a charged payment was released, `key show` reported that the payment had no effect. Such a
/// release is possible after the key's retention: a request with another body uses the key and releases it.
#[tokio::test]
async fn the_advice_for_a_payments_key_comes_from_the_ledger() {
    let world = World::new().await;
    let paid = world.pay("k-1", "pm_card_visa").await;
    let scope = "http:payments.create:jwt:tester";
    let server = MongoServer::shared().await;
    let records = server.collection(world.database(), "idempotency").await;
    let key = doc! { "_id": "idempotency:http:payments.create:jwt%3Atester:k-1" };
    let released = doc! { "$set": { "state": "released" }, "$unset": { "response": "" } };
    let update = records.update_one(key.clone(), released).await;
    assert_eq!(update.expect("updated").modified_count, 1);

    let shown = world.ops(&["key", "show", scope, "k-1"]);
    assert!(
        shown.contains("The customer was charged") && !shown.contains("had no effect"),
        "{shown}"
    );
    records.delete_one(key).await.expect("deleted");
    let forgotten = world.ops_json(&["key", "show", scope, "k-1"]);
    assert_eq!(
        (&forgotten["progress"], &forgotten["payment"]),
        (
            &json!("absent"),
            &json!({"id": paid["id"], "state": "succeeded"})
        )
    );
    let error = failed(
        &world,
        &[
            "key",
            "resolve",
            scope,
            "k-1",
            "--released",
            "attempt-ended",
            "--yes",
            "--revision",
            "1-0123456789abcdef",
        ],
    );
    assert!(error.contains("payments settle pay_"), "{error}");
}

#[tokio::test]
async fn a_damaged_key_is_shown_as_damaged() {
    let world = World::new().await;
    let engine = engine(&world).await;
    abandoned(&world, &engine, "o-1").await;
    let server = MongoServer::shared().await;
    let records = server.collection(world.database(), "idempotency").await;
    let damage = doc! { "$unset": { "owner": "" } };
    records.update_one(doc! {}, damage).await.expect("updated");

    let shown = world.ops(&["key", "show", SCOPE, "o-1"]);
    assert!(shown.contains("may have been a result"), "{shown}");
    let listed = world.ops_json(&["key", "list", "--unknown"]);
    assert_eq!(listed[0]["progress"], "damaged");
    let error = failed(
        &world,
        &[
            "key",
            "resolve",
            SCOPE,
            "o-1",
            "--released",
            "attempt-ended",
            "--yes",
            "--revision",
            "1-0123456789abcdef",
        ],
    );
    assert!(error.contains("Damaged keys"), "{error}");
}
