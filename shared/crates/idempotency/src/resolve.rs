//! Finding, reading and resolving keys whose outcome is unknown.
//!
//! An attempt that crashes under [`Policy::AtMostOnce`](super::Policy::AtMostOnce) leaves a key that no later attempt
//! may claim. Only the owner of the key or an operator can find out whether the operation took effect.
//!
//! Both read the key first, and then resolve the record that they have read. A [`Revision`] identifies that record, so
//! a resolution never overwrites a later write of an attempt or of another operator.

use foundation::Deadline;
use tracing::info;

use super::entry::{Entry, Progress, Resolution};
use super::store::{Found, Page, ResolveResult, StoreError};
use super::{Idempotency, OwnerId, RecordKey, Revision, decision};

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// There is no record, or the retention of the record is over.
    Absent,
    /// A record.
    Found(Box<Entry>),
    /// A damaged value, or a record of another version of this program. The value may have been a result, so no claim
    /// of the key succeeds.
    Unreadable,
}

/// The result of resolving a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveOutcome {
    /// The key is resolved as requested. This call or an earlier call resolved it, or the attempt itself ended in this
    /// way.
    Stored,
    /// Nothing was written: the record has changed since it was read, an attempt is running, or the key has a result.
    /// Contains the current state.
    Refused(Lookup),
}

/// The unfinished keys of a store, page by page.
pub struct UnfinishedPages<'a> {
    idempotency: &'a Idempotency,
    prefix: &'a str,
    /// The last key of the previous page.
    last: Option<RecordKey>,
}

/// Number of records per page.
const PAGE: u32 = 200;

impl UnfinishedPages<'_> {
    /// Returns the next page. `None`: there are no more keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not answer. The same page may be requested again.
    ///
    /// # Cancel safety
    ///
    /// A dropped call changes nothing.
    pub async fn next_page(
        &mut self,
        deadline: Deadline,
    ) -> Result<Option<Vec<(RecordKey, Lookup)>>, StoreError> {
        let page = Page {
            prefix: self.prefix,
            after: self.last.as_ref(),
            limit: PAGE,
        };
        let found = self
            .idempotency
            .engine
            .store
            .unfinished(page, deadline)
            .await?;
        let Some((last, _)) = found.last() else {
            return Ok(None);
        };
        self.last = Some(last.clone());
        let page = found.into_iter().map(|(key, found)| {
            let lookup = self.idempotency.lookup_of(&key, found);
            (key, lookup)
        });
        Ok(Some(page.collect()))
    }
}

impl Idempotency {
    /// Returns what is stored under a key.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not answer.
    pub async fn look_up(&self, key: &RecordKey, deadline: Deadline) -> Result<Lookup, StoreError> {
        let found = self.engine.store.read(key, deadline).await?;
        Ok(self.lookup_of(key, found))
    }

    /// Returns the record of a key. `None`: there is no record, or it is unreadable.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not answer.
    pub async fn entry(
        &self,
        key: &RecordKey,
        deadline: Deadline,
    ) -> Result<Option<Entry>, StoreError> {
        Ok(match self.look_up(key, deadline).await? {
            Lookup::Found(entry) => Some(*entry),
            Lookup::Absent | Lookup::Unreadable => None,
        })
    }

    /// Returns at most `limit` keys. Finished keys are included.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not answer.
    pub async fn keys(&self, limit: u32, deadline: Deadline) -> Result<Vec<RecordKey>, StoreError> {
        self.engine.store.list(limit, deadline).await
    }

    /// Returns the unfinished keys with this prefix, sorted by name. An unfinished key is running, abandoned, unknown
    /// or unreadable.
    ///
    /// MongoDB finds unfinished keys by an index of the state. So the pages do not contain a record with a damaged
    /// state. In Redis and memory, every key is read. That is suitable for an operator at a terminal, but not for a
    /// schedule.
    pub fn unfinished<'a>(&'a self, prefix: &'a str) -> UnfinishedPages<'a> {
        UnfinishedPages {
            idempotency: self,
            prefix,
            last: None,
        }
    }

    /// Resolves the record with the revision `seen`. `resolution` is the outcome of the operation. The call is refused
    /// while an attempt is running. If the abandoned attempt resumes later, its writes are superseded.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not acknowledge the resolution. The key may or may not be resolved.
    /// A retry of the same call returns the outcome.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have resolved the key.
    pub async fn resolve(
        &self,
        key: &RecordKey,
        seen: Revision,
        resolution: Resolution,
        deadline: Deadline,
    ) -> Result<ResolveOutcome, StoreError> {
        if let Lookup::Found(entry) = self.look_up(key, deadline).await?
            && entry.revision() == seen
            && entry.progress.is_abandoned()
        {
            let resolved = self
                .resolve_entry(&entry, resolution.clone(), deadline)
                .await?;
            if resolved == ResolveResult::Stored {
                return Ok(ResolveOutcome::Stored);
            }
        }
        // An earlier call whose reply was lost may have written this resolution.
        let now = self.look_up(key, deadline).await?;
        Ok(if self.is_resolved_as(&now, &resolution) {
            ResolveOutcome::Stored
        } else {
            ResolveOutcome::Refused(now)
        })
    }

    /// Resolves exactly the record that `entry` was read from. A release is refused while the lease in that record
    /// runs. If the attempt of that record resumes later, its writes are superseded.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the authoritative store did not acknowledge the resolution. The key may or may not be resolved.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may or may not have resolved the key.
    pub async fn resolve_entry(
        &self,
        entry: &Entry,
        resolution: Resolution,
        deadline: Deadline,
    ) -> Result<ResolveResult, StoreError> {
        let (resolved_as, reason) = match &resolution {
            Resolution::Completed(_) => ("completed", None),
            Resolution::Released(reason) => ("released", Some(reason.name())),
            Resolution::Reopened => ("reopened", None),
        };
        let written = match resolution {
            Resolution::Completed(response) => {
                let (key, fingerprint) = (&entry.key, &entry.fingerprint);
                let storable = self.engine.storable(key, fingerprint, &response, deadline);
                decision::Resolution::Completed(storable.await)
            }
            Resolution::Released(_) => decision::Resolution::Released,
            Resolution::Reopened => decision::Resolution::Reopened,
        };
        let resolved = self
            .engine
            .store
            .resolve(
                &entry.key,
                entry.version,
                OwnerId::fresh(),
                &written,
                deadline,
            )
            .await?;
        if resolved == ResolveResult::Stored {
            info!(
                idempotency.key_hash = %entry.key.hash(),
                idempotency.resolved_as = resolved_as,
                idempotency.reason = reason,
                "unfinished key resolved"
            );
        }
        Ok(resolved)
    }

    fn lookup_of(&self, key: &RecordKey, found: Found) -> Lookup {
        let retention = self.engine.config.retention;
        match found {
            Found::Nothing => Lookup::Absent,
            Found::Unreadable => Lookup::Unreadable,
            Found::Record(record, now) if record.is_over(retention, now) => Lookup::Absent,
            Found::Record(record, now) => {
                Lookup::Found(Box::new(Entry::of(key, *record, retention, now)))
            }
        }
    }

    fn is_resolved_as(&self, lookup: &Lookup, resolution: &Resolution) -> bool {
        let Lookup::Found(entry) = lookup else {
            return false;
        };
        match (&entry.progress, resolution) {
            (Progress::Completed(stored), Resolution::Completed(response)) => {
                stored.unsigned() == response.limited_to(self.engine.config.max_response_bytes)
            }
            (Progress::Released, Resolution::Released(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
