//! Records in Redis as another program could forge them.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The length of a record's header. The constants below are the positions of fields in it.
pub(super) const HEADER: usize = 225;
const STATE: Range<usize> = 18..29;
const LEASED_AT: Range<usize> = 85..98;
const LEASE: Range<usize> = 99..106;
pub(super) const FINISHED_AT: Range<usize> = 135..148;
pub(super) const FINGERPRINT: Range<usize> = 151..215;

/// A completed record in Redis.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) header: String,
    pub(super) head: Value,
    body: String,
}

/// Forged records for the key of a declined payment, each with the name of its case. `sound` is the
/// valid record of this payment, and `other` is the record of a payment that succeeded.
pub(super) fn forgeries(sound: &Record, other: &Record) -> Vec<(&'static str, String)> {
    let text = sound.text();
    let without_mac = |record: &mut Record| {
        record.head.as_object_mut().expect("a head").remove("mac");
    };
    let far_future = "9999999999999";
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = format!("{:013}", now.expect("after 1970").as_millis());
    let hint = format!("{} 00000000\n", &text[..FINGERPRINT.end]);
    let hint = replaced(&hint, STATE, "in_progress");
    vec![
        (
            "the whole answer, with the old MAC",
            sound.with(Record::forge),
        ),
        (
            "the status",
            sound.with(|it| it.head["status"] = json!(201)),
        ),
        ("the body", sound.with(|it| it.body = other.body.clone())),
        (
            "a header",
            sound.with(|it| it.head["headers"][1][1] = json!("/api/payments/pay_1")),
        ),
        (
            "no MAC",
            sound.with(|it| {
                it.forge();
                without_mac(it);
            }),
        ),
        ("an answer of the version before", sound.with(without_mac)),
        (
            "a truncated MAC",
            sound.with(|it| {
                let mac = it.head["mac"].as_str().expect("signed")[..62].to_owned();
                it.head["mac"] = json!(mac);
            }),
        ),
        (
            "the MAC of another answer",
            sound.with(|it| {
                it.forge();
                it.head["mac"] = other.head["mac"].clone();
            }),
        ),
        ("another key's record", other.text()),
        (
            "another key's record for this request",
            other.with(|it| {
                it.header
                    .replace_range(FINGERPRINT, &sound.header[FINGERPRINT]);
            }),
        ),
        (
            "another request's record",
            replaced(&text, FINGERPRINT, &"a".repeat(64)),
        ),
        ("a truncated record", text[..text.len() - 1].to_owned()),
        ("an unknown outcome", replaced(&hint, STATE, "unknown    ")),
        (
            "a claim of the future",
            replaced(&hint, LEASED_AT, far_future),
        ),
        (
            "a claim without end",
            replaced(&replaced(&hint, LEASED_AT, &now), LEASE, "9999999"),
        ),
    ]
}

impl Record {
    pub(super) fn parse(text: &str) -> Self {
        let (header, response) = text.split_at(HEADER);
        let (head, body) = response.split_once('\n').expect("a head");
        Self {
            header: header.to_owned(),
            head: serde_json::from_str(head).expect("JSON"),
            body: body.to_owned(),
        }
    }

    pub(super) fn text(&self) -> String {
        let response = format!("{}\n{}", self.head, self.body);
        let fields = &self.header[..FINGERPRINT.end];
        format!("{fields} {:08}\n{response}", response.len())
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut changed = self.clone();
        change(&mut changed);
        changed.text()
    }

    pub(super) fn forge(&mut self) {
        self.head["status"] = json!(201);
        self.body = r#"{"id":"pay_1","status":"succeeded"}"#.to_owned();
    }
}

pub(super) fn replaced(text: &str, range: Range<usize>, field: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(range, field);
    text
}
