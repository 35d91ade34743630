//! Tests whether Redis does what the functions need: write, read, run a script, delete. `PING` alone proves none of
//! that, because a full or read-only server also replies to `PING`.

mod masters;
mod server_info;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Pipeline, RedisResult, Value, pipe};

use super::request::ScriptCall;
use super::{Error, Reason, RedisClient, Repeat, Request, Script};
pub use server_info::ServerInfo;

/// The prefix of the probe's keys. An ACL user for health can be restricted to this prefix.
const KEY_PREFIX: &str = "health:";
/// The time to live of the probe's key, in case it is not deleted.
const KEY_SECONDS: u64 = 10;
const KEY_MS: &[u8] = b"10000";
/// One command per section: a server that accepts only one section per `INFO` still reports its version.
const INFO_SECTIONS: [&str; 4] = ["server", "replication", "memory", "stats"];

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The time of the one round trip that all operations share.
    pub latency: Duration,
    /// The outcome of each operation, in the order of execution.
    pub operations: [(Operation, Result<(), Reason>); 5],
    /// Whether the value read is the value written; `None` if the write or the read failed.
    pub value_matches: Option<bool>,
    /// Whether the server holds all keys. If the server holds only part of the keys, the operations succeed only for
    /// some keys.
    pub all_keys: Result<(), Reason>,
    /// The facts from `INFO`; `None` if the user may not run `INFO`.
    pub server: Option<ServerInfo>,
}

/// An operation of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A ping.
    Ping,
    /// Writes a value that expires.
    Set,
    /// Reads the value.
    Get,
    /// Runs a script by its text and by its digest.
    Script,
    /// Deletes the value.
    Delete,
}

/// The index of each command's reply in the reply to the probe.
mod reply {
    pub(super) const PING: usize = 0;
    pub(super) const SET: usize = 1;
    pub(super) const GET: usize = 2;
    pub(super) const EVAL: usize = 3;
    pub(super) const EVALSHA: usize = 4;
    pub(super) const DEL: usize = 5;
    /// The reply to `HELLO`, which is sent only outside cluster mode.
    pub(super) const HELLO: usize = 6;
}

static SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("probe/script.lua"), Repeat::Safe));

impl Operation {
    /// All operations, in the order of execution.
    pub const ALL: [Self; 5] = [Self::Ping, Self::Set, Self::Get, Self::Script, Self::Delete];
}

impl RedisClient {
    /// Pings the server, sets and gets a random key, runs a script on the key, deletes the key, and reads `INFO`. All
    /// of that takes one round trip. A connection that was idle is pinged before.
    ///
    /// In cluster mode, the probe first reads the slots of the cluster, then runs these operations on each master.
    /// Outside cluster mode, if the server is a cluster node, the probe reads the slots in a second round trip.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no connection or no reply. If the server rejects an operation, the outcome of that
    /// operation is in the result.
    ///
    /// # Cancel safety
    ///
    /// A dropped probe may leave its key, which expires.
    pub async fn health_check(&self) -> Result<HealthCheck, Error> {
        if self.inner.is_cluster {
            self.check_masters().await
        } else {
            self.check_key(&format!("{KEY_PREFIX}{}", random_hex()))
                .await
        }
    }

    async fn check_key(&self, key: &str) -> Result<HealthCheck, Error> {
        let value = random_hex();
        let probe = self.probe(key, &value);
        let probe = Request::Pipeline(&probe);
        let (answer, latency) = match self.timed(&probe).await {
            // Safe to repeat, because only this probe uses the key.
            Err(Error::Unanswered(_) | Error::Refused(Reason::AuthFailed)) if !self.is_over() => {
                self.timed(&probe).await?
            }
            settled => settled?,
        };
        let replies = Vec::<RedisResult<Value>>::from_redis_value(answer).unwrap_or_default();
        let mut check = self.read(&replies, &value, latency);
        if !self.inner.is_cluster && is_cluster_node(&replies) {
            check.all_keys = self.is_held_by_one_master().await;
        }
        let is_demoted = |reason| check.operations.contains(&(Operation::Set, Err(reason)));
        if is_demoted(Reason::ReadOnly) || is_demoted(Reason::ClusterModeRequired) {
            self.link()?.suspect_failover();
        }
        Ok(check)
    }

