//! A secret that can be replaced while functions run.
//!
//! A value from the environment never changes. A value from the store is read at the first use and used for its time to live. A
//! client whose value is refused asks for a newer one: so the first request after a rotation notices it. Reads that bring nothing
//! new become rarer and rarer, because a misconfigured server, or a stranger who signs webhooks, must not become a load on the store.
//!
//! While the store does not answer, the last value stays in use, however old it is. One caller reads at a time, and all clients of a
//! process that need the same secret share it ([`Secrets`]). Nothing is read in the background.

mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::{info, warn};

use self::pace::{Brought, Pace};
use super::{Secret, SecretSource, StoredSecret};
use crate::deadline::Deadline;
use crate::wall_clock::{self, older_than};

/// Where secrets are kept that can be replaced, for example AWS Secrets Manager.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// The value of a secret, as it is now.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where there is none by `deadline`.
    async fn read(&self, secret: &StoredSecret, deadline: Deadline) -> Result<Secret, ReadError>;
}

/// Why a store gave no value. Its text is fixed: the store's own can quote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret store unavailable: {code}")]
pub struct ReadError {
    /// The store's code, or ours: `timeout`, `connection_failed`, `empty`, `no_store`.
    pub code: String,
}

/// The secrets of a process. Cheap to clone; all clones share the values.
#[derive(Clone)]
pub struct Secrets {
    /// `None`: there is no store, and a stored secret has no value.
    store: Option<Arc<dyn SecretStore>>,
    /// The one cell for each secret of the store, by its name.
    cells: Arc<Mutex<BTreeMap<String, Arc<StoredCell>>>>,
}

/// A secret as its client sees it. Cheap to clone. Not `Debug`.
#[derive(Clone)]
pub enum SecretCell {
    /// It never changes.
    Fixed(Secret),
    /// It is kept in a store.
    Stored(Arc<StoredCell>),
}

/// A secret of a store, as far as this process knows it.
pub struct StoredCell {
    stored: StoredSecret,
    store: Option<Arc<dyn SecretStore>>,
    /// Never locked across an await.
    known: Mutex<Known>,
    /// Held by whoever reads it.
    reading: tokio::sync::Mutex<()>,
}

/// The secret could not be read, and never has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret unavailable")]
pub struct Unread;

#[derive(Default)]
struct Known {
    /// The value that was read last, and when.
    held: Option<(Secret, u64)>,
    pace: Pace,
}

/// A first read that was given less time than this, because the caller had no more, says nothing of the store.
const FAIR_READ: Duration = Duration::from_millis(500);
/// The longest that a caller waits for a newer value while the old one may be as good.
const LONGEST_REFRESH: Duration = Duration::from_secs(1);

impl Secrets {
    /// The secrets of a store. Nothing is read.
    pub fn new(store: Arc<dyn SecretStore>) -> Self {
        Self {
            store: Some(store),
            cells: Arc::default(),
        }
    }

    /// Secrets where no store is: a value from the environment is used, a stored one counts as unread.
    pub fn without_store() -> Self {
        Self {
            store: None,
            cells: Arc::default(),
        }
    }

    /// The secret of a source. Nothing is read.
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
    /// The value to use now.
    ///
    /// # Errors
    ///
    /// [`Unread`] where there is none.
    ///
    /// # Cancel safety
    ///
    /// Reads alone; a dropped read is the next caller's.
    pub async fn value(&self, deadline: Deadline) -> Result<Secret, Unread> {
        match self {
            Self::Fixed(secret) => Ok(secret.clone()),
            Self::Stored(cell) => cell.value(deadline).await,
        }
    }

    /// Another value than the one that was refused, if there is one.
    ///
    /// # Cancel safety
    ///
    /// Reads alone; a dropped read is the next caller's.
    pub async fn newer_than(&self, refused: &Secret, deadline: Deadline) -> Option<Secret> {
        match self {
            Self::Fixed(_) => None,
            Self::Stored(cell) => cell.newer_than(refused, deadline).await,
        }
    }
}

impl StoredCell {
    async fn value(&self, deadline: Deadline) -> Result<Secret, Unread> {
        let held = self.held();
        if let Some((value, read_ms)) = &held {
            // The old one does while another caller is at it, and where reading is of no use.
            let turn = older_than(*read_ms, self.stored.ttl).then(|| self.reading.try_lock());
            let Some(Ok(_turn)) = turn else {
                return Ok(value.clone());
            };
            // There is another way to go on, which needs time as well.
            let limit = deadline.clip(2 * LONGEST_REFRESH) / 2;
            self.read(Brought::AsDue, deadline.within(limit)).await;
        } else {
            let turn = deadline.bound(self.reading.lock()).await;
            let _turn = turn.map_err(|_| Unread)?;
            // Whoever had the turn before may have read it.
            if self.held().is_none() {
                self.read(Brought::AsDue, deadline).await;
            }
        }
        self.held().map(|(value, _)| value).ok_or(Unread)
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
            self.read(Brought::NothingNew, deadline).await;
        }
        newer()
    }

    /// Reads the secret, unless that was tried too lately. `same` says what it comes to when the value is the one that is
    /// known.
    async fn read(&self, same: Brought, deadline: Deadline) {
        if !self.known.lock().pace.allows(wall_clock::now_ms()) {
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
                let brought = if is_new { Brought::News } else { same };
                known.pace.note(brought, now_ms);
                if is_new {
                    info!(secret.variable = self.stored.variable, "a secret was read");
                }
            }
            Err(error) if had_time || error.code != "timeout" => {
                known.pace.note(Brought::Failure, now_ms);
                warn!(
                    secret.variable = self.stored.variable,
                    secret.error_code = error.code,
                    "a secret could not be read"
                );
            }
            Err(_) => {}
        }
    }

    fn held(&self) -> Option<(Secret, u64)> {
        self.known.lock().held.clone()
    }
}
