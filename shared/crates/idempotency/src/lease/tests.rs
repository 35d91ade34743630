use super::*;
use crate::{Fingerprint, Idempotency, IdempotencyKey, OwnerId, RecordKey, Request, Scope};

/// Returns the lease of an attempt that took over. The lease ends after `lasts`. The provider recognises the derived
/// key for `recognised_for`.
fn lease(lasts: Duration, recognised_for: Option<Duration>) -> Lease {
    let key = IdempotencyKey::parse("k").expect("a key");
    let request = Request::default();
    let token = LeaseToken {
        key: RecordKey::new(&Scope::none(), &key),
        owner: OwnerId::fresh(),
        attempt: 2,
        fingerprint: Fingerprint::of(&request).expect("unambiguous"),
        rev: None,
    };
    let grant = Grant {
        attempt: 2,
        rev: 2,
        is_first: true,
        repeated: false,
        took_over: true,
        checkpoint: Bytes::new(),
        first_at: None,
        lease_left: lasts,
        recognised_for,
    };
    let resumed = Idempotency::in_memory().resume(token, Deadline::UNKNOWN);
    Lease::new(resumed.writer, grant, Deadline::after(lasts))
}

#[test]
fn a_request_may_be_sent_only_while_time_is_left_and_the_provider_recognises_the_key() {
    let (over, minute) = (Duration::ZERO, Duration::from_secs(60));
    let cases = [
        (minute, None, true),
        (minute, Some(minute), true),
        (minute, Some(over), false),
        (over, None, false),
        (over, Some(minute), false),
        (STORING_TIME, Some(minute), false),
    ];
    for (lasts, recognised_for, expected) in cases {
        let may_send = lease(lasts, recognised_for).may_send();
        assert_eq!(may_send, expected, "{lasts:?}, {recognised_for:?}");
    }
}
