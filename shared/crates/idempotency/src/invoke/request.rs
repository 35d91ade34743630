//! Requests of remote callers, and their parsing.

use std::ops::RangeInclusive;
use std::time::Duration;

use foundation::text::has_invisible;
use serde_json::value::RawValue;

use super::object::{Expected, Object, Problem, Problems};
use crate::config::LONGEST_CHECKPOINT;
use crate::{
    AmbiguousPayload, Fingerprint, IdempotencyKey, LeaseToken, NoEffect, Operation, OwnerId,
    Policy, RecordKey, Request as Asked, Revision, Scope,
};

/// A valid request.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Begin(Begin),
    Complete(LeaseToken, &'a RawValue),
    Release(LeaseToken),
    MarkUnknown(LeaseToken),
    Renew(LeaseToken, Option<Duration>),
    Checkpoint(LeaseToken, &'a RawValue),
    Status(RecordKey),
    Resolve(RecordKey, Revision, Finding<'a>),
}

/// The finding of the caller about an operation with an unknown outcome.
#[derive(Debug)]
pub(super) enum Finding<'a> {
    /// The operation took effect, with this response.
    Completed(&'a RawValue),
    /// The operation had no effect, and can have none later.
    Released(NoEffect),
}

/// A request to claim a key.
#[derive(Debug)]
pub(super) struct Begin {
    /// The scope as the caller sent it, because the reply repeats it.
    pub(super) scope: String,
    /// The key as the caller sent it, because the reply repeats it.
    pub(super) key: String,
    pub(super) operation: Operation,
    pub(super) owner: OwnerId,
    pub(super) lease: Option<Duration>,
}

const LONGEST_SCOPE: usize = 128;
const LONGEST_RESPONSE: usize = 256 * 1024;
/// The valid lengths of a lease, in milliseconds.
const LEASE_MS: RangeInclusive<u64> = 1..=900_000;
/// The valid numbers of an attempt or a revision. Every store can count up to the largest valid number.
const ATTEMPTS: RangeInclusive<u64> = 1..=4_294_967_295;
const EVER_MS: RangeInclusive<u64> = 0..=9_007_199_254_740_991;

const INVISIBLE: Expected =
    "contains a control character, a direction mark, or another invisible character";
const ONE_OF_TWO: Expected = "expected either `payload` or `fingerprint`, not both";

impl<'a> Request<'a> {
    /// Parses a request, or returns all its problems.
    pub(super) fn parse(json: Option<&'a RawValue>, namespace: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let request = match json {
            Some(json) => Object::read(json, "", &mut problems)
                .and_then(|object| Self::read(object, namespace, &mut problems)),
            None => {
                problems.add("", "expected JSON");
                None
            }
        };
        match request {
            Some(request) if problems.is_empty() => Ok(request),
            _ => Err(problems.into_vec()),
        }
    }

    fn read(mut object: Object<'a>, namespace: &str, problems: &mut Problems) -> Option<Self> {
        // Without the operation, the other members have no meaning.
        let operation = object.required("operation", operation, problems)?;
        let request = match operation.as_str() {
            "begin" => begin(&mut object, namespace, problems).map(Self::Begin),
            "status" => {
                named(&mut object, namespace, problems).map(|named| Self::Status(named.record))
            }
            "resolve" => resolve(&mut object, namespace, problems),
            _ => Self::of_owner(&operation, &mut object, namespace, problems),
        };
        object.end(problems);
        request
    }

    /// Parses a request of a lease holder.
    fn of_owner(
        operation: &str,
        object: &mut Object<'a>,
        namespace: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let token = object
            .object("lease", "/lease", problems)
            .and_then(|lease| token(lease, namespace, problems));
        Some(match operation {
            "complete" => {
                let response = object.required("response", response, problems);
                Self::Complete(token?, response?)
            }
            "checkpoint" => {
                let data = object.required("data", checkpoint_data, problems);
                Self::Checkpoint(token?, data?)
            }
            "renew" => {
                let lease = object.optional("lease_ms", lease, problems);
                Self::Renew(token?, lease)
            }
            "release" => Self::Release(token?),
            _ => Self::MarkUnknown(token?),
        })
    }
}

fn operation(value: &RawValue) -> Result<String, Expected> {
    const OPERATIONS: [&str; 8] = [
        "begin",
        "complete",
        "release",
        "mark_unknown",
        "renew",
        "checkpoint",
        "status",
        "resolve",
    ];
    text(value)
        .filter(|text| OPERATIONS.contains(&text.as_str()))
        .ok_or(
            "expected `begin`, `complete`, `release`, `mark_unknown`, `renew`, `checkpoint`, `status` or `resolve`",
        )
}

fn begin(object: &mut Object<'_>, namespace: &str, problems: &mut Problems) -> Option<Begin> {
    let named = named(object, namespace, problems);
    // Only `begin` creates keys, so only `begin` rejects a scope with invisible characters. Older versions accepted
    // such scopes. So keys with such scopes can still be read, finished and resolved.
    if named
        .as_ref()
        .is_some_and(|named| has_invisible(&named.scope))
    {
        problems.add("/scope", INVISIBLE);
    }
    let owner = object.required("owner", owner, problems);
    let lease = object.optional("lease_ms", lease, problems);
    let policy = object.optional("policy", policy, problems);
    let fingerprint = asked(object, problems);
    let named = named?;
    Some(Begin {
        scope: named.scope,
        key: named.key,
        operation: Operation::new(named.record, fingerprint?)
            .with_policy(policy.unwrap_or_default()),
        owner: owner?,
        lease,
    })
}

fn resolve<'a>(
    object: &mut Object<'a>,
    namespace: &str,
    problems: &mut Problems,
) -> Option<Request<'a>> {
    let named = named(object, namespace, problems);
    let revision = object.required("revision", revision, problems);
    let resolution = object.required("as", resolution, problems);
    // Without the resolution, the other members have no meaning.
    let finding = match resolution? {
        Resolution::Completed => object
            .required("response", response, problems)
            .map(Finding::Completed),
        Resolution::Released => object
            .required("reason", reason, problems)
            .map(Finding::Released),
    };
    Some(Request::Resolve(named?.record, revision?, finding?))
}

