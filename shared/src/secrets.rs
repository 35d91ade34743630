//! A secret that can be replaced while functions run.
//!
//! What the environment holds is what it is. What Secrets Manager holds is read at the first use, and used for
//! `SECRETS_TTL_SECONDS`. Whoever is refused with it asks for a newer one, which is how a rotation is noticed: at once, by
//! the first request that meets it. Asking again and again in vain becomes rarer and rarer, as a server that is
//! misconfigured, or a stranger who signs webhooks, must not become a load on Secrets Manager.
//!
//! While Secrets Manager does not answer, the last value stays in use, however old it is. One caller reads at a time, and
//! all clients of a process that need the same secret share it. Nothing is read in the background.

mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use self::pace::{Brought, Pace};
use crate::aws;
use crate::config::{Secret, SecretSource, StoredSecret};
use crate::deadline::Deadline;
use crate::wall_clock::{self, older_than};

/// A secret, as whoever uses it sees it. Cheap to clone. Not `Debug`.
#[derive(Clone)]
pub(crate) enum SecretCell {
    /// It never changes.
    Fixed(Secret),
    /// It is kept in Secrets Manager.
    Stored(Arc<StoredCell>),
}

/// A secret of Secrets Manager, as far as this process knows it.
pub(crate) struct StoredCell {
    stored: StoredSecret,
    /// Never locked across an await.
    known: Mutex<Known>,
    /// Held by whoever reads it.
    reading: tokio::sync::Mutex<()>,
}

/// The secret could not be read, and never has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read a secret")]
pub(crate) struct Unread;

#[derive(Default)]
struct Known {
    /// The value that was read last, and when.
    held: Option<(Secret, u64)>,
    pace: Pace,
}

/// A first read that was given less time than this, because the caller had no more, says nothing of Secrets Manager.
const FAIR_READ: Duration = Duration::from_millis(500);
/// The longest that a caller waits for a newer value while the old one may be as good.
const LONGEST_REFRESH: Duration = Duration::from_secs(1);

impl SecretCell {
    /// The secret of a source. Nothing is read.
    pub(crate) fn new(source: &SecretSource) -> Self {
        match source {
            SecretSource::Given(secret) => Self::Fixed(secret.clone()),
            SecretSource::Stored(stored) => Self::Stored(StoredCell::of(stored)),
        }
    }

    /// The value to use now.
    ///
    /// # Errors
    ///
    /// [`Unread`] where there is none.
    ///
    /// # Cancel safety
    ///
    /// Reads alone; a dropped read is the next caller's.
    pub(crate) async fn value(&self, deadline: Deadline) -> Result<Secret, Unread> {
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
    pub(crate) async fn newer_than(&self, refused: &Secret, deadline: Deadline) -> Option<Secret> {
        match self {
            Self::Fixed(_) => None,
            Self::Stored(cell) => cell.newer_than(refused, deadline).await,
        }
    }
}

impl StoredCell {
    /// The one cell of this process for a secret.
    pub(crate) fn of(stored: &StoredSecret) -> Arc<Self> {
        static CELLS: Mutex<BTreeMap<String, Arc<StoredCell>>> = Mutex::new(BTreeMap::new());
        let mut cells = CELLS.lock();
        let cell = cells.entry(stored.arn.clone()).or_insert_with(|| {
            Arc::new(Self {
                stored: stored.clone(),
                known: Mutex::default(),
                reading: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(cell)
    }

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
        let answer = aws::read_secret(&self.stored, deadline).await;
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
