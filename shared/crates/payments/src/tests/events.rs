//! Which events are followed, and how the provider is answered.

use bytes::Bytes;
use foundation::Deadline;
use foundation::secret::{Secret, SecretSource};
use harness::StripeEvent;
use http::{Method, StatusCode};
use http_api::{Caller, Invocation, Request, Response};
use idempotency::Idempotency;
use serde_json::{Value, json};

use super::{NEVER, World, invocation};
use crate::ledger::{FileLedger, Ledger};
use crate::{Setup, State, Webhook};

const SECRET: &str = "whsec_1";

/// A payment whose customer has acted, which its row does not know yet.
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
        let answer = paying
            .create(&invocation("pm_sandbox_requires_action"))
            .await;
        let payment: Value = serde_json::from_slice(answer.body()).expect("JSON");
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

    async fn receive(&self, event: &StripeEvent) -> Response {
        let body = event.body.to_string();
        let signature = harness::stripe_event::signature(body.as_bytes(), event.time, &[SECRET]);
        let mut request = request(body.into());
        let signature = signature.parse().expect("a header");
        request.headers_mut().insert("stripe-signature", signature);
        self.send(request).await
    }

    async fn send(&self, request: Request) -> Response {
        let invocation = Invocation {
            request,
            caller: Caller::default(),
            deadline: Deadline::UNKNOWN,
        };
        self.webhook.receive(&invocation).await
    }

    async fn state(&self) -> State {
        let ledger = FileLedger::new(self.world.folder.path());
        let read = ledger.read(&self.id, Deadline::UNKNOWN).await;
        read.expect("read").expect("a payment").state
    }
}

fn request(body: Bytes) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    request
}

#[tokio::test]
async fn an_event_is_followed_if_it_is_about_the_intent_of_a_payment_of_ours() {
    type Change = fn(&mut Value);
    const UNTOLD: State = State::RequiresAction;
    let of_no_row: Change = |event| {
        event["data"]["object"]["metadata"]["payment_id"] = format!("pay_{:032}", 0).into();
    };
    let of_another_intent: Change = |event| event["data"]["object"]["id"] = json!("pi_2");
    let cases: [(&str, &str, Change, u16, State); 10] = [
        ("ours", "canceled", |_| {}, 200, State::Succeeded),
        ("of a charge", "succeeded", |_| {}, 200, State::Succeeded),
        (
            "of this environment",
            "processing",
            |event| event["data"]["object"]["metadata"]["environment"] = json!("development"),
            200,
            State::Succeeded,
        ),
        (
            "of another environment",
            "succeeded",
            |event| event["data"]["object"]["metadata"]["environment"] = json!("staging"),
            200,
            UNTOLD,
        ),
        (
            "about no intent",
            "succeeded",
            |event| event["data"]["object"]["object"] = json!("charge"),
            200,
            UNTOLD,
        ),
        (
            "of the other mode",
            "processing",
            |event| event["livemode"] = json!(true),
            200,
            UNTOLD,
        ),
        ("of no row", "processing", of_no_row, 200, UNTOLD),
        // The customer was charged, and the ledger says otherwise: Stripe sends it again, and an alarm is raised.
        ("of a charge of no row", "succeeded", of_no_row, 503, UNTOLD),
        (
            "of another intent",
            "processing",
            of_another_intent,
            200,
            UNTOLD,
        ),
        (
            "of a charge of another intent",
            "succeeded",
            of_another_intent,
            503,
            UNTOLD,
        ),
    ];
    for (case, kind, change, status, state) in cases {
        let acted = Acted::new().await;
        let mut event = acted.event(&format!("payment_intent.{kind}"));
        change(&mut event.body);

        let answer = acted.receive(&event).await;

        assert_eq!(
            (answer.status().as_u16(), acted.state().await),
            (status, state),
            "{case}"
        );
        if status == 200 {
            assert_eq!(answer.body(), r#"{"received":true}"#, "{case}");
        }
    }
}

/// It was received, and the provider would not have sent it again.
#[tokio::test]
async fn an_event_comes_again_until_the_ledger_has_what_follows() {
    let acted = Acted::new().await;
    let lock = acted.world.folder.path().join("payments/.lock");
    std::fs::remove_file(&lock).expect("removed");
    std::fs::create_dir(&lock).expect("nothing can be locked");
    let event = acted.event("payment_intent.succeeded");
    assert_eq!(
        acted.receive(&event).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    std::fs::remove_dir(&lock).expect("removed");

    assert_eq!(acted.receive(&event).await.status(), StatusCode::OK);
    assert_eq!(acted.state().await, State::Succeeded);
}

/// An event that reuses the name of another one is refused: answered as a repetition, it would count as followed.
#[tokio::test]
async fn a_delivery_is_a_repetition_while_it_is_about_the_same() {
    let acted = Acted::new().await;
    let mut event = acted.event("payment_intent.succeeded");
    let first = acted.receive(&event).await;
    event.body["pending_webhooks"] = json!(0);
    let again = acted.receive(&event).await;
    event.body["type"] = json!("payment_intent.canceled");
    let another = acted.receive(&event).await;

    assert_eq!(
        (again.status(), again.body()),
        (StatusCode::OK, first.body())
    );
    assert!(again.headers().contains_key("idempotent-replayed"));
    assert_eq!(another.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_event_may_be_a_quarter_of_a_megabyte_long() {
    let acted = Acted::new().await;
    for (length, status) in [
        (262_144, StatusCode::BAD_REQUEST),
        (262_145, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let unsigned = request(vec![b' '; length].into());
        assert_eq!(acted.send(unsigned).await.status(), status, "{length}");
    }
}
