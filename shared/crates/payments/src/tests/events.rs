//! Which of the provider's events are processed, and the answers that the provider gets.

use foundation::Deadline;
use foundation::secret::{Secret, SecretSource};
use harness::StripeEvent;
use idempotency::Idempotency;
use serde_json::{Value, json};

use super::{NEVER, World, request};
use crate::ledger::{FileLedger, Ledger};
use crate::{EventAnswer, Setup, State, Webhook};

const SECRET: &str = "whsec_1";

/// A payment whose customer has acted. Its row still has the state `requires_action`.
struct Acted {
    world: World,
    webhook: Webhook,
    id: String,
    intent: String,
}

impl Acted {
    async fn new() -> Self {
        let world = World::new(false);
        let paying = world.process(NEVER);
        let answer = paying.answer(&request("pm_sandbox_requires_action")).await;
        let payment: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let text = |member: &str| payment[member].as_str().expect("a text").to_owned();
        let mut setup = Setup::sandbox(world.folder.path());
        setup.config.webhook_secrets = Some(SecretSource::Given(Secret::new(SECRET)));
        Self {
            webhook: Webhook::new(&setup, Idempotency::in_memory()),
            id: text("id"),
            intent: text("provider_reference"),
            world,
        }
    }

    fn event(&self, kind: &str) -> StripeEvent {
        StripeEvent::new("evt_1", kind, &self.intent, &self.id)
    }

    async fn receive(&self, event: &StripeEvent) -> EventAnswer {
        let body = event.body.to_string();
        let signature = harness::stripe_event::signature(body.as_bytes(), event.time, &[SECRET]);
        let outcome =
            self.webhook
                .receive(Some(&signature), body.as_bytes(), None, Deadline::UNKNOWN);
        outcome.await.answer
    }

    async fn state(&self) -> State {
        let ledger = FileLedger::new(self.world.folder.path());
        let read = ledger.read(&self.id, Deadline::UNKNOWN).await;
        read.expect("read").expect("a payment").state
    }
}

#[tokio::test]
async fn an_event_is_processed_if_the_ledger_names_its_intent() {
    type Change = fn(&mut Value);
    const UNCHANGED: State = State::RequiresAction;
    let of_no_row: Change = |event| {
        event["data"]["object"]["metadata"]["payment_id"] = format!("pay_{:032}", 0).into();
    };
    let of_another_intent: Change = |event| event["data"]["object"]["id"] = json!("pi_2");
    let cases: [(&str, &str, Change, bool, State); 10] = [
        ("ours", "canceled", |_| {}, true, State::Succeeded),
        ("of a charge", "succeeded", |_| {}, true, State::Succeeded),
        (
            "of this environment",
            "processing",
            |event| event["data"]["object"]["metadata"]["environment"] = json!("development"),
            true,
            State::Succeeded,
        ),
        (
            "of another environment",
            "succeeded",
            |event| event["data"]["object"]["metadata"]["environment"] = json!("staging"),
            true,
            UNCHANGED,
        ),
        (
            "about no intent",
            "succeeded",
            |event| event["data"]["object"]["object"] = json!("charge"),
            true,
            UNCHANGED,
        ),
        (
            "of the other mode",
            "processing",
            |event| event["livemode"] = json!(true),
            true,
            UNCHANGED,
        ),
        ("of no row", "processing", of_no_row, true, UNCHANGED),
        // The customer was charged, but the ledger does not have the charge. Stripe sends the event again, and an alarm
        // is raised.
        (
            "of a charge of no row",
            "succeeded",
            of_no_row,
            false,
            UNCHANGED,
        ),
        (
            "of another intent",
            "processing",
            of_another_intent,
            true,
            UNCHANGED,
        ),
        (
            "of a charge of another intent",
            "succeeded",
            of_another_intent,
            false,
            UNCHANGED,
        ),
    ];
    for (case, kind, change, is_processed, state) in cases {
        let acted = Acted::new().await;
        let mut event = acted.event(&format!("payment_intent.{kind}"));
        change(&mut event.body);

        let answer = acted.receive(&event).await;

        let body = match &answer {
            EventAnswer::Processed { response, .. } => response.whole_body(),
            _ => None,
        };
        let body = body.map(|body| &**body);
        let expected = is_processed.then_some(&br#"{"received":true}"#[..]);
        assert_eq!(body, expected, "{case}");
        assert_eq!(acted.state().await, state, "{case}");
    }
}

/// Regression: the webhook accepted an event that the ledger had not recorded. The provider does not send an accepted
/// event again.
#[tokio::test]
async fn an_event_is_retried_until_the_ledger_has_recorded_it() {
    let acted = Acted::new().await;
    let lock = acted.world.folder.path().join("payments/.lock");
    std::fs::remove_file(&lock).expect("removed");
    std::fs::create_dir(&lock).expect("nothing can be locked");
    let event = acted.event("payment_intent.succeeded");
    assert!(matches!(
        acted.receive(&event).await,
        EventAnswer::RetryLater
    ));
    std::fs::remove_dir(&lock).expect("removed");

    let answer = acted.receive(&event).await;
    assert!(matches!(answer, EventAnswer::Processed { .. }));
    assert_eq!(acted.state().await, State::Succeeded);
}

/// An event is refused if another event had the same id. Otherwise, the saved response would report that this event was processed.
#[tokio::test]
async fn a_repeated_delivery_is_replayed_and_another_event_with_its_id_is_refused() {
    let acted = Acted::new().await;
    let mut event = acted.event("payment_intent.succeeded");
    let first = acted.receive(&event).await;
    event.body["pending_webhooks"] = json!(0);
    let again = acted.receive(&event).await;
    event.body["type"] = json!("payment_intent.canceled");
    let another = acted.receive(&event).await;

    assert!(matches!(
        first,
        EventAnswer::Processed {
            is_replay: false,
            ..
        }
    ));
    assert!(matches!(
        again,
        EventAnswer::Processed {
            is_replay: true,
            ..
        }
    ));
    assert!(matches!(another, EventAnswer::IdReused));
}
