//! Where Redis is, as its URL says it, and how a connection to it is opened.

use std::fmt::Write;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};
use url::{Host, Url};

use super::connection::{Connection, Vitals};
use super::error::Reason;
use crate::config::RedisConfig;

/// A server or a cluster that connections can be opened to.
pub(super) struct Endpoint {
    masked: String,
    client: Client,
    /// Limit of one node's answer in a cluster, so that a silent one is found out.
    response_timeout: Duration,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for the whole process"
)]
enum Client {
    Standalone(redis::Client),
    Cluster(ClusterClient),
}

/// Probes of a silent peer begin after this long without traffic.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The least that one node of a cluster is given to connect: a TLS handshake on a small processor.
const NODE_CONNECT_LIMIT: Duration = Duration::from_millis(200);

impl Endpoint {
    /// Reads the URL. Nothing is connected.
    pub(super) fn parse(url: &str, config: &RedisConfig) -> Result<Self, Reason> {
        let info = connection_info(url).ok_or(Reason::InvalidUrl)?;
        let certificates = config.ca_pem.clone().map(|pem| TlsCertificates {
            client_tls: None,
            root_cert: Some(pem),
        });
        let client = match config.cluster {
            false => Client::Standalone(standalone(info, certificates)?),
            true => Client::Cluster(cluster(info, certificates)?),
        };
        Ok(Self {
            masked: mask(url),
            client,
            response_timeout: config.response_timeout,
        })
    }

    /// The URL as it may be shown.
    pub(super) fn masked(&self) -> &str {
        &self.masked
    }

    /// Opens a connection: TCP, TLS, and the handshake that authenticates and selects the database. The caller waits for
    /// no longer than `limit`, of which each node of a cluster gets a part.
    ///
    /// # Cancel safety
    ///
    /// A dropped attempt closes its sockets.
    pub(super) async fn open(
        &self,
        vitals: &Vitals,
        limit: Duration,
    ) -> Result<Connection, Reason> {
        let opened = match &self.client {
            Client::Standalone(client) => {
                let lost = vitals.clone();
                let config = AsyncConnectionConfig::new()
                    // The caller knows how long it can wait; limits here would only hide that.
                    .set_connection_timeout(None)
                    .set_response_timeout(None)
                    .set_push_sender(move |push: redis::PushInfo| {
                        if push.kind == redis::PushKind::Disconnection {
                            lost.mark_lost();
                        }
                        Ok::<_, redis::aio::SendError>(())
                    });
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Connection::Standalone)
            }
            Client::Cluster(client) => {
                // First the node of the URL, then all the others: one that is silent must not use up all the time.
                let node_limit = (limit / 3).max(NODE_CONNECT_LIMIT);
                let config = ClusterConfig::new()
                    .set_connection_timeout(node_limit)
                    .set_response_timeout(self.response_timeout);
                client
                    .get_async_connection_with_config(config)
                    .await
                    .map(Connection::Cluster)
            }
        };
        opened.map_err(|error| Reason::of_connecting(&error))
    }
}

