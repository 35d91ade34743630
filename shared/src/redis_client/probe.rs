//! Does Redis do what the functions need of it? `PING` alone does not tell: a full or read-only server answers it.

use std::time::{Duration, Instant};

use redis::{FromRedisValue, RedisResult, Value, pipe};

use super::{Error, Reason, RedisClient, Request, diagnosis};

/// Keys of the probe begin with this, so that a user of its own may be confined to them.
const KEY_PREFIX: &str = "health:";
/// How long the probe's key lives if it could not be deleted.
const KEY_SECONDS: u64 = 10;
/// Asked one by one: servers before 7.0 take only one section at a time.
const INFO_SECTIONS: [&str; 4] = ["server", "replication", "memory", "stats"];

/// What a probe found on a connection that stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The one round trip in which everything was asked and answered.
    pub latency: Duration,
    /// Each operation with its outcome, in the order they ran.
    pub operations: [(Operation, Result<(), Reason>); 4],
    /// Whether the value read was the value written; `None` where there was nothing to compare.
    pub value_matches: Option<bool>,
    /// What the server says of itself, where it may.
    pub server: Option<ServerInfo>,
}

/// A step of the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A sign of life.
    Ping,
    /// Writing a value that expires.
    Set,
    /// Reading it back.
    Get,
    /// Deleting it.
    Delete,
}

impl Operation {
    /// All of them, in the order they run.
    pub const ALL: [Self; 4] = [Self::Ping, Self::Set, Self::Get, Self::Delete];
}

/// What `INFO` says. A member is `None` where the server does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ServerInfo {
    /// The server's version; Valkey's own where it is a Valkey.
    pub version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// A replica's link to its primary, `up` or `down`.
    pub replication_link: Option<String>,
    /// Memory in use.
    pub memory_used_bytes: Option<u64>,
    /// The limit of it; 0 is none.
    pub memory_limit_bytes: Option<u64>,
    /// What is evicted at the limit.
    pub eviction_policy: Option<String>,
    /// Keys evicted since the server started.
    pub evicted_keys: Option<u64>,
}

impl RedisClient {
    /// Pings, sets, gets and deletes a random key, and asks the server about itself, all in one round trip (a
    /// rested connection is pinged first).
    ///
    /// # Errors
    ///
    /// [`Error`] when there is no connection, or no answer. An operation that the server refuses is no error: it is in
    /// the result.
    ///
    /// # Cancel safety
    ///
    /// A dropped probe may leave its key behind, which expires.
    pub async fn health_check(&self) -> Result<HealthCheck, Error> {
        let (key, value) = (format!("{KEY_PREFIX}{}", random_hex()), random_hex());
        let mut probe = pipe();
        probe.ignore_errors();
        probe.cmd("PING");
        probe
            .cmd("SET")
            .arg(&key)
            .arg(&value)
            .arg("EX")
            .arg(KEY_SECONDS);
        probe.cmd("GET").arg(&key);
        probe.cmd("DEL").arg(&key);
        for section in INFO_SECTIONS {
            probe.cmd("INFO").arg(section);
        }
        let probe = Request::Pipeline(&probe);
        let (answer, latency) = match self.timed(&probe).await {
            // Safe to repeat, as nobody else knows the key; and only what the second one finds is true of now.
            Err(Error::Unanswered(_) | Error::Refused(Reason::AuthFailed)) if !self.is_over() => {
                self.timed(&probe).await?
            }
            settled => settled?,
        };
        let replies = Vec::<RedisResult<Value>>::from_redis_value(answer).unwrap_or_default();
        let check = read(&replies, &value, latency);
        if check
            .operations
            .contains(&(Operation::Set, Err(Reason::ReadOnly)))
        {
            self.link()?.suspect_failover();
        }
        Ok(check)
    }

    /// Sends `request` and says how long its answer took, without the connecting.
    async fn timed(&self, request: &Request<'_>) -> Result<(Value, Duration), Error> {
        let live = self.acquire().await?;
        let started = Instant::now();
        let answer = self.attempt_on(&live, request).await?;
        Ok((answer, started.elapsed()))
    }
}

fn read(replies: &[RedisResult<Value>], written: &str, latency: Duration) -> HealthCheck {
    let operations =
        Operation::ALL.map(|operation| (operation, outcome(replies.get(operation as usize))));
    let is_readable = operations.iter().all(|(operation, outcome)| {
        outcome.is_ok() || !matches!(operation, Operation::Set | Operation::Get)
    });
    let value_matches = is_readable.then(|| {
        let read = replies
            .get(Operation::Get as usize)
            .and_then(|reply| reply.as_ref().ok());
        read.is_some_and(|value| {
            String::from_redis_value_ref(value).is_ok_and(|read| read == written)
        })
    });
    let mut info = String::new();
    for reply in replies.iter().skip(Operation::ALL.len()).flatten() {
        info.push_str(&String::from_redis_value_ref(reply).unwrap_or_default());
    }
    HealthCheck {
        latency,
        operations,
        value_matches,
        server: (!info.is_empty()).then(|| server_info(&info)),
    }
}

fn outcome(reply: Option<&RedisResult<Value>>) -> Result<(), Reason> {
    match reply {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(diagnosis::of_command(error)),
        None => Err(Reason::UnexpectedAnswer),
    }
}

fn server_info(info: &str) -> ServerInfo {
    let member = |name: &str| {
        let mut values = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'));
        values
            .find(|(member, _)| *member == name)
            .map(|(_, value)| value)
    };
    let text = |name| member(name).map(str::to_owned);
    let number = |name| member(name).and_then(|value| value.parse().ok());
    ServerInfo {
        version: text("valkey_version").or_else(|| text("redis_version")),
        mode: text("redis_mode").or_else(|| text("server_mode")),
        role: text("role"),
        replication_link: text("master_link_status"),
        memory_used_bytes: number("used_memory"),
        memory_limit_bytes: number("maxmemory"),
        eviction_policy: text("maxmemory_policy"),
        evicted_keys: number("evicted_keys"),
    }
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    // Where there is no randomness, all probes share one key and one value, and still find what they look for.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn info_is_read_as_far_as_it_goes() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Memory\r\nused_memory:many\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        let expected = ServerInfo {
            version: Some("7.0.15".to_owned()),
            mode: Some("standalone".to_owned()),
            memory_limit_bytes: Some(0),
            eviction_policy: Some("noeviction".to_owned()),
            ..ServerInfo::default()
        };
        assert_eq!(server_info(info), expected);
    }

    #[test]
    fn another_value_than_the_one_written_does_not_match() {
        let replies = |value: &str| {
            let read = Value::BulkString(value.as_bytes().to_vec());
            vec![
                Ok(Value::SimpleString("PONG".to_owned())),
                Ok(Value::Okay),
                Ok(read),
                Ok(Value::Int(1)),
            ]
        };
        assert_eq!(
            read(&replies("written"), "written", Duration::ZERO).value_matches,
            Some(true)
        );
        assert_eq!(
            read(&replies("other"), "written", Duration::ZERO).value_matches,
            Some(false)
        );
    }

    proptest! {
        #[test]
        fn no_info_text_panics(info in any::<String>()) {
            server_info(&info);
        }
    }
}
