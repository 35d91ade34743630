//! A secret that can be rotated while functions run.
//!
//! A value from the environment never changes. A value in a store is read at its first use, and again after its time to
//! live. If a server rejects the value, the client requests a newer value. So the first request after a rotation gets
//! the new value. Each read without a new value makes the pause before the next read longer. Otherwise, a misconfigured
//! server, or an attacker who sends wrong signatures, could cause many reads of the store.
//!
//! While the store is unavailable, the last value stays in use, even after its time to live. Only one caller reads at a
//! time. All clients of a process that need the same secret share its value ([`Secrets`]). Nothing is read in the
//! background.

mod backoff;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::{info, warn};

use self::backoff::{ReadBackoff, ReadOutcome};
use super::{Secret, SecretSource, StoredSecret};
use crate::deadline::Deadline;
use crate::wall_clock::{self, older_than};

/// A store of secrets that can be rotated, for example AWS Secrets Manager.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Reads the current value of a secret.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if there is no value by `deadline`.
    async fn read(&self, secret: &StoredSecret, deadline: Deadline) -> Result<Secret, ReadError>;
}

/// Why a store returned no value. The error keeps only a code, because the store's error message can contain parts of
/// the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret store unavailable: {code}")]
pub struct ReadError {
    /// The error code of the store, or a code of this program: `timeout`, `connection_failed`, `empty`, `no_store`.
    pub code: String,
}

/// The secrets of a process. Cheap to clone; all clones share the values.
#[derive(Clone)]
pub struct Secrets {
    /// The store; `None`: there is no store, so a stored secret has no value.
    store: Option<Arc<dyn SecretStore>>,
    /// One cell per secret, by its ARN.
    cells: Arc<Mutex<BTreeMap<String, Arc<StoredCell>>>>,
}

/// A secret for the clients that use it. Cheap to clone. Not `Debug`.
#[derive(Clone)]
pub enum SecretCell {
    /// A value that never changes.
    Fixed(Secret),
    /// A value in a store.
    Stored(Arc<StoredCell>),
}

/// A secret in a store, and its last value.
pub struct StoredCell {
    stored: StoredSecret,
    store: Option<Arc<dyn SecretStore>>,
    /// The last value, and the pause before the next read. Never locked across an await.
    known: Mutex<Known>,
    /// Locked while a caller reads the secret.
    reading: tokio::sync::Mutex<()>,
}

/// The secret has no value: it cannot be read now, and no earlier read succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret unavailable")]
pub struct SecretUnavailable;

#[derive(Default)]
struct Known {
    /// The last value, and the time at which it was read, in wall-clock milliseconds.
    held: Option<(Secret, u64)>,
    backoff: ReadBackoff,
}

/// A timeout of the first read of a secret counts as a failure only if the read had at least this time. If a read has
/// less time, the caller's deadline ends it. Then the timeout does not show that the store is unavailable.
const FAIR_READ: Duration = Duration::from_millis(500);
/// The longest wait for a newer value while the old one may still be valid.
const LONGEST_REFRESH: Duration = Duration::from_secs(1);

impl Secrets {
    /// Creates the secrets of a store. It reads nothing.
    pub fn new(store: Arc<dyn SecretStore>) -> Self {
        Self {
            store: Some(store),
            cells: Arc::default(),
        }
    }

    /// Creates secrets without a store. Values from the environment are available, but stored secrets are not.
    pub fn without_store() -> Self {
        Self {
            store: None,
            cells: Arc::default(),
        }
    }

    /// Returns the cell for a source. It reads nothing.
    pub fn cell(&self, source: &SecretSource) -> SecretCell {
        let stored = match source {
            SecretSource::Given(secret) => return SecretCell::Fixed(secret.clone()),
            SecretSource::Stored(stored) => stored,
        };
        let mut cells = self.cells.lock();
        let cell = cells.entry(stored.arn.clone()).or_insert_with(|| {
            Arc::new(StoredCell {
                stored: stored.clone(),
                store: self.store.clone(),
                known: Mutex::default(),
                reading: tokio::sync::Mutex::default(),
            })
        });
        SecretCell::Stored(Arc::clone(cell))
    }
}

