//! The server of a run: Valkey, which is deployed, or Redis. The rest of the benchmark calls either of them "Redis".

use std::fmt;

use harness::RedisServer;

/// The server and its version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) product: Product,
    version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Valkey,
    Redis,
}

impl Server {
    /// Asks a running server.
    ///
    /// # Panics
    ///
    /// Panics if the answer has no version.
    pub(crate) async fn of(redis: &RedisServer) -> Self {
        let info: String = redis.query(&["INFO", "server"]).await;
        Self::of_info(&info).unwrap_or_else(|| panic!("INFO has no version:\n{info}"))
    }

    fn of_info(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = info.lines().filter_map(|line| line.split_once(':'));
            fields.find_map(|(field, value)| (field == name).then_some(value.trim()))
        };
        // Valkey also answers with the version of Redis with which it is compatible.
        let (product, version) = match field("server_name") {
            Some("valkey") => (Product::Valkey, field("valkey_version")),
            _ => (Product::Redis, field("redis_version")),
        };
        Some(Self {
            product,
            version: version?.to_owned(),
        })
    }
}

/// The name and the version, for example `Valkey 9.1.2`.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.product {
            Product::Valkey => "Valkey",
            Product::Redis => "Redis",
        };
        write!(formatter, "{name} {}", self.version)
    }
}

impl Product {
    /// Whether a run has all measures. Otherwise it has only the measures that depend on the server, to limit its time.
    pub(crate) fn has_all_measures(self) -> bool {
        self == Self::Valkey
    }

    /// The folder for the results of a complete run, which the repository keeps.
    pub(crate) fn results(self) -> &'static str {
        match self {
            Self::Valkey => "bench/results",
            Self::Redis => "bench/results/redis",
        }
    }

    /// Whether the server has `SET` with `IFEQ`. Without it, ours stores a result with a short script.
    pub(crate) fn has_ifeq(self) -> bool {
        self == Self::Valkey
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_its_own_version() {
        let name = |info| Server::of_info(info).map(|server| server.to_string());
        let valkey =
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(name(valkey).as_deref(), Some("Valkey 9.1.2"));
        let redis = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n";
        assert_eq!(name(redis).as_deref(), Some("Redis 7.0.15"));
        assert_eq!(name("# Server\r\n"), None);
    }
}
