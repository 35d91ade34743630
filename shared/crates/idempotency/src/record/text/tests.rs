use http::{HeaderValue, StatusCode, header};
use proptest::prelude::*;

use super::*;

const OWNER: &str = "00112233445566778899aabbccddeeff";

fn record(state: State) -> Record {
    Record {
        state,
        owner: OwnerId::from_hex(OWNER).expect("an owner"),
        attempt: 2,
        rev: 5,
        leased_at: StoreTime::from_ms(1_764_000_000_000),
        lease: Duration::from_secs(32),
        fingerprint: Fingerprint::from_hex(&"3a7b".repeat(16)).expect("a fingerprint"),
        policy: Policy::AtMostOnce,
        first_at: StoreTime::from_ms(1_763_999_000_000),
        took_over: false,
        checkpoint: Bytes::new(),
    }
}

fn text(record: &Record) -> String {
    String::from_utf8(record.to_text()).expect("text")
}

/// During a deployment, two versions of a function read each other's records. So these texts must never change.
#[test]
fn a_record_is_written_as_it_always_was() {
    let at_work = Record {
        checkpoint: Bytes::from("pi_1"),
        took_over: true,
        policy: Policy::RerunAlways,
        ..record(State::InProgress)
    };
    assert_eq!(
        text(&at_work),
        concat!(
            r#"tb1 in_progress 00112233445566778899aabbccddeeff 0000000002 0000000005 1764000000000 0032000 9999999999999 1763999000000 0000000000000 1 3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b 00000004"#,
            "\n",
            r#"pi_1"#,
        )
    );

    let mut response = SavedResponse::new(StatusCode::CREATED, "{\"id\":1}\n");
    response.headers.push((
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    ));
    let completed = State::Completed {
        finished_at: StoreTime::from_ms(1_764_000_001_234),
        response: response.clone(),
    };
    assert_eq!(
        text(&record(completed)),
        concat!(
            r#"tb1 completed   00112233445566778899aabbccddeeff 0000000002 0000000005 1764000000000 0032000 0000000000000 1763999000000 1764000001234 0 3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b 00000072"#,
            "\n",
            r#"{"status":201,"headers":[["content-type","application/json"]]}"#,
            "\n",
            r#"{"id":1}"#,
            "\n",
        )
    );

    let summary = State::Completed {
        finished_at: StoreTime::from_ms(1_764_000_001_234),
        response: response.limited_to(3),
    };
    assert_eq!(
        text(&record(summary)),
        concat!(
            r#"tb1 completed   00112233445566778899aabbccddeeff 0000000002 0000000005 1764000000000 0032000 0000000000000 1763999000000 1764000001234 0 3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b3a7b 00000162"#,
            "\n",
            r#"{"status":201,"headers":[["content-type","application/json"]],"summary":{"length":9,"sha256":"51bc513113548e062ada62b03efea153cae2abdf46b051c551c3e62a4dfb88cf"}}"#,
            "\n",
        )
    );
}

fn any_record() -> impl Strategy<Value = Record> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let state = (0..4_u8, body.clone(), 0..9_999_999_999_999_u64).prop_map(|(kind, body, at)| {
        let finished_at = StoreTime::from_ms(at);
        match kind {
            0 => State::InProgress,
            1 => State::Unknown,
            2 => State::Released { finished_at },
            _ => State::Completed {
                finished_at,
                response: SavedResponse::new(StatusCode::OK, body),
            },
        }
    });
    (state, body, any::<bool>(), 0..10_000_000_000_000_u64).prop_map(
        |(state, checkpoint, took_over, bound_ms)| {
            let checkpoint = match state {
                State::Completed { .. } => Bytes::new(),
                _ => checkpoint.into(),
            };
            Record {
                checkpoint,
                took_over,
                policy: Policy::from_bound_ms(bound_ms),
                ..record(state)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read(record in any_record()) {
        prop_assert_eq!(Record::from_text(&record.to_text().into()), Ok(record));
    }

    #[test]
    fn what_is_cut_off_or_has_more_is_unreadable(record in any_record(), cut in 1..220_usize) {
        let whole = record.to_text();
        let shorter = Bytes::from(whole[..whole.len().saturating_sub(cut)].to_vec());
        let longer = Bytes::from([&whole[..], b"x"].concat());
        prop_assert_eq!(Record::from_text(&shorter), Err(Unreadable));
        prop_assert_eq!(Record::from_text(&longer), Err(Unreadable));
    }

    #[test]
    fn damage_never_panics(record in any_record(), at in any::<usize>(), byte: u8) {
        let mut text = record.to_text();
        let at = at % text.len();
        text[at] = byte;
        let _ = Record::from_text(&text.into());
    }

    #[test]
    fn foreign_values_are_unreadable(bytes: Vec<u8>) {
        prop_assert_eq!(Record::from_text(&bytes.into()), Err(Unreadable));
    }
}
