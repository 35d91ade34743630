//! Payments in the ledger that an older version wrote.

use foundation::Deadline;
use http::StatusCode;
use idempotency::{self, Fingerprint};

use super::{ClientRequest, NEVER, World, order_of, request, request_of};
use crate::ledger::Change;
use crate::payment::End;
use crate::{Payment, State, Timestamp};

/// Writes a payment into the ledger as an older version of the backend did. The older version accepted this body, and
/// the payment ended in this way. Returns the payment.
async fn ended(world: &World, body: &[u8], end: &End) -> Payment {
    let key = world.key();
    let fingerprint = Fingerprint::of(&idempotency::Request {
        method: "POST",
        route: "/api/payments",
        tenant: "local",
        payload: body,
    });
    let taken = Payment::new(
        &key,
        "local",
        &fingerprint.expect("unambiguous"),
        order_of(body),
        "sandbox",
        Timestamp::EPOCH,
    );
    let mut ended = taken.ended(end, Timestamp::EPOCH);
    if let Some(code) = &ended.decline_code {
        // The older version showed the provider's code to the payer.
        ended.answer = ended
            .answer
            .map(|text| text.replace("generic_decline", code));
    }
    let service = world.process(NEVER).service.expect("configured");
    let ledger = &service.ledger;
    let opened = ledger.open(&taken, Deadline::UNKNOWN).await;
    let change = Change::EndWithoutIntent(Box::new(ended.clone()));
    let changed = ledger.change(&taken, &change, Deadline::UNKNOWN).await;
    opened.and(changed.map(drop)).expect("written");
    ended
}

/// The older version charged the customer, so the new version must not answer that nothing was
/// charged.
#[tokio::test]
async fn a_payment_that_an_older_version_accepted_is_replayed_although_its_order_is_invalid_now() {
    let order = |more: &str| {
        let body =
            format!(r#"{{"amount": 7, "currency": "EUR", "payment_method": "pm_1", {more}}}"#);
        ClientRequest(body)
    };
    let cases = [
        // Stripe cannot represent this amount.
        request_of(1_000_000, "UGX", "pm_card_visa"),
        order(r#""metadata": {"payment_id": "mine"}"#),
        order(r#""metadata": {"note": ""}"#),
        order(r#""description": "a\u202eb""#),
        order(r#""return_url": "https://a.example\\@b.example/""#),
    ];
    for repetition in cases {
        let world = World::new(false);
        let process = world.process(NEVER);
        let refused = process.answer(&repetition).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        let ended = ended(&world, repetition.0.as_bytes(), &End::Succeeded).await;

        let replayed = process.answer(&repetition).await;
        let another = process.answer(&order(r#""description": """#)).await;

        assert_eq!(replayed.status, StatusCode::CREATED);
        let answer = ended.final_response().expect("an answer");
        assert_eq!(Some(&replayed.body), answer.whole_body());
        assert_eq!(another.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

/// A final response keeps its bytes. A `GET` of the payment shows the code by today's rule.
#[tokio::test]
async fn the_final_response_of_an_older_decline_does_not_change() {
    let world = World::new(false);
    let request = request("pm_card_visa");
    let end = End::Declined(Some("stolen_card".to_owned()));
    let ended = ended(&world, request.0.as_bytes(), &end).await;
    let answer = ended.final_response().expect("an answer");

    let replayed = world.process(NEVER).answer(&request).await;

    assert_eq!(Some(&replayed.body), answer.whole_body());
    let body = String::from_utf8_lossy(&replayed.body);
    assert!(body.contains("stolen_card"), "{body}");
    let shown = ended.to_json(&serde_json::Map::new());
    assert!(
        shown.contains(r#""decline_code":"generic_decline""#),
        "{shown}"
    );
}

/// The final response has the code that the payer may see; the ledger keeps the provider's code.
#[test]
fn a_payer_does_not_see_that_a_card_is_stolen() {
    let payment = crate::ledger::tests::payment(1, State::Confirming, Some("pi_1"));
    for (code, visible) in [
        ("stolen_card", "generic_decline"),
        ("expired_card", "expired_card"),
    ] {
        let ended = payment.ended(&End::Declined(Some(code.to_owned())), Timestamp::EPOCH);

        assert_eq!(ended.decline_code.as_deref(), Some(code));
        let answer = ended.final_response().expect("an answer");
        let body = String::from_utf8_lossy(answer.whole_body().expect("whole"));
        let shown = ended.to_json(&serde_json::Map::new());
        for text in [&*body, &shown] {
            assert!(
                text.contains(&format!(r#""decline_code":"{visible}""#)),
                "{text}"
            );
        }
    }
}
