//! A record as Redis stores it: the text of `record/text.rs`, with a retention in the header.
//!
//! ```text
//! tb2 0000086400000 in_progress 7b6f…32 digits 0000000001 0000000001 0000000000000 0032000 …
//!     retention     state       owner          attempt    rev        leased_at     lease
//! ```
//!
//! A plain `SET` does not have the server's time, so it writes a record whose times are zero. These times follow from
//! the key's expiry. A claim expires when the retention has passed since the end of its lease. A result expires when
//! the retention has passed since the result was written. `record.lua` computes the times from the expiry before it
//! changes the expiry, and writes them into its next record.
//!
//! The script also reads the records of older versions. They begin with `tb1`, contain all times, and contain no
//! retention. An older version cannot read a record that begins with `tb2`, so it starts no attempt for that key.

use std::time::Duration;

use bytes::Bytes;

use crate::record::{Record, TIME_WIDTH, append_number};
use crate::store_time::whole_ms;

const VERSION: &str = "tb2";

/// A record, and the retention with which it was written.
pub(super) struct StoredText {
    pub(super) record: Record,
    pub(super) retention: Duration,
}

/// The record as text.
pub(super) fn write(record: &Record, retention: Duration) -> Vec<u8> {
    let mut text = VERSION.as_bytes().to_vec();
    append_number(&mut text, whole_ms(retention), TIME_WIDTH);
    record.append_to(&mut text);
    text
}

/// Parses the text that [`write()`] returns. `None` for any other text, including a record of an older version.
pub(super) fn read(text: &Bytes) -> Option<StoredText> {
    let fields = VERSION.len() + 1 + TIME_WIDTH;
    let header = std::str::from_utf8(text.get(..fields)?).ok()?;
    let retention = header.strip_prefix(VERSION)?.strip_prefix(' ')?;
    let digits = retention.bytes().all(|byte| byte.is_ascii_digit());
    Some(StoredText {
        retention: Duration::from_millis(digits.then(|| retention.parse().ok())??),
        record: Record::from_fields(&text.slice(fields..))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::State;
    use crate::store_time::StoreTime;
    use crate::{Fingerprint, OwnerId, Policy};

    const RETENTION: Duration = Duration::from_secs(86_400);

    fn record() -> Record {
        Record {
            state: State::InProgress,
            owner: OwnerId::from_hex("00112233445566778899aabbccddeeff").expect("an owner"),
            attempt: 1,
            rev: 1,
            leased_at: StoreTime::from_ms(0),
            lease: Duration::from_secs(32),
            fingerprint: Fingerprint::from_hex(&"3a7b".repeat(16)).expect("a fingerprint"),
            policy: Policy::AtMostOnce,
            first_at: StoreTime::from_ms(0),
            took_over: false,
            checkpoint: Bytes::from("pi_1"),
        }
    }

    /// During a deployment, two versions of a function read each other's records. So this text must never change.
    #[test]
    fn a_record_is_written_as_it_always_was() {
        let text = write(&record(), RETENTION);
        assert_eq!(
            String::from_utf8(text).expect("text"),
            concat!(
                r#"tb2 0000086400000 in_progress 00112233445566778899aabbccddeeff 0000000001 0000000001 0000000000000 0032000 0000000000000 0000000000000 0000000000000 0 3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b 00000004"#,
                "\n",
                r#"pi_1"#,
            )
        );
    }

    #[test]
    fn only_whole_records_of_this_version_are_read() {
        let text = Bytes::from(write(&record(), RETENTION));
        let stored = read(&text).expect("a record");
        assert_eq!((stored.record, stored.retention), (record(), RETENTION));
        for end in 0..text.len() {
            assert!(read(&text.slice(..end)).is_none(), "{end} bytes");
        }
        let older = Bytes::from(record().to_text());
        assert!(read(&older).is_none());
        let text = String::from_utf8(text.to_vec()).expect("text");
        for other in [
            text.replacen("tb2", "tb3", 1),
            text.replacen("2 0", "2 +", 1),
        ] {
            assert!(read(&Bytes::from(other)).is_none());
        }
    }

    #[test]
    fn the_headers_are_as_long_as_the_scripts_think() {
        let old = record().to_text().len() - record().checkpoint.len();
        let new = write(&record(), RETENTION).len() - record().checkpoint.len();
        let last = new - 1;
        for script in [include_str!("record.lua"), include_str!("hints.lua")] {
            assert!(script.contains(&format!("local HEADER, OLD_HEADER = {new}, {old}\n")));
            assert!(script.contains(&format!("HEADER_START, HEADER_END = '0', '{last}'\n")));
        }
    }
}
