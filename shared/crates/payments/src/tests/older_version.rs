//! What an older version has left in the ledger.

use foundation::Deadline;
use http::StatusCode;
use idempotency::{self, Fingerprint};

use super::{ClientRequest, NEVER, World, asked, asked_of, order_of};
use crate::ledger::Change;
use crate::payment::End;
use crate::{Payment, State, Timestamp};

/// A payment that an older version took of this body, and ended so.
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
        // It told the payer what the provider had said.
        ended.answer = ended
            .answer
            .map(|text| text.replace("generic_decline", code));
    }
    let process = world.process(NEVER);
    let ledger = process.ledger.as_deref().expect("a ledger");
    let opened = ledger.open(&taken, Deadline::UNKNOWN).await;
    let change = Change::EndWithoutIntent(Box::new(ended.clone()));
    let changed = ledger.change(&taken, &change, Deadline::UNKNOWN).await;
    opened.and(changed.map(drop)).expect("written");
    ended
}

/// Who was charged then is not told now that nothing was.
#[tokio::test]
async fn an_order_that_was_taken_is_answered_though_it_would_be_refused_now() {
    let order = |more: &str| {
        let body =
            format!(r#"{{"amount": 7, "currency": "EUR", "payment_method": "pm_1", {more}}}"#);
        ClientRequest(body)
    };
    let cases = [
        // Stripe has no such amount.
        asked_of(1_000_000, "UGX", "pm_card_visa"),
        order(r#""metadata": {"payment_id": "mine"}"#),
        order(r#""metadata": {"note": ""}"#),
        order(r#""description": "a\u202eb""#),
        order(r#""return_url": "https://a.example\\@b.example/""#),
    ];
    for repetition in cases {
        let world = World::new(false);
        let till = world.process(NEVER);
        let refused = till.told(&repetition).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        let ended = ended(&world, repetition.0.as_bytes(), &End::Succeeded).await;

        let replayed = till.told(&repetition).await;
        let another = till.told(&order(r#""description": """#)).await;

        assert_eq!(replayed.status, StatusCode::CREATED);
        let answer = ended.final_response().expect("an answer");
        assert_eq!(Some(&replayed.body), answer.whole_body());
        assert_eq!(another.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

/// A final answer stays the same bytes. A `GET` of the payment shows the code as it is shown now.
#[tokio::test]
async fn a_decline_that_was_answered_stays_as_it_was_answered() {
    let world = World::new(false);
    let asked = asked("pm_card_visa");
    let end = End::Declined(Some("stolen_card".to_owned()));
    let ended = ended(&world, asked.0.as_bytes(), &end).await;
    let answer = ended.final_response().expect("an answer");

    let replayed = world.process(NEVER).told(&asked).await;

    assert_eq!(Some(&replayed.body), answer.whole_body());
    let body = String::from_utf8_lossy(&replayed.body);
    assert!(body.contains("stolen_card"), "{body}");
    let shown = ended.to_json(&serde_json::Map::new());
    assert!(
        shown.contains(r#""decline_code":"generic_decline""#),
        "{shown}"
    );
}

/// What a payment that ends now is answered, and what stays in the ledger.
#[test]
fn a_payer_is_not_told_that_a_card_is_stolen() {
    let payment = crate::ledger::tests::payment(1, State::Confirming, Some("pi_1"));
    for (code, told) in [
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
                text.contains(&format!(r#""decline_code":"{told}""#)),
                "{text}"
            );
        }
    }
}