enum Resolution {
    Completed,
    Released,
}

fn resolution(value: &RawValue) -> Result<Resolution, Expected> {
    match text(value).as_deref() {
        Some("completed") => Ok(Resolution::Completed),
        Some("released") => Ok(Resolution::Released),
        _ => Err("expected `completed` or `released`"),
    }
}

/// Parses the reason of a release. "It has had no effect yet" is not a reason. The process of the attempt may be
/// frozen, and continue later.
fn reason(value: &RawValue) -> Result<NoEffect, Expected> {
    match text(value).as_deref() {
        Some("fenced_by_provider") => Ok(NoEffect::FencedByProvider),
        Some("attempt_ended") => Ok(NoEffect::AttemptEnded),
        _ => Err("expected `fenced_by_provider` or `attempt_ended`"),
    }
}

fn revision(value: &RawValue) -> Result<Revision, Expected> {
    text(value)
        .and_then(|text| Revision::parse(&text))
        .ok_or("expected the `revision` from `status`")
}

/// Returns the fingerprint that the caller sent, or computes it from the payload.
fn asked(object: &mut Object<'_>, problems: &mut Problems) -> Option<Fingerprint> {
    let payload = object.optional("payload", |payload| Ok(payload.get()), problems);
    let given = object.optional("fingerprint", |value| Ok(fingerprint(value)), problems);
    match (payload, given) {
        (Some(payload), None) => {
            let asked = Asked {
                payload: payload.as_bytes(),
                ..Asked::default()
            };
            let taken = Fingerprint::of(&asked);
            taken
                .map_err(|ambiguous| problems.add("/payload", payload_detail(ambiguous)))
                .ok()
        }
        (None, Some(given)) => given
            .map_err(|expected| problems.add("/fingerprint", expected))
            .ok(),
        (None, None) => {
            problems.add("/payload", ONE_OF_TWO);
            None
        }
        (Some(_), Some(_)) => {
            problems.add("/fingerprint", ONE_OF_TWO);
            None
        }
    }
}

fn payload_detail(ambiguous: AmbiguousPayload) -> Expected {
    match ambiguous {
        AmbiguousPayload::DuplicateMember => "contains an object with a duplicate member",
        AmbiguousPayload::TooDeep => "nested more than 64 levels deep",
    }
}

/// A key and its scope.
struct Named {
    scope: String,
    key: String,
    record: RecordKey,
}