fn connection_info(url: &str) -> Option<ConnectionInfo> {
    // A unix socket is no place for a Lambda function, and what has no host cannot be masked either.
    Url::parse(url).ok().filter(Url::has_host)?;
    let info = url.into_connection_info().ok()?;
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    // RESP3 tells when the server has closed the connection, before a command is lost on it.
    let handshake = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    Some(info.set_tcp_settings(tcp).set_redis_settings(handshake))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is where Redis is opened"
)]
fn standalone(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> Result<redis::Client, Reason> {
    match certificates.filter(|_| uses_tls(&info)) {
        Some(certificates) => redis::Client::build_with_tls(info, certificates),
        None => redis::Client::open(info),
    }
    .map_err(|_| Reason::InvalidUrl)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module is where Redis is opened"
)]
fn cluster(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> Result<ClusterClient, Reason> {
    if info.redis_settings().db() != 0 {
        return Err(Reason::InvalidUrl);
    }
    let tcp = info.tcp_settings().clone();
    let tls = uses_tls(&info);
    let mut builder = ClusterClientBuilder::new([info])
        .tcp_settings(tcp)
        // It would also repeat a command that may have run; see `request`.
        .retries(0)
        .overall_response_timeout(None);
    if let Some(certificates) = certificates.filter(|_| tls) {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(|_| Reason::InvalidUrl)
}

fn uses_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
}

/// A Redis URL as it may be shown: scheme, host, port and database, with the credentials replaced and everything else
/// dropped. What cannot be taken apart with certainty shows nothing of itself.
pub(super) fn mask(url: &str) -> String {
    masked(url).unwrap_or_else(|| "<unparseable>".to_owned())
}

fn masked(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    if !matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys") {
        return None;
    }
    // An `@` behind the host is what a password with an unescaped `/`, `?` or `#` leaves there: then the "host" is
    // the user's name.
    let behind_host = [
        url.path(),
        url.query().unwrap_or_default(),
        url.fragment().unwrap_or_default(),
    ];
    if behind_host
        .iter()
        .any(|part| part.contains('@') || part.contains("%40"))
    {
        return None;
    }
    let mut shown = format!("{}://", url.scheme());
    if !url.username().is_empty() || url.password().is_some() {
        shown.push_str("***:***@");
    }
    match url.host()? {
        Host::Domain(name) if is_host_name(name) => shown.push_str(name),
        Host::Domain(_) => return None,
        address => write!(shown, "{address}").ok()?,
    }
    if let Some(port) = url.port() {
        write!(shown, ":{port}").ok()?;
    }
    match url.path().trim_matches('/') {
        "" => {}
        database => write!(shown, "/{}", database.parse::<u16>().ok()?).ok()?,
    }
    Some(shown)
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_shows_where_but_not_who() {
        let cases = [
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://localhost:6379/", "redis://localhost:6379"),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            (
                "redis://:hunter2@localhost:6379",
                "redis://***:***@localhost:6379",
            ),
            ("redis://app@localhost", "redis://***:***@localhost"),
            (
                "rediss://app:hunter2@cache.example.com:6380/0",
                "rediss://***:***@cache.example.com:6380/0",
            ),
            (
                "rediss://app:hunter2@[2001:db8::1]:6380",
                "rediss://***:***@[2001:db8::1]:6380",
            ),
            ("redis://localhost?password=hunter2", "redis://localhost"),
            ("rediss://localhost#hunter2", "rediss://localhost"),
            (
                "redis://app:hun@ter2@localhost",
                "redis://***:***@localhost",
            ),
            ("redis://app:hun/ter2@localhost", "<unparseable>"),
            ("redis://app:12/34@localhost", "<unparseable>"),
            ("redis://app:12?34@localhost", "<unparseable>"),
            ("redis://app:12#34@localhost", "<unparseable>"),
            ("redis://app%3Ahunter2%40localhost", "<unparseable>"),
            ("redis://localhost/hunter2", "<unparseable>"),
            ("hunter2", "<unparseable>"),
            ("hunter2://localhost", "<unparseable>"),
            ("redis:hunter2", "<unparseable>"),
            ("", "<unparseable>"),
        ];
        for (url, expected) in cases {
            assert_eq!(mask(url), expected, "{url}");
        }
    }

    /// Text that stands in no host name, number or scheme, so that finding it in a masked URL is a leak.
    const PLANTED: &str = "Hunter_2_Planted";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn masking_never_panics_and_never_adds_text(url in any::<String>()) {
            let shown = mask(&url);
            prop_assert!(shown == "<unparseable>" || shown.is_ascii());
        }

        #[test]
        fn a_secret_behind_the_scheme_is_never_shown(
            scheme in "redis|rediss|valkey|http|unix|",
            before in "[ -~]{0,12}",
            after in "[ -~]{0,12}",
            host in "[a-z]{1,8}(:[0-9]{1,5})?",
            database in "(/[0-9]{0,3})?",
            query in "([?#][ -~]{0,8})?",
        ) {
            let url = format!("{scheme}://{before}{PLANTED}{after}@{host}{database}{query}");
            prop_assert!(!mask(&url).to_lowercase().contains(&PLANTED.to_lowercase()), "{url}: {}", mask(&url));
        }

        #[test]
        fn a_secret_in_path_query_or_fragment_is_never_shown(
            host in "[a-z]{1,8}(:[0-9]{1,5})?",
            place in "[/?#][ -~]{0,8}",
            after in "[ -~]{0,8}",
        ) {
            let url = format!("redis://{host}{place}{PLANTED}{after}");
            prop_assert!(!mask(&url).contains(PLANTED), "{url}: {}", mask(&url));
        }
    }
}
