//! The ledger of a laptop: one file for each payment, which every process sees.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::files::{read, update};
use super::{Change, Ledger, Unavailable};
use crate::deadline::Deadline;
use crate::payments::Payment;
use crate::payments::clock::now;

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
    async fn open(&self, payment: &Payment, _: Deadline) -> Result<Payment, Unavailable> {
        let opened = update(&self.folder, &payment.id, |found: Option<&Payment>| {
            found.is_none().then(|| payment.clone())
        });
        opened.map_err(unavailable)?.ok_or(Unavailable("not_found"))
    }

    async fn change(
        &self,
        payment: &Payment,
        change: &Change,
        _: Deadline,
    ) -> Result<Payment, Unavailable> {
        let changed = update(&self.folder, &payment.id, |found: Option<&Payment>| {
            change.apply(found?, now())
        });
        changed
            .map_err(unavailable)?
            .ok_or(Unavailable("not_found"))
    }

    async fn read(
        &self,
        id: &str,
        tenant: &str,
        _: Deadline,
    ) -> Result<Option<Payment>, Unavailable> {
        let found: Option<Payment> = read(&self.folder, id).map_err(unavailable)?;
        Ok(found.filter(|payment| payment.tenant == tenant))
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