fn named(object: &mut Object<'_>, namespace: &str, problems: &mut Problems) -> Option<Named> {
    let in_namespace = |value: &RawValue| scope(value, namespace);
    let scope = object.required("scope", in_namespace, problems);
    let key = object.required("key", key, problems);
    let ((scope, of_scope), (key, of_key)) = (scope?, key?);
    let record = RecordKey::new(&of_scope, &of_key);
    Some(Named { scope, key, record })
}

fn token(mut lease: Object<'_>, namespace: &str, problems: &mut Problems) -> Option<LeaseToken> {
    let named = named(&mut lease, namespace, problems);
    let owner = lease.required("owner", owner, problems);
    let attempt = lease.required(
        "attempt",
        |value| whole(value, &ATTEMPTS).ok_or("expected a whole number from 1 to 4294967295"),
        problems,
    );
    let fingerprint = lease.required("fingerprint", fingerprint, problems);
    let rev = lease.optional(
        "rev",
        |value| whole(value, &ATTEMPTS).ok_or("expected a whole number from 1 to 4294967295"),
        problems,
    );
    // The caller got `expires_in_ms` in the reply, and sends it back with the rest of the lease. The value is ignored,
    // because the store has the end of the lease.
    lease.optional(
        "expires_in_ms",
        |value| whole(value, &EVER_MS).ok_or("expected a whole number"),
        problems,
    );
    lease.end(problems);
    Some(LeaseToken {
        key: named?.record,
        owner: owner?,
        attempt: attempt?,
        fingerprint: fingerprint?,
        rev,
    })
}

fn scope(value: &RawValue, namespace: &str) -> Result<(String, Scope), Expected> {
    text(value)
        .filter(|text| (1..=LONGEST_SCOPE).contains(&text.len()))
        .and_then(|text| Some((Scope::function(namespace, &text).ok()?, text)))
        .map(|(scope, text)| (text, scope))
        .ok_or("expected a string of 1 to 128 bytes")
}

fn key(value: &RawValue) -> Result<(String, IdempotencyKey), Expected> {
    text(value)
        .and_then(|text| Some((IdempotencyKey::parse(&text).ok()?, text)))
        .map(|(key, text)| (text, key))
        .ok_or("expected a string of 1 to 255 visible ASCII characters without a comma")
}

fn owner(value: &RawValue) -> Result<OwnerId, Expected> {
    text(value)
        .and_then(|text| OwnerId::from_hex(&text))
        .filter(|owner| *owner != OwnerId::NONE)
        .ok_or("expected 32 lowercase hexadecimal digits, random and fresh for each `begin`")
}

fn fingerprint(value: &RawValue) -> Result<Fingerprint, Expected> {
    text(value)
        .and_then(|text| Fingerprint::from_hex(&text))
        .ok_or("expected 64 lowercase hexadecimal digits")
}

fn policy(value: &RawValue) -> Result<Policy, Expected> {
    match text(value).as_deref() {
        Some("at_most_once") => Ok(Policy::AtMostOnce),
        Some("rerun") => Ok(Policy::RerunAlways),
        _ => Err("expected `at_most_once` or `rerun`"),
    }
}

fn lease(value: &RawValue) -> Result<Duration, Expected> {
    whole(value, &LEASE_MS)
        .map(Duration::from_millis)
        .ok_or("expected whole milliseconds from 1 to 900000")
}

fn response(value: &RawValue) -> Result<&RawValue, Expected> {
    at_most(LONGEST_RESPONSE, value).ok_or("longer than 262144 bytes")
}

fn checkpoint_data(value: &RawValue) -> Result<&RawValue, Expected> {
    at_most(LONGEST_CHECKPOINT, value).ok_or("longer than 65536 bytes")
}

fn at_most(longest: usize, value: &RawValue) -> Option<&RawValue> {
    (value.get().len() <= longest).then_some(value)
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Parses a whole number in any notation: `30000.0` and `3e4` are whole numbers too.
fn whole(value: &RawValue, range: &RangeInclusive<u64>) -> Option<u64> {
    let number: f64 = serde_json::from_str(value.get()).ok()?;
    let is_whole = number.fract() == 0.0 && number >= 0.0;
    // A double represents every number in the ranges exactly; a larger number saturates.
    is_whole
        .then_some(number as u64)
        .filter(|number| range.contains(number))
}
