//! Clients can choose names with control characters. The output of `truebond-ops` escapes these
//! characters, so they never change the operator's terminal.

use harness::{MongoServer, RedisServer};
use mongodb::bson::doc;
use shared::App;
use shared::deadline::Deadline;
use shared::idempotency::{Fingerprint, IdempotencyKey, Operation, RecordKey, Request, Scope};

use super::{World, ops, text};

/// If a terminal shows this name unescaped, it clears the screen, begins a new line and reverses
/// the text after the name.
const HOSTILE: &str = "jwt:a\u{1b}[2J\nfn:b\u{202e}\u{9b}c";
/// `HOSTILE` in the output of `truebond-ops`: control and invisible characters are escaped.
const SHOWN: &str = r"jwt:a\u{1b}[2J\u{a}fn:b\u{202e}\u{9b}c";

fn assert_is_harmless(printed: &str) {
    let hidden = printed
        .lines()
        .find(|line| shared::text::has_invisible(line));
    assert_eq!(hidden, None);
    assert!(!printed.contains("\nfn:b"), "{printed}");
}

#[tokio::test]
async fn the_scope_of_a_key_is_printed_escaped() {
    let redis = RedisServer::start().await;
    let variables = [("REDIS_URL".to_owned(), redis.url())];
    let url = redis.url();
    let lookup = |variable: &str| (variable == "REDIS_URL").then(|| url.clone().into());
    let engine = App::from_lookup(lookup).expect("usable").idempotency();
    // The idempotency library accepts such a scope, although the functions of this workspace never
    // use one.
    let scope = Scope::http("charge", HOSTILE).expect("a scope");
    let key = RecordKey::new(&scope, &IdempotencyKey::parse("k").expect("a key"));
    let operation = Operation::new(key, Fingerprint::of(&Request::default()).expect("one"));
    let claimed = engine.claim(&operation, Deadline::UNKNOWN).await;
    drop(claimed.expect("decided"));

    let list = text(&ops(&variables, &["key", "list"]).stdout);
    let json = text(&ops(&variables, &["key", "list", "--json"]).stdout);
    let shown = ops(
        &variables,
        &["key", "show", &format!("http:charge:{SHOWN}"), "k"],
    );

    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains(SHOWN), "{list}");
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    assert!(
        shown.contains(SHOWN) && shown.contains("in progress"),
        "{shown}"
    );
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(document[0]["scope"], format!("http:charge:{HOSTILE}"));
    for printed in [list, json, shown] {
        assert_is_harmless(&printed);
    }
    let other = format!("http:other:{HOSTILE}");
    for arguments in [
        ["key", "show", &other, "k"],
        ["key", "show", HOSTILE, "k"],
        ["key", "show", "-", HOSTILE],
    ] {
        let failed = text(&ops(&variables, &arguments).stderr);
        assert_eq!(failed.lines().count(), 1, "{failed}");
        assert!(failed.contains(r"\u{1b}[2J"), "{failed}");
        assert_is_harmless(&failed);
    }
}

/// Regression: the error messages of the command-line parser repeated invalid arguments without
/// escapes.
#[test]
fn an_invalid_argument_is_quoted_escaped() {
    let none: &[(String, String)] = &[];
    for arguments in [
        vec![HOSTILE],
        vec!["key", HOSTILE],
        vec!["key", "show", "-", "k", HOSTILE],
        vec!["payments", "open", "--limit", HOSTILE],
        vec!["payments", "open", &format!("--{HOSTILE}")],
        vec!["key", "resolve", "-", "k", "--released", HOSTILE],
    ] {
        let output = ops(none, &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(SHOWN), "{error}");
        assert_is_harmless(&error);
    }
    let help = text(&ops(none, &["--help"]).stdout);
    assert!(help.contains("Usage: truebond-ops"), "{help}");
}

#[tokio::test]
async fn the_tenant_of_a_payment_is_printed_escaped() {
    let world = World::new().await;
    let paid = world.pay("k-1", "pm_card_visa").await;
    let server = MongoServer::shared().await;
    let payments = server.collection(world.database(), "payments").await;
    let rename = doc! { "$set": { "tenant": HOSTILE } };
    payments.update_one(doc! {}, rename).await.expect("updated");

    let shown = world.ops(&["payments", "show", paid["id"].as_str().expect("an id")]);

    assert!(shown.contains(SHOWN), "{shown}");
    assert_is_harmless(&shown);
    // The output lists an unreadable row by its id only.
    let damaged = doc! { "_id": HOSTILE, "state": "unknown", "created_at": 0 };
    payments.insert_one(damaged).await.expect("inserted");
    let open = text(&ops(&world.variables, &["payments", "open"]).stdout);
    assert!(open.contains(SHOWN), "{open}");
    assert_is_harmless(&open);
}
