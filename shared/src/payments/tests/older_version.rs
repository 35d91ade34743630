//! What an older version has left in the ledger.

use http::StatusCode;

use super::{NEVER, World, invocation_of};
use crate::deadline::Deadline;
use crate::idempotency::{self, Fingerprint};
use crate::payments::ledger::Change;
use crate::payments::payment::End;
use crate::payments::{Moment, Order, Payment};

/// An earlier version took orders for which Stripe has no amount. Who was charged then is not told now that nothing was.
#[tokio::test]
async fn an_order_that_was_taken_is_answered_though_it_would_be_refused_now() {
    let world = World::new(false);
    let till = world.process(NEVER);
    let repetition = invocation_of(1_000_000, "UGX", "pm_card_visa");
    let refused = till.create(&repetition).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let key = world.key();
    let body = repetition.request.body();
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
        Order::parse(body).expect("an order"),
        "sandbox",
        Moment::EPOCH,
    );
    let ended = Box::new(taken.ended(&End::Succeeded, Moment::EPOCH));
    let ledger = till.ledger.as_deref().expect("a ledger");
    let opened = ledger.open(&taken, Deadline::UNKNOWN).await;
    let change = Change::EndWithoutIntent(ended.clone());
    let changed = ledger.change(&taken, &change, Deadline::UNKNOWN).await;
    opened.and(changed.map(drop)).expect("written");

    let replayed = till.create(&repetition).await;
    let another = till
        .create(&invocation_of(2_000_000, "UGX", "pm_card_visa"))
        .await;

    assert_eq!(replayed.status(), StatusCode::CREATED);
    let answer = ended.final_answer().expect("an answer");
    assert_eq!(Some(replayed.body()), answer.whole_body());
    assert_eq!(another.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
