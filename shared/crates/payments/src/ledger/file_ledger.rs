//! The ledger for development: one file per payment. All processes of the machine share the files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use foundation::Deadline;
use serde_json::Value;

use super::files::{Locked, lock, read, read_all};
use super::{Change, ChangeResult, Ledger, LedgerError, OpenPayments, Queue};
use crate::{Payment, Timestamp};

pub(crate) struct FileLedger {
    folder: PathBuf,
}

impl FileLedger {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("payments"),
        }
    }

    /// Converts an I/O error of a payment's file into the ledger's error.
    fn error(&self, id: &str, error: &io::Error) -> LedgerError {
        match error.kind() {
            // If serde_json cannot parse a file, the error has one of these kinds.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => LedgerError::Unreadable {
                tenant: self.tenant(id),
            },
            _ => unavailable(error),
        }
    }

    /// The tenant in a file that does not contain a valid payment.
    fn tenant(&self, id: &str) -> Option<String> {
        let row: Value = read(&self.folder, id).ok()??;
        row["tenant"].as_str().map(str::to_owned)
    }

    fn all(&self) -> Result<Vec<(String, Option<Payment>)>, LedgerError> {
        read_all(&self.folder).map_err(|error| unavailable(&error))
    }

    async fn lock(&self, deadline: Deadline) -> Result<Locked<'_>, LedgerError> {
        let locked = lock(&self.folder, deadline).await;
        locked.map_err(|error| unavailable(&error))
    }
}

#[async_trait]
impl Ledger for FileLedger {
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, LedgerError> {
        let locked = self.lock(deadline).await?;
        let opened = locked.update(&payment.id, |found: Option<&Payment>| {
            found.is_none().then(|| payment.clone())
        });
        opened
            .map_err(|error| self.error(&payment.id, &error))?
            .ok_or(LedgerError::Unavailable("not_found"))
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<ChangeResult, LedgerError> {
        let locked = self.lock(deadline).await?;
        let mut fits = false;
        let changed = locked.update(&payment.id, |found: Option<&Payment>| {
            let changed = change.apply(found?, Timestamp::now());
            fits = changed.is_some();
            changed
        });
        let changed = changed.map_err(|error| self.error(&payment.id, &error))?;
        let changed = changed.ok_or(LedgerError::Unavailable("not_found"))?;
        Ok(if fits {
            ChangeResult::Applied(changed)
        } else {
            ChangeResult::Conflict(changed)
        })
    }

    async fn read(&self, id: &str, _: Deadline) -> Result<Option<Payment>, LedgerError> {
        read(&self.folder, id).map_err(|error| self.error(id, &error))
    }

    /// Every list contains all unreadable files. For such a file, it is unknown when the payment was created and when the reconciler
    /// last looked at the payment.
    async fn open_payments(&self, queue: Queue, _: Deadline) -> Result<OpenPayments, LedgerError> {
        let mut open = OpenPayments::default();
        for (id, payment) in self.all()? {
            match payment {
                Some(payment) if queue.contains(&payment) => open.payments.push(payment),
                Some(_) => {}
                None => open.unreadable.push(id),
            }
        }
        open.payments.sort_by_key(|payment| queue.sort_key(payment));
        let limit = queue.limit.try_into().unwrap_or(usize::MAX);
        open.payments.truncate(limit);
        open.unreadable.sort_unstable();
        Ok(open)
    }

    async fn count_open(&self, created_before: Timestamp, _: Deadline) -> Result<u64, LedgerError> {
        let all = self.all()?;
        let payments = all.iter().filter_map(|(_, payment)| payment.as_ref());
        let is_open =
            |payment: &&Payment| payment.state.is_open() && payment.created_at < created_before;
        Ok(payments.filter(is_open).count() as u64)
    }

    async fn prepare(&self, _: Deadline) -> Result<(), LedgerError> {
        Ok(())
    }
}

fn unavailable(error: &io::Error) -> LedgerError {
    tracing::error!(
        "the file ledger in LEDGER_DIR is unavailable: {}",
        error.kind()
    );
    LedgerError::Unavailable("file_error")
}
