//! The probe of a cluster. It checks every master with a different key.
//!
//! A single random key would test one master only. That test could pass while payments fail on a master that is dead,
//! hung or out of memory.

use std::collections::BTreeMap;

use futures_util::future::{BoxFuture, join_all};
use redis::cluster_routing::Slot;

use super::{HealthCheck, KEY_PREFIX, random_hex};
use crate::request::Node;
use crate::slots::{SlotRange, are_all_held};
use crate::{Error, Reason, RedisClient};

impl RedisClient {
    /// Probes all masters in parallel. Returns the worst result: that of a master that fails, else that of the master
    /// with the least free memory.
    ///
    /// # Errors
    ///
    /// [`Error`] if the cluster or one of its masters does not reply.
    // Boxed, because the future would otherwise nest too deep for the compiler's recursion limit.
    pub(super) fn check_masters(&self) -> BoxFuture<'_, Result<HealthCheck, Error>> {
        Box::pin(self.check_each_master())
    }

    async fn check_each_master(&self) -> Result<HealthCheck, Error> {
        let ranges = self.slots().await?;
        let probes = slot_of_each(&ranges).into_values().map(async |slot| {
            let key = key_in(slot).ok_or(Error::Unanswered(Reason::UnexpectedAnswer))?;
            self.check_key(&key).await
        });
        let checks: Result<Vec<_>, _> = join_all(probes).await.into_iter().collect();
        let checks = checks?;
        let slowest = checks.iter().map(|check| check.latency).max();
        let worst = checks.into_iter().max_by_key(severity);
        let worst = worst.ok_or(Error::Unanswered(Reason::ClusterDown))?;
        let all_keys = match are_all_held(&ranges) {
            true => worst.all_keys,
            false => Err(Reason::ClusterDown),
        };
        Ok(HealthCheck {
            latency: slowest.unwrap_or(worst.latency),
            all_keys,
            ..worst
        })
    }
}

/// One hash slot of each master.
fn slot_of_each(ranges: &[SlotRange]) -> BTreeMap<&Node, u16> {
    ranges
        .iter()
        .map(|range| (&range.master, range.first))
        .collect()
}

/// A new probe key in `slot`: the number in its braces hashes to that slot. `None`: there is no such slot.
fn key_in(slot: u16) -> Option<String> {
    let slot = Slot::new(slot)?;
    let tag = (0_u32..).find(|tag| Slot::for_key(tag.to_string()) == slot)?;
    Some(format!("{KEY_PREFIX}{{{tag}}}{}", random_hex()))
}

/// Whether the check failed, and the used share of memory in thousandths.
fn severity(check: &HealthCheck) -> (bool, u64) {
    let fails = check.operations.iter().any(|(_, outcome)| outcome.is_err())
        || check.value_matches == Some(false);
    let server = check.server.as_ref();
    let used = server.and_then(|server| {
        let limit = server.memory_limit_bytes.filter(|limit| *limit > 0)?;
        Some(server.memory_used_bytes?.saturating_mul(1_000) / limit)
    });
    (fails, used.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn there_is_a_key_for_every_slot() {
        for slot in [0, 1, 8_191, 16_382, 16_383] {
            let key = key_in(slot).expect("a key");
            assert_eq!(Some(Slot::for_key(&key)), Slot::new(slot), "{key}");
            assert!(key.starts_with("health:{"), "{key}");
        }
        assert_eq!(key_in(16_384), None);
    }
}
