//! By mistake or because of an attack, the ledger has an intent whose amount or currency differs from the order.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{ClientAnswer, NEVER, World, request};

async fn pay(world: &World, method: &str) -> ClientAnswer {
    world.process(NEVER).answer(&request(method)).await
}

fn state(answer: &ClientAnswer) -> Value {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    body["status"].clone()
}

/// The file of the only intent in the sandbox.
fn file(world: &World) -> PathBuf {
    let files = std::fs::read_dir(world.folder.path().join("sandbox")).expect("intents");
    let mut files = files.map(|file| file.expect("readable").path());
    let is_intent = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "json");
    files.find(is_intent).expect("an intent")
}

fn intent(world: &World) -> Value {
    let text = std::fs::read(file(world)).expect("readable");
    serde_json::from_slice(&text).expect("JSON")
}

fn tamper(world: &World, member: &str, value: &Value) {
    let mut kept = intent(world);
    kept["intent"][member] = value.clone();
    std::fs::write(file(world), kept.to_string()).expect("written");
}

/// Without the check of the amount, an intent of one cent would pay for an order of ten euros.
#[tokio::test]
async fn an_intent_of_another_amount_never_pays_for_an_order() {
    for (member, value) in [("amount", json!(1)), ("currency", json!("jpy"))] {
        let world = World::new(false);
        let acting = pay(&world, "pm_sandbox_requires_action").await;
        assert_eq!(state(&acting), "requires_action");
        tamper(&world, member, &value);

        // The customer has acted, and the provider reports the intent as succeeded.
        for _ in 0..2 {
            let answer = pay(&world, "pm_sandbox_requires_action").await;
            assert_eq!(
                (answer.status.as_u16(), state(&answer)),
                (202, json!("unknown"))
            );
        }
        assert_eq!(intent(&world)["intent"]["status"], "succeeded");
    }
}

#[tokio::test]
async fn an_intent_of_another_amount_is_never_confirmed() {
    let world = World::new(false);
    let lost = pay(&world, "pm_sandbox_timeout_before").await;
    assert_eq!(state(&lost), "unknown");
    tamper(&world, "amount", &json!(99_999));

    let answer = pay(&world, "pm_sandbox_timeout_before").await;

    assert_eq!(state(&answer), "unknown");
    let kept = intent(&world);
    assert_eq!(
        (&kept["intent"]["status"], &kept["confirmations"]),
        (&json!("requires_confirmation"), &json!(1))
    );
}
