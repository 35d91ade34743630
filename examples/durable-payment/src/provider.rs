//! A provider for a first try. It appends each request as a line to a file. It recognises the derived keys in that file.

use std::fs::{self, File};
use std::io::{Result, Write};
use std::path::PathBuf;

pub(crate) struct Provider {
    requests: PathBuf,
    responds: bool,
}

impl Provider {
    pub(crate) fn new(requests: impl Into<PathBuf>) -> Self {
        Self {
            requests: requests.into(),
            responds: true,
        }
    }

    /// A provider that charges, but whose response never arrives.
    #[cfg(test)]
    pub(crate) fn without_response(requests: impl Into<PathBuf>) -> Self {
        Self {
            responds: false,
            ..Self::new(requests)
        }
    }

    pub(crate) async fn charge(&self, derived_key: &str, order: &str) -> Result<String> {
        let seen = fs::read_to_string(&self.requests).unwrap_or_default();
        let known = seen.lines().any(|line| line.contains(derived_key));
        let effect = if known { "recognised" } else { "charged" };
        let mut requests = File::options()
            .append(true)
            .create(true)
            .open(&self.requests)?;
        writeln!(requests, "{effect} {derived_key} {order}")?;
        if !self.responds {
            std::future::pending::<()>().await;
        }
        Ok(format!("charged under {derived_key}"))
    }
}
