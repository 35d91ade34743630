//! The facts that a server reports in its reply to `INFO`.

/// The facts from `INFO`. A field is `None` if the server does not report it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ServerInfo {
    /// The version of Redis or Valkey.
    pub version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// A replica's link to its primary: `up` or `down`.
    pub replication_link: Option<String>,
    /// The memory in use.
    pub memory_used_bytes: Option<u64>,
    /// The part of the used memory that does not count towards the limit: buffers of replicas and of the append-only
    /// file.
    #[serde(skip)]
    pub memory_not_counted_bytes: Option<u64>,
    /// `maxmemory`; 0: no limit.
    pub memory_limit_bytes: Option<u64>,
    /// `maxmemory-policy`: which keys the server evicts at the limit.
    pub eviction_policy: Option<String>,
    /// The number of keys evicted since the server started.
    pub evicted_keys: Option<u64>,
}

impl ServerInfo {
    /// Parses the text of `INFO`. Missing and malformed lines become `None`.
    pub(super) fn read(info: &str) -> Self {
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
        Self {
            version: text("valkey_version").or_else(|| text("redis_version")),
            mode: text("redis_mode").or_else(|| text("server_mode")),
            role: text("role"),
            replication_link: text("master_link_status"),
            memory_used_bytes: number("used_memory"),
            memory_not_counted_bytes: number("mem_not_counted_for_evict"),
            memory_limit_bytes: number("maxmemory"),
            eviction_policy: text("maxmemory_policy"),
            evicted_keys: number("evicted_keys"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_and_malformed_info_lines_become_none() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Memory\r\nused_memory:many\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        let expected = ServerInfo {
            version: Some("7.0.15".to_owned()),
            mode: Some("standalone".to_owned()),
            memory_limit_bytes: Some(0),
            eviction_policy: Some("noeviction".to_owned()),
            ..ServerInfo::default()
        };
        assert_eq!(ServerInfo::read(info), expected);
    }

    proptest! {
        #[test]
        fn no_info_text_panics(info in any::<String>()) {
            ServerInfo::read(&info);
        }
    }
}