impl SecretCell {
    /// Returns the value to use now.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`] if there is no value.
    ///
    /// # Cancel safety
    ///
    /// A dropped call writes nothing. The next caller reads the secret.
    pub async fn value(&self, deadline: Deadline) -> Result<Secret, SecretUnavailable> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::Stored(cell) => cell.value(deadline).await,
        }
    }

    /// Returns another value than `refused`, if there is one.
    ///
    /// # Cancel safety
    ///
    /// A dropped call writes nothing. The next caller reads the secret.
    pub async fn newer_than(&self, refused: &Secret, deadline: Deadline) -> Option<Secret> {
        match self {
            Self::Fixed(_) => None,
            Self::Stored(cell) => cell.newer_than(refused, deadline).await,
        }
    }
}

impl StoredCell {
    async fn value(&self, deadline: Deadline) -> Result<Secret, SecretUnavailable> {
        let held = self.held();
        if let Some((value, read_ms)) = &held {
            // The old value stays in use while another caller reads, and while reads are paused.
            let turn = older_than(*read_ms, self.stored.ttl).then(|| self.reading.try_lock());
            let Some(Ok(_turn)) = turn else {
                return Ok(value.clone());
            };
            // A slow read must leave time for the caller to continue with the old value.
            let limit = deadline.clip(2 * LONGEST_REFRESH) / 2;
            self.read(ReadOutcome::StillValid, deadline.within(limit))
                .await;
        } else {
            let turn = deadline.bound(self.reading.lock()).await;
            let _turn = turn.map_err(|_| SecretUnavailable)?;
            // The previous caller may have read the secret while this caller waited.
            if self.held().is_none() {
                self.read(ReadOutcome::StillValid, deadline).await;
            }
        }
        self.held().map(|(value, _)| value).ok_or(SecretUnavailable)
    }

    async fn newer_than(&self, refused: &Secret, deadline: Deadline) -> Option<Secret> {
        let newer = || {
            let (value, _) = self.held()?;
            (!value.matches(refused.expose())).then_some(value)
        };
        if let Some(newer) = newer() {
            return Some(newer);
        }
        let _turn = deadline.bound(self.reading.lock()).await.ok()?;
        if newer().is_none() {
            self.read(ReadOutcome::StillRejected, deadline).await;
        }
        newer()
    }

    /// Reads the secret, if reads are not paused. `same` is the outcome to record if the value has not changed.
    async fn read(&self, same: ReadOutcome, deadline: Deadline) {
        if !self.known.lock().backoff.allows(wall_clock::now_ms()) {
            return;
        }
        let had_time = deadline.clip(FAIR_READ) == FAIR_READ || self.held().is_some();
        let answer = match &self.store {
            Some(store) => store.read(&self.stored, deadline).await,
            None => Err(ReadError {
                code: "no_store".to_owned(),
            }),
        };
        let now_ms = wall_clock::now_ms();
        let mut known = self.known.lock();
        match answer {
            Ok(value) => {
                let before = known.held.replace((value.clone(), now_ms));
                let is_new = !before.is_some_and(|(before, _)| before.matches(value.expose()));
                let outcome = if is_new { ReadOutcome::NewValue } else { same };
                known.backoff.record(outcome, now_ms);
                if is_new {
                    info!(
                        secret.variable = self.stored.variable,
                        "read a new value of a secret"
                    );
                }
            }
            Err(error) if had_time || error.code != "timeout" => {
                known.backoff.record(ReadOutcome::Failure, now_ms);
                warn!(
                    secret.variable = self.stored.variable,
                    secret.error_code = error.code,
                    "cannot read a secret: secret.error_code says why; the last value stays in use, if there is one"
                );
            }
            Err(_) => {}
        }
    }

    fn held(&self) -> Option<(Secret, u64)> {
        self.known.lock().held.clone()
    }
}
