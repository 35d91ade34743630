//! The updates of a record in MongoDB. An update has a filter for the document, and the changes to the document.

use bytes::Bytes;
use mongodb::bson::{Bson, Document, doc};

use super::super::mongo_document::{self, binary, integer};
use crate::decision::{Change, Fence, Resolution, Start};
use crate::record::{Record, State, Version};
use crate::store_time::whole_ms;
use crate::{OwnerId, RecordKey};

/// A compare-and-set: a filter for the record, and the operators of its update.
#[derive(Default)]
pub(super) struct Update {
    filter: Document,
    set: Document,
    unset: Document,
    /// A counter to increment besides `rev`.
    counted: Option<&'static str>,
    /// Date fields that are set to the server's time.
    dated: &'static [&'static str],
}

impl Update {
    /// Returns the update that replaces `judged`, the record that was read, by the new attempt `next`.
    pub(super) fn of_claim(key: &RecordKey, judged: &Record, how: Start, next: &Record) -> Self {
        let (set, unset) = mongo_document::reclaimed(next);
        Self {
            filter: filter_of_version(key, judged.version()),
            set,
            unset,
            counted: Some("attempt"),
            dated: match how {
                Start::New | Start::Restart => &["leased_at", "first_at"],
                Start::Reclaim | Start::TakeOver => &["leased_at"],
            },
        }
    }

    /// Returns the update for a change, without reading the record. `None`: the record has to be read first, because
    /// the update needs the revision of the record.
    pub(super) fn at_once(key: &RecordKey, fence: &Fence, change: &Change) -> Option<Self> {
        Some(Self {
            filter: filter_of(key, fence, change)?,
            ..Self::changing(change, TookOver::No)
        })
    }

    /// Returns the update for a change of `judged`, the record that was read.
    pub(super) fn of_change(key: &RecordKey, judged: &Record, change: &Change) -> Self {
        let took_over = if judged.took_over {
            TookOver::Yes
        } else {
            TookOver::No
        };
        Self {
            filter: filter_of_version(key, judged.version()),
            ..Self::changing(change, took_over)
        }
    }

    fn changing(change: &Change, took_over: TookOver) -> Self {
        match change {
            Change::Complete(response) => Self::completing(&response.to_bytes()),
            // A release after a takeover covers only the new attempt. The abandoned attempt may still take effect.
            Change::Release if took_over == TookOver::Yes => Self::setting("state", "unknown"),
            Change::Release => Self {
                dated: &["finished_at"],
                ..Self::setting("state", "released")
            },
            Change::Renew(lease) => Self {
                dated: &["leased_at"],
                ..Self::setting("lease_ms", integer(whole_ms(*lease)))
            },
            Change::Checkpoint(checkpoint) if checkpoint.is_empty() => Self {
                unset: doc! { "checkpoint": "" },
                ..Self::default()
            },
            Change::Checkpoint(checkpoint) => Self::setting("checkpoint", binary(checkpoint)),
            Change::MarkUnknown => Self::setting("state", "unknown"),
        }
    }

    /// Returns the update that resolves the record with the version `seen`.
    pub(super) fn of_resolution(
        key: &RecordKey,
        seen: Version,
        owner: OwnerId,
        resolution: &Resolution,
    ) -> Self {
        let mut update = match resolution {
            Resolution::Completed(response) => Self::completing(&response.to_bytes()),
            Resolution::Released | Resolution::Reopened => Self {
                dated: &["finished_at"],
                ..Self::setting("state", "released")
            },
        };
        update.set.insert("owner", owner.to_string());
        let reopens = *resolution == Resolution::Reopened;
        update.set.insert("took_over", reopens);
        Self {
            filter: filter_of_version(key, seen),
            ..update
        }
    }

    fn completing(response: &Bytes) -> Self {
        Self {
            set: doc! { "state": "completed", "response": binary(response) },
            unset: doc! { "checkpoint": "" },
            dated: &["finished_at"],
            ..Self::default()
        }
    }

    fn setting(field: &str, value: impl Into<Bson>) -> Self {
        Self {
            set: doc! { field: value },
            ..Self::default()
        }
    }

    /// Returns the filter, and the operators of the update.
    pub(super) fn into_documents(self) -> (Document, Document) {
        let mut counted = doc! { "rev": 1_i64 };
        counted.extend(self.counted.map(|field| (field.to_owned(), 1_i64.into())));
        let mut update = doc! { "$inc": counted };
        // MongoDB before 5.0 rejects an operator without fields.
        if !self.set.is_empty() {
            update.insert("$set", self.set);
        }
        if !self.unset.is_empty() {
            update.insert("$unset", self.unset);
        }
        if !self.dated.is_empty() {
            let dates = self
                .dated
                .iter()
                .map(|field| ((*field).to_owned(), true.into()));
            update.insert("$currentDate", dates.collect::<Document>());
        }
        (self.filter, update)
    }
}

/// Whether the attempt is a takeover.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TookOver {
    Yes,
    No,
}

/// Returns a filter that matches only the version that was read.
fn filter_of_version(key: &RecordKey, judged: Version) -> Document {
    doc! {
        "_id": key.as_str(),
        "owner": judged.owner.to_string(),
        "rev": integer(judged.rev),
        "first_at": mongo_document::within(judged.first_at),
    }
}

/// Returns a filter for the owner's record, for a change that is sent without reading the record. `None`: the record
/// has to be read first, because the change needs the revision of the record.
fn filter_of(key: &RecordKey, fence: &Fence, change: &Change) -> Option<Document> {
    let mut filter = doc! {
        "_id": key.as_str(),
        "owner": fence.claim.owner.to_string(),
        "attempt": integer(fence.attempt),
        "state": State::InProgress.name(),
    };
    match change {
        Change::Complete(_) => {
            filter.insert("state", doc! { "$in": ["in_progress", "unknown"] });
        }
        Change::Release => {
            filter.insert("took_over", false);
        }
        Change::Renew(_) | Change::Checkpoint(_) if fence.rev == 0 => return None,
        Change::Renew(_) => {
            filter.insert("rev", integer(fence.rev));
            filter.insert("took_over", false);
        }
        Change::Checkpoint(_) => {
            filter.insert("rev", integer(fence.rev));
        }
        Change::MarkUnknown => {}
    }
    Some(filter)
}
