//! Which keys there are: the one question that a cluster answers node by node.

use std::collections::BTreeSet;

use redis::cmd;

use super::request::Node;
use super::{Error, RedisClient, Repeat, Request, typed};

/// How many names a server looks at for one answer: few enough not to keep others waiting.
const SCANNED_AT_ONCE: u32 = 1_000;

impl RedisClient {
    /// At least `limit` names that match `pattern`, or all; each once. In a cluster every master is asked in turn: a key
    /// whose slot is being moved meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// [`Error`] when there is no usable reply, in a cluster from one of the masters.
    ///
    /// # Cancel safety
    ///
    /// Reads alone.
    pub async fn scan(&self, pattern: &str, limit: usize) -> Result<BTreeSet<String>, Error> {
        let mut names = BTreeSet::new();
        if !self.inner.is_cluster {
            self.scan_node(None, pattern, limit, &mut names).await?;
            return Ok(names);
        }
        for master in self.masters().await? {
            self.scan_node(Some(&master), pattern, limit, &mut names)
                .await?;
        }
        Ok(names)
    }

    /// Adds the names on one node, the only one for `None`, until there are `limit`.
    async fn scan_node(
        &self,
        node: Option<&Node>,
        pattern: &str,
        limit: usize,
        names: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let mut cursor = 0_u64;
        while names.len() < limit {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern);
            scan.arg("COUNT").arg(SCANNED_AT_ONCE);
            let request = match node {
                Some(node) => Request::ToNode(node, &scan),
                None => Request::Command(&scan),
            };
            let (next, found): (u64, Vec<String>) =
                typed(self.send(Repeat::Safe, &request).await?)?;
            names.extend(found);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        Ok(())
    }
}
