//! Lists keys. In a cluster, `SCAN` has to be sent to each master.

use std::collections::BTreeSet;

use redis::cmd;

use super::request::Node;
use super::{Error, RedisClient, Repeat, Request, typed};

/// How many keys the server looks at for one reply. The number is small, so that other clients are not delayed.
const KEYS_PER_REPLY: u32 = 1_000;

impl RedisClient {
    /// Returns at least `limit` keys that match `pattern`, or all of them if there are fewer. Each key is returned
    /// once. In a cluster, a key whose slot moves during the scan may be missing.
    ///
    /// # Errors
    ///
    /// [`Error`] if the server, or one of the masters of a cluster, sends no usable reply.
    ///
    /// # Cancel safety
    ///
    /// Read-only: a dropped call changes nothing.
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

    /// Adds the keys of one node to `names` until `names` has `limit` keys. `None`: the server is standalone.
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
            scan.arg("COUNT").arg(KEYS_PER_REPLY);
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
