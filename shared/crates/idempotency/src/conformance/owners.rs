//! Laws of owners and lease tokens: which processes can write for an attempt, and what a repeated claim gets.

#![expect(missing_docs, reason = "the name of a law states the behaviour")]

use std::time::Duration;

use super::Subject;
use super::abandoned::{lease_is_over, with_short_leases};
use super::payment::{
    a_payment, a_resumable_payment, answer, charged, claim_as, lease_of, patience, paying, started,
};
use crate::{Blocked, ClaimOutcome, LeaseToken, Operation, OwnerId, WriteResult};

const MINUTE: Duration = Duration::from_secs(60);

pub async fn the_derived_key_is_the_same_for_every_attempt(subject: Subject) {
    let subject = with_short_leases(subject);
    let (engine, payment) = (subject.engine(), a_resumable_payment());
    let first = started(&engine, &payment).await;
    lease_is_over(&engine, &payment).await;
    let second = started(&subject.engine(), &payment).await;

    assert_eq!(first.derived_key(), second.derived_key());
    assert_ne!(
        started(&engine, &a_payment()).await.derived_key(),
        first.derived_key()
    );
}

pub async fn an_attempt_continues_in_another_process(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    let mut token = lease_of(claim_as(&engine, owner, MINUTE, &payment).await).token();

    let resume_with = |token: &LeaseToken| subject.engine().resume(token.clone(), patience());
    let mut elsewhere = resume_with(&token);
    assert_eq!(
        elsewhere.checkpoint("charging").await,
        WriteResult::Stored(())
    );
    let outdated = resume_with(&token).renew(MINUTE).await;
    assert!(
        matches!(outdated, WriteResult::Outdated(_)),
        "it follows another write"
    );
    token = elsewhere.token();
    let renewal = resume_with(&token).renew(MINUTE).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    token.rev = None;
    let renewal = resume_with(&token).renew(MINUTE).await;
    assert!(matches!(renewal, WriteResult::Stored(_)), "{renewal:?}");
    let resume = || resume_with(&token);
    let completed = resume().complete(charged()).await;
    assert_eq!(completed, WriteResult::Stored(charged()));
    let another = resume().complete(answer("another")).await;
    assert_eq!(another, WriteResult::Stored(charged()));
    let superseded = WriteResult::Superseded(Some(Blocked::Replay(charged())));
    assert_eq!(resume().release().await, superseded);
}

pub async fn a_repeated_claim_has_what_is_left_of_its_lease(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    let first = lease_of(claim_as(&engine, owner, MINUTE, &payment).await);
    assert!(!first.is_repeated());
    assert!(first.lasts() <= MINUTE && first.lasts() > MINUTE / 2);
    let short = Duration::from_millis(1);
    let renewed = engine.resume(first.token(), patience()).renew(short).await;
    assert!(matches!(renewed, WriteResult::Stored(_)), "{renewed:?}");
    lease_is_over(&engine, &payment).await;

    let again = lease_of(claim_as(&subject.engine(), owner, MINUTE, &payment).await);

    assert!(again.is_repeated() && again.attempt() == 1);
    assert_eq!(again.lasts(), Duration::ZERO);
}

pub async fn an_owner_that_is_used_for_two_requests_is_refused(subject: Subject) {
    let (engine, payment) = (subject.engine(), a_payment());
    let owner = OwnerId::fresh();
    lease_of(claim_as(&engine, owner, MINUTE, &payment).await);

    let other = Operation {
        fingerprint: paying(20),
        ..payment
    };
    let outcome = claim_as(&subject.engine(), owner, MINUTE, &other).await;

    assert!(
        matches!(outcome, ClaimOutcome::Blocked(Blocked::Mismatch)),
        "{outcome:?}"
    );
}
