//! Laws of results: what is stored, and what is replayed.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::Subject;
use super::payment::{
    Provider, a_payment, answer, asking, charged, claim, fresh_key, key_of, patience, paying,
};
use crate::{
    Blocked, ClaimOutcome, Failure, Lease, Operation, RunOutcome, SavedBody, SavedResponse,
};

pub async fn a_new_key_runs_and_its_result_is_stored(subject: Subject) {
    let (engine, provider, payment) = (subject.engine(), Provider::default(), a_payment());
    let end = provider.pay(&engine, &payment, charged()).await;

    assert_eq!(end, RunOutcome::Fresh(charged()));
    assert_eq!(provider.charges(), 1);
    let ClaimOutcome::Blocked(Blocked::Replay(kept)) = claim(&engine, &payment).await else {
        panic!("not stored");
    };
    assert_eq!(kept, charged());
}

pub async fn a_retry_in_another_process_gets_the_same_response(subject: Subject) {
    let (provider, payment) = (Provider::default(), a_payment());
    provider.pay(&subject.engine(), &payment, charged()).await;

    let elsewhere = subject.engine();
    for _ in 0..3 {
        let end = provider.pay(&elsewhere, &payment, answer("another")).await;
        assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
    }
    assert_eq!(provider.charges(), 1);
    assert_eq!(elsewhere.counts().replay, 3);
}

pub async fn another_key_or_another_tenant_runs(subject: Subject) {
    let (engine, provider) = (subject.engine(), Provider::default());
    let unique = fresh_key().hash().to_string();
    let keys = [
        key_of("alice", &unique),
        key_of("alice", &format!("{unique}2")),
        key_of("bob", &unique),
        key_of(&format!("alice:{unique}"), &unique),
    ];
    for (at, key) in keys.into_iter().enumerate() {
        let end = provider
            .pay(&engine, &Operation::new(key, paying(10)), charged())
            .await;
        assert_eq!(end, RunOutcome::Fresh(charged()), "{at}");
    }
    assert_eq!(provider.charges(), 4);
}

pub async fn formatting_of_json_makes_no_difference(subject: Subject) {
    let (engine, provider, key) = (subject.engine(), Provider::default(), fresh_key());
    let first = Operation::new(key.clone(), asking(r#"{"amount":10,"currency":"EUR"}"#));
    let again = Operation::new(key, asking("{ \"currency\": \"EUR\",\n \"amount\": 10 }"));
    provider.pay(&engine, &first, charged()).await;

    let end = provider.pay(&engine, &again, charged()).await;

    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(charged())));
}

pub async fn an_empty_response_is_replayed(subject: Subject) {
    let (engine, provider) = (subject.engine(), Provider::default());
    for body in ["null", "false", "0", "\"\"", "[]", "{}", ""] {
        let payment = a_payment();
        let response = SavedResponse::new(StatusCode::OK, body);
        provider.pay(&engine, &payment, response.clone()).await;
        let end = provider.pay(&subject.engine(), &payment, charged()).await;
        assert_eq!(
            end,
            RunOutcome::Blocked(Blocked::Replay(response)),
            "{body}"
        );
    }
    assert_eq!(provider.charges(), 7);
}

pub async fn a_final_refusal_is_replayed(subject: Subject) {
    let (engine, provider, payment) = (subject.engine(), Provider::default(), a_payment());
    let declined = SavedResponse::new(StatusCode::PAYMENT_REQUIRED, "declined");
    provider.pay(&engine, &payment, declined.clone()).await;

    let end = provider.pay(&engine, &payment, charged()).await;

    assert_eq!(end, RunOutcome::Blocked(Blocked::Replay(declined)));
    assert_eq!(provider.charges(), 1);
}

pub async fn body_and_headers_are_replayed_unchanged(subject: Subject) {
    let (provider, payment) = (Provider::default(), a_payment());
    let body: Vec<u8> = (0..=255).chain("größe\n".bytes()).collect();
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::SET_COOKIE, "session=1")
        .header(header::CONNECTION, "close")
        .header(
            "x-note",
            HeaderValue::from_bytes(b"caf\xe9").expect("valid"),
        )
        .body(Bytes::from(body.clone()))
        .expect("valid");
    provider
        .pay(&subject.engine(), &payment, SavedResponse::of(&response))
        .await;

    let ClaimOutcome::Blocked(Blocked::Replay(replayed)) = claim(&subject.engine(), &payment).await
    else {
        panic!("not stored");
    };

    assert_eq!(replayed.status, StatusCode::CREATED);
    assert_eq!(replayed.whole_body(), Some(&Bytes::from(body)));
    let expected = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (
            HeaderName::from_static("x-note"),
            HeaderValue::from_bytes(b"caf\xe9").expect("valid"),
        ),
    ];
    assert_eq!(replayed.headers, expected);
}

pub async fn a_large_response_is_stored_whole_and_a_larger_one_as_a_summary(subject: Subject) {
    let (engine, provider) = (subject.engine(), Provider::default());
    for length in [1 << 20, (1 << 20) + 1, 5_500_000] {
        let (payment, body) = (a_payment(), vec![b'x'; length]);
        let end = provider.pay(&engine, &payment, answer(body.clone())).await;
        assert_eq!(end, RunOutcome::Fresh(answer(body.clone())), "{length}");

        let end = provider.pay(&subject.engine(), &payment, charged()).await;
        let RunOutcome::Blocked(Blocked::Replay(replayed)) = end else {
            panic!("{length} ran again: {end:?}");
        };
        let kept = if length > 1 << 20 {
            SavedBody::Summary {
                length: length as u64,
                sha256: Sha256::digest(&body).into(),
            }
        } else {
            SavedBody::Whole(body.into())
        };
        assert!(replayed.body == kept, "{length}: {replayed:?}");
    }
    assert_eq!(provider.charges(), 3);
}

pub async fn a_refusal_before_execution_is_not_stored(subject: Subject) {
    let (engine, provider, key) = (subject.engine(), Provider::default(), fresh_key());
    let refused = engine
        .run(
            &Operation::new(key.clone(), paying(0)),
            patience(),
            async |_: &mut Lease| Err(Failure::NothingHappened("429")),
        )
        .await;
    assert_eq!(
        refused.expect("decided").value,
        RunOutcome::NothingHappened("429")
    );

    let corrected = Operation::new(key, paying(10));
    let end = provider.pay(&subject.engine(), &corrected, charged()).await;

    assert_eq!(end, RunOutcome::Fresh(charged()));
}