    /// The commands, in the order of [`reply`].
    fn probe(&self, key: &str, value: &str) -> Pipeline {
        let script = ScriptCall {
            script: &SCRIPT,
            keys: &[key],
            args: &[("value", value.as_bytes()), ("ttl_ms", KEY_MS)],
        };
        let mut probe = pipe();
        probe.ignore_errors();
        probe.cmd("PING");
        probe
            .cmd("SET")
            .arg(key)
            .arg(value)
            .arg("EX")
            .arg(KEY_SECONDS);
        probe.cmd("GET").arg(key);
        // The first command runs the script by its text. After that, the server has the script, even if there was a
        // `SCRIPT FLUSH` before. The next command then proves the permission to run the script by its digest.
        probe.add_command(script.by_text());
        probe.add_command(script.by_digest());
        probe.cmd("DEL").arg(key);
        // `HELLO` reports whether the server is a cluster node. `HELLO` changes nothing, and every user that can
        // connect may run it. In cluster mode, `HELLO` would have no node as its target.
        if !self.inner.is_cluster {
            probe.cmd("HELLO").arg("3");
        }
        for section in INFO_SECTIONS {
            probe.cmd("INFO").arg(section);
        }
        probe
    }

    fn read(
        &self,
        replies: &[RedisResult<Value>],
        written: &str,
        latency: Duration,
    ) -> HealthCheck {
        let outcome = |place: usize| match replies.get(place) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(self.reason_of(error)),
            None => Err(Reason::UnexpectedAnswer),
        };
        let returns = |place: usize| {
            outcome(place)?;
            match is_text(replies.get(place), written) {
                true => Ok(()),
                false => Err(Reason::UnexpectedAnswer),
            }
        };
        let operations = Operation::ALL.map(|operation| {
            let outcome = match operation {
                Operation::Ping => outcome(reply::PING),
                Operation::Set => outcome(reply::SET),
                Operation::Get => outcome(reply::GET),
                Operation::Script => returns(reply::EVAL).and_then(|()| returns(reply::EVALSHA)),
                Operation::Delete => outcome(reply::DEL),
            };
            (operation, outcome)
        });
        let is_readable = outcome(reply::SET).is_ok() && outcome(reply::GET).is_ok();
        let mut info = String::new();
        for reply in replies.iter().skip(reply::DEL + 1).flatten() {
            info.push_str(&String::from_redis_value_ref(reply).unwrap_or_default());
        }
        HealthCheck {
            latency,
            operations,
            value_matches: is_readable.then(|| is_text(replies.get(reply::GET), written)),
            all_keys: Ok(()),
            server: (!info.is_empty()).then(|| ServerInfo::read(&info)),
        }
    }

    /// Sends `request`. Returns the reply and its latency, without the time for connecting.
    async fn timed(&self, request: &Request<'_>) -> Result<(Value, Duration), Error> {
        let live = self.acquire().await?;
        let started = Instant::now();
        let answer = self.attempt_on(&live, request).await?;
        Ok((answer, started.elapsed()))
    }
}

fn is_text(reply: Option<&RedisResult<Value>>, text: &str) -> bool {
    let read = reply.and_then(|reply| reply.as_ref().ok());
    read.is_some_and(|value| String::from_redis_value_ref(value).is_ok_and(|read| read == text))
}

/// Whether the server is a cluster node according to its reply to `HELLO`.
fn is_cluster_node(replies: &[RedisResult<Value>]) -> bool {
    let Some(Ok(hello)) = replies.get(reply::HELLO) else {
        return false;
    };
    let members = HashMap::<String, Value>::from_redis_value_ref(hello).unwrap_or_default();
    let mode = members.get("mode").map(String::from_redis_value_ref);
    mode.is_some_and(|mode| mode.is_ok_and(|mode| mode == "cluster"))
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    // If the system gives no randomness, all probes share one key. Then two parallel probes may report a value
    // mismatch.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use foundation::secret::Secrets;

    use super::*;
    use crate::RedisConfig;

    fn replies(read: &str, ran: &str) -> Vec<RedisResult<Value>> {
        let text = |text: &str| Ok(Value::BulkString(text.as_bytes().to_vec()));
        vec![
            Ok(Value::SimpleString("PONG".to_owned())),
            Ok(Value::Okay),
            text(read),
            text(ran),
            text(ran),
            Ok(Value::Int(1)),
        ]
    }

    fn read(replies: &[RedisResult<Value>]) -> HealthCheck {
        let client = RedisClient::new(&RedisConfig::default(), &Secrets::without_store());
        client.read(replies, "written", Duration::ZERO)
    }

    #[test]
    fn a_value_other_than_the_one_written_is_a_mismatch() {
        let value_matches = |value| read(&replies(value, "written")).value_matches;
        assert_eq!(value_matches("written"), Some(true));
        assert_eq!(value_matches("other"), Some(false));
    }

    #[test]
    fn a_script_succeeds_if_it_returns_the_value_that_it_wrote() {
        let script = |value| read(&replies("written", value)).operations[3];
        assert_eq!(script("written"), (Operation::Script, Ok(())));
        assert_eq!(
            script("other"),
            (Operation::Script, Err(Reason::UnexpectedAnswer))
        );
    }
}
