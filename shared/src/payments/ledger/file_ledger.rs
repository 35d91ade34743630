//! The ledger of a laptop: one file for each payment, which every process sees.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::files::{lock, read, read_all};
use super::{Change, Changed, Ledger, Queue, Unavailable};
use crate::deadline::Deadline;
use crate::payments::{Moment, Payment};

pub(in crate::payments) struct FileLedger {
    folder: PathBuf,
}

impl FileLedger {
    pub(in crate::payments) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.join("payments"),
        }
    }
}

#[async_trait]
impl Ledger for FileLedger {
    async fn open(&self, payment: &Payment, deadline: Deadline) -> Result<Payment, Unavailable> {
        let locked = lock(&self.folder, deadline).await.map_err(unavailable)?;
        let opened = locked.update(&payment.id, |found: Option<&Payment>| {
            found.is_none().then(|| payment.clone())
        });
        opened.map_err(unavailable)?.ok_or(Unavailable("not_found"))
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        deadline: Deadline,
    ) -> Result<Changed, Unavailable> {
        let locked = lock(&self.folder, deadline).await.map_err(unavailable)?;
        let mut fits = false;
        let payment = locked.update(&payment.id, |found: Option<&Payment>| {
            let changed = change.apply(found?, Moment::now());
            fits = changed.is_some();
            changed
        });
        let payment = payment.map_err(unavailable)?;
        let payment = payment.ok_or(Unavailable("not_found"))?;
        Ok(if fits {
            Changed::Now(payment)
        } else {
            Changed::Not(payment)
        })
    }

    async fn read(&self, id: &str, _: Deadline) -> Result<Option<Payment>, Unavailable> {
        read(&self.folder, id).map_err(unavailable)
    }

    async fn open_payments(&self, queue: Queue, _: Deadline) -> Result<Vec<Payment>, Unavailable> {
        let mut open: Vec<Payment> = read_all(&self.folder).map_err(unavailable)?;
        open.retain(|payment| queue.takes(payment));
        open.sort_by_key(|payment| queue.rank(payment));
        open.truncate(queue.limit.try_into().unwrap_or(usize::MAX));
        Ok(open)
    }

    async fn count_open(&self, created_before: Moment, _: Deadline) -> Result<u64, Unavailable> {
        let all: Vec<Payment> = read_all(&self.folder).map_err(unavailable)?;
        let is_open =
            |payment: &&Payment| payment.state.is_open() && payment.created_at < created_before;
        Ok(all.iter().filter(is_open).count() as u64)
    }

    async fn prepare(&self, _: Deadline) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err calls"
)]
fn unavailable(error: io::Error) -> Unavailable {
    tracing::error!("the ledger's files cannot be used: {}", error.kind());
    Unavailable("file_error")
}
