//! Checks the `Stripe-Signature` header. It shows that the provider sent the event, and that the event is recent.
//!
//! `Stripe-Signature: t=<seconds since 1970>,v1=<HMAC-SHA256 of "t.body", in hexadecimal>`, with a `v1` for each active
//! secret (<https://docs.stripe.com/webhooks#verify-manually>).

use foundation::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The greatest age of a signature, in seconds. An older signature is rejected, because an attacker may have recorded and replayed it.
const OLDEST: i64 = 300;
/// How far the signature's time may be ahead of our clock, in seconds, because clocks differ. A signature from a later time would be valid
/// for longer than `OLDEST`.
const MOST_AHEAD: i64 = 30;
/// The largest number of signatures in a header that are checked. Stripe sends fewer.
const MOST_SIGNATURES: usize = 8;

/// Whether this `Stripe-Signature` was made for `body` with one of `secrets`, at about the time `now` in seconds since
/// 1970.
pub(super) fn is_signed(signature: &str, body: &[u8], secrets: &[Secret], now: i64) -> bool {
    let entries = || {
        signature
            .split(',')
            .filter_map(|entry| entry.split_once('='))
    };
    let Some((_, time)) = entries().find(|(name, _)| name.trim() == "t") else {
        return false;
    };
    let is_recent = time
        .parse()
        .is_ok_and(|time: i64| (-MOST_AHEAD..=OLDEST).contains(&now.saturating_sub(time)));
    is_recent
        && entries()
            .filter(|(name, _)| name.trim() == "v1")
            .take(MOST_SIGNATURES)
            .filter_map(|(_, digits)| bytes_of(digits))
            .any(|signature| {
                secrets
                    .iter()
                    .any(|secret| is_by(secret, time, body, &signature))
            })
}

/// Whether this signature was made with `secret`. The comparison takes constant time.
fn is_by(secret: &Secret, time: &str, body: &[u8], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return false;
    };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

/// Parses 64 hexadecimal digits into 32 bytes.
fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A signature from Stripe's library; `vectors.py` wrote it.
    #[derive(Clone, Deserialize)]
    struct Vector {
        secret: String,
        time: i64,
        body: String,
        signature: String,
    }

    fn vectors() -> Vec<Vector> {
        #[derive(Deserialize)]
        struct File {
            vectors: Vec<Vector>,
        }
        let file = serde_json::from_str(include_str!("vectors.json"));
        let File { vectors } = file.expect("vectors");
        assert!(vectors.len() >= 18);
        vectors
    }

    fn signed(header: &str, body: &str, secrets: &[&str], now: i64) -> bool {
        let secrets: Vec<_> = secrets.iter().copied().map(Secret::new).collect();
        is_signed(header, body.as_bytes(), &secrets, now)
    }

    impl Vector {
        fn header(&self) -> String {
            format!("t={},v1={}", self.time, self.signature)
        }
    }

    #[test]
    fn a_signature_of_stripes_library_is_valid() {
        for vector in vectors() {
            let Vector {
                secret, time, body, ..
            } = &vector;
            let header = vector.header();
            assert!(signed(&header, body, &[secret], *time), "{body}");
            assert!(signed(&header, body, &["another", secret], *time));
            assert!(!signed(&header, body, &["another"], *time));
            assert!(!signed(&header, body, &[], *time));
            assert!(!signed(&header, &format!("{body} "), &[secret], *time));
        }
    }

    #[test]
    fn a_signature_is_valid_for_five_minutes_and_not_from_the_future() {
        let vector = &vectors()[0];
        let Vector {
            secret, time, body, ..
        } = vector;
        for (later, expected) in [(300, true), (301, false), (-30, true), (-31, false)] {
            let is_valid = signed(&vector.header(), body, &[secret], time + later);
            assert_eq!(is_valid, expected, "after {later} s");
        }
        for far in [i64::MIN, i64::MAX] {
            assert!(!signed(&vector.header(), body, &[secret], far), "{far}");
        }
    }

    #[test]
    fn one_valid_signature_of_several_is_enough() {
        let vector = &vectors()[0];
        let Vector {
            secret,
            time,
            body,
            signature,
        } = vector;
        let wrong = "0".repeat(64);
        let headers = [
            (format!("t={time},v1={wrong},v1={signature}"), true),
            (
                format!("t={time},v0={wrong},v1={signature}, v1=short"),
                true,
            ),
            (format!("v1={signature},t={time}"), true),
            (format!("t={time},v0={signature}"), false),
            (format!("t={time},v1={wrong}"), false),
            (format!("t={time},v1="), false),
            (format!("t={time}x,v1={signature}"), false),
            (format!("t={},v1={signature}", time + 1), false),
            (format!("t=+{time},v1={signature}"), false),
            (format!("v1={signature}"), false),
            (String::new(), false),
        ];
        for (header, expected) in headers {
            assert_eq!(
                signed(&header, body, &[secret], *time),
                expected,
                "{header}"
            );
        }
    }

    #[test]
    fn a_signature_with_one_altered_digit_is_invalid() {
        let vector = &vectors()[4];
        let Vector {
            secret,
            time,
            body,
            signature,
        } = vector;
        for place in 0..signature.len() {
            let mut altered = signature.clone().into_bytes();
            altered[place] = if altered[place] == b'0' { b'1' } else { b'0' };
            let altered = String::from_utf8(altered).expect("digits");
            let header = format!("t={time},v1={altered}");
            assert!(!signed(&header, body, &[secret], *time), "digit {place}");
        }
    }
}
