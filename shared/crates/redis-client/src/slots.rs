//! The hash slots of a cluster. They determine the master of each key.
//!
//! Outside cluster mode the client connects to one node. That node may hold all keys, as in a cluster with one master
//! (ElastiCache's cluster mode with one shard). If the node holds only part of the keys, commands for the other keys
//! fail. In cluster mode the client reaches every master, and its probe checks each one.

use std::collections::BTreeSet;

use redis::{FromRedisValue, Value, cmd};

use super::request::Node;
use super::{Error, Reason, RedisClient, Repeat, Request, typed};

/// The number of hash slots in a cluster (Redis Cluster specification).
const SLOT_COUNT: u32 = 16_384;

/// A range of hash slots, and the master that holds it.
pub(super) struct SlotRange {
    pub(super) first: u16,
    last: u16,
    pub(super) master: Node,
}

impl RedisClient {
    /// Returns the masters of the cluster, each once.
    pub(super) async fn masters(&self) -> Result<BTreeSet<Node>, Error> {
        let ranges = self.slots().await?;
        let masters: BTreeSet<_> = ranges.into_iter().map(|range| range.master).collect();
        let has_addresses = masters.iter().all(|master| !master.host.is_empty());
        if has_addresses {
            Ok(masters)
        } else {
            Err(Error::Unanswered(Reason::UnexpectedAnswer))
        }
    }

    /// Returns `Ok` if one master holds all keys. Otherwise, returns the reason why a client outside cluster mode
    /// cannot use the server.
    pub(super) async fn is_held_by_one_master(&self) -> Result<(), Reason> {
        check_sole_master(&self.slots().await.map_err(Error::reason)?)
    }

    pub(super) async fn slots(&self) -> Result<Vec<SlotRange>, Error> {
        let mut slots = cmd("CLUSTER");
        slots.arg("SLOTS");
        let answer = self.send(Repeat::Safe, &Request::Command(&slots)).await?;
        let ranges: Vec<Vec<Value>> = typed(answer)?;
        let ranges = ranges.into_iter().map(SlotRange::read);
        ranges
            .collect::<Option<_>>()
            .ok_or(Error::Unanswered(Reason::UnexpectedAnswer))
    }
}

impl SlotRange {
    /// Parses an entry of `CLUSTER SLOTS`: first slot, last slot, the master, then its replicas. A node is a list of
    /// host, port, and further values. The host is null or empty for the node that replied.
    fn read(range: Vec<Value>) -> Option<Self> {
        let mut range = range.into_iter();
        let first = redis::from_redis_value(range.next()?).ok()?;
        let last = redis::from_redis_value(range.next()?).ok()?;
        let Value::Array(node) = range.next()? else {
            return None;
        };
        let mut node = node.into_iter();
        let host = Option::<String>::from_redis_value(node.next()?).ok()?;
        let port = redis::from_redis_value(node.next()?).ok()?;
        let host = host.unwrap_or_default();
        let master = Node { host, port };
        Some(Self {
            first,
            last,
            master,
        })
    }
}

/// Whether every hash slot has a master.
pub(super) fn are_all_held(ranges: &[SlotRange]) -> bool {
    let held: u32 = ranges
        .iter()
        .map(|range| u32::from(range.last.saturating_sub(range.first)) + 1)
        .sum();
    held == SLOT_COUNT
}

fn check_sole_master(ranges: &[SlotRange]) -> Result<(), Reason> {
    let masters: BTreeSet<_> = ranges.iter().map(|range| &range.master).collect();
    match masters.len() {
        1 if are_all_held(ranges) => Ok(()),
        0 | 1 => Err(Reason::ClusterDown),
        _ => Err(Reason::ClusterModeRequired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ranges: &[(i64, i64, Value, i64)]) -> Vec<SlotRange> {
        let read = |(first, last, host, port): &(i64, i64, Value, i64)| {
            let node = vec![host.clone(), Value::Int(*port), Value::Okay];
            SlotRange::read(vec![
                Value::Int(*first),
                Value::Int(*last),
                Value::Array(node),
            ])
        };
        ranges.iter().map(read).map(Option::unwrap).collect()
    }

    #[test]
    fn one_server_is_enough_if_it_holds_all_slots() {
        let host = || Value::BulkString(b"10.0.0.1".to_vec());
        let other = || Value::BulkString(b"10.0.0.2".to_vec());
        let cases = [
            (vec![(0, 16_383, host(), 6379)], Ok(())),
            (vec![(0, 16_383, Value::Nil, 6379)], Ok(())),
            (
                vec![(0, 9, host(), 6379), (10, 16_383, host(), 6379)],
                Ok(()),
            ),
            (vec![], Err(Reason::ClusterDown)),
            (vec![(0, 16_382, host(), 6379)], Err(Reason::ClusterDown)),
            (
                vec![(0, 9, host(), 6379), (10, 16_383, other(), 6379)],
                Err(Reason::ClusterModeRequired),
            ),
            (
                vec![(0, 9, host(), 6379), (10, 16_383, host(), 6380)],
                Err(Reason::ClusterModeRequired),
            ),
            (
                vec![(0, 9, host(), 6379), (20, 30, other(), 6379)],
                Err(Reason::ClusterModeRequired),
            ),
        ];
        for (slots, expected) in cases {
            assert_eq!(check_sole_master(&ranges(&slots)), expected, "{slots:?}");
        }
    }
}
