//! The endpoint of a server or a cluster, parsed from its URL. It opens connections.

use std::time::Duration;

use foundation::transport::sends_login_in_the_clear;
use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConfig};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ProtocolVersion, RedisConnectionInfo, TlsCertificates,
};

use super::connection::{Connection, ConnectionState};
use super::diagnosis;
use super::login::TokenLogin;
use super::masking::mask;
use super::reason::Reason;
use super::server_url::connection_info;
use crate::{Plaintext, RedisAuth, RedisConfig};

/// A server or a cluster that connections can be opened to.
pub(super) struct Endpoint {
    masked: String,
    client: Client,
    /// A client that sends only `HELLO`, without a login, to find out why a server closes connections.
    greeter: redis::Client,
    /// The IAM login; `None` if the URL has the credentials.
    login: Option<TokenLogin>,
    /// Time limit of one node's reply in a cluster, so that an unresponsive node is detected.
    response_timeout: Duration,
}

#[expect(clippy::large_enum_variant, reason = "a process has only one")]
enum Client {
    Standalone(redis::Client),
    Cluster(ClusterClient),
}

/// The shortest connect timeout of one node in a cluster. The cluster client keeps this limit when it replaces a
/// socket later, even if the first caller had little time. A TLS handshake alone can take hundreds of milliseconds
/// on a small function.
const NODE_CONNECT_LIMIT: Duration = Duration::from_millis(500);

impl Endpoint {
    /// Parses the URL. Opens no connection.
    pub(super) fn parse(url: &str, config: &RedisConfig) -> Result<Self, Reason> {
        let info = connection_info(url).ok_or(Reason::InvalidUrl)?;
        if config.plaintext == Plaintext::Refused && sends_login_in_the_clear(url) {
            return Err(Reason::UnsafeUrl);
        }
        let login = match &config.auth {
            RedisAuth::Url => None,
            #[cfg(feature = "iam")]
            RedisAuth::Iam(login) => Some(TokenLogin::new(login)),
        };
        // A token is a credential, so it needs TLS. The token replaces user and password, so the URL must not have
        // them.
        if login.is_some() && !(uses_tls(&info) && is_without_login(&info)) {
            return Err(Reason::InvalidUrl);
        }
        let certificates = config.ca_pem.clone().map(|pem| TlsCertificates {
            client_tls: None,
            root_cert: Some(pem),
        });
        let greeter = standalone(without_login(&info), certificates.clone())?;
        let client = match config.cluster {
            false => Client::Standalone(standalone(info, certificates)?),
            true => Client::Cluster(cluster(info, certificates, login.clone())?),
        };
        Ok(Self {
            masked: mask(url),
            client,
            greeter,
            login,
            response_timeout: config.response_timeout,
        })
    }

    /// The URL without credentials.
    pub(super) fn masked(&self) -> &str {
        &self.masked
    }

    /// Opens a connection: TCP, TLS, and the handshake that logs in and selects the database. The caller waits at most
    /// `limit`; in a cluster, each node gets a part of that time.
    ///
    /// # Cancel safety
    ///
    /// A dropped call closes its sockets.
    pub(super) async fn open(
        &self,
        state: &ConnectionState,
        limit: Duration,
    ) -> Result<Connection, Reason> {
        let opened = match &self.client {
            Client::Standalone(client) => {
                let lost = state.clone();
                let mut config = AsyncConnectionConfig::new()
                    // No time limits, because the caller has a time limit.
                    .set_connection_timeout(None)
                    .set_response_timeout(None)
                    .set_push_sender(move |push: redis::PushInfo| {
                        if push.kind == redis::PushKind::Disconnection {
                            lost.mark_lost();
                        }
                        Ok::<_, redis::aio::SendError>(())
                    });
                if let Some(login) = &self.login {
                    config = config.set_credentials_provider(login.clone());
                }
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Connection::Standalone)
            }
            Client::Cluster(client) => {
                // The cluster client connects to the node in the URL first, then to all others in parallel. One
                // unresponsive node must not use up the whole limit.
                let node_limit = (limit / 2).max(NODE_CONNECT_LIMIT);
                let config = ClusterConfig::new()
                    .set_connection_timeout(node_limit)
                    .set_response_timeout(self.response_timeout);
                client
                    .get_async_connection_with_config(config)
                    .await
                    .map(Connection::Cluster)
            }
        };
        match opened.map_err(|error| diagnosis::of_connecting(&error)) {
            Err(Reason::HandshakeFailed) => Err(self.reason_of_closing().await),
            settled => settled,
        }
    }

    /// Finds the reason why the server closed the connection, by opening a second connection.
    ///
    /// A server that rejects every client (connection limit, protected mode) replies with one line and closes the
    /// connection. The client library waits for the replies to its whole handshake and loses that line. A single
    /// `HELLO` gets that line as its reply.
    async fn reason_of_closing(&self) -> Reason {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None);
        let greeted = self
            .greeter
            .get_multiplexed_async_connection_with_config(&config);
        match greeted
            .await
            .map_err(|error| diagnosis::of_connecting(&error))
        {
            // The server accepted the second connection, so the cause is unknown.
            Ok(_) | Err(Reason::AuthFailed) => Reason::HandshakeFailed,
            Err(reason) => reason,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this module opens the connections to Redis"
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
    reason = "this module opens the connections to Redis"
)]
fn cluster(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    login: Option<TokenLogin>,
) -> Result<ClusterClient, Reason> {
    if info.redis_settings().db() != 0 {
        return Err(Reason::InvalidUrl);
    }
    let tcp = info.tcp_settings().clone();
    let tls = uses_tls(&info);
    let mut builder = ClusterClientBuilder::new([info])
        .tcp_settings(tcp)
        // No retries: a retry would also repeat a command that may have run. See `request`.
        .retries(0)
        .overall_response_timeout(None);
    if let Some(certificates) = certificates.filter(|_| tls) {
        builder = builder.certs(certificates);
    }
    if let Some(login) = login {
        builder = builder.set_credentials_provider(login);
    }
    builder.build().map_err(|_| Reason::InvalidUrl)
}

fn uses_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
}

fn without_login(info: &ConnectionInfo) -> ConnectionInfo {
    let handshake = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    info.clone().set_redis_settings(handshake)
}

fn is_without_login(info: &ConnectionInfo) -> bool {
    let handshake = info.redis_settings();
    handshake.username().is_none() && handshake.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CacheType, IamLogin};

    fn parse(url: &str, config: &RedisConfig) -> Result<(), Reason> {
        Endpoint::parse(url, config).map(drop)
    }

    #[test]
    fn an_iam_login_needs_tls_and_a_url_without_credentials() {
        let iam = RedisConfig {
            auth: RedisAuth::Iam(IamLogin {
                user: "payments".to_owned(),
                cache_name: "truebond".to_owned(),
                cache_type: CacheType::Serverless,
                region: "eu-central-1".to_owned(),
            }),
            ..RedisConfig::default()
        };
        assert_eq!(parse("rediss://cache", &iam), Ok(()));
        for url in [
            "redis://cache",
            "rediss://app@cache",
            "rediss://:hunter2@cache",
            "rediss://app:hunter2@cache",
        ] {
            assert_eq!(parse(url, &iam), Err(Reason::InvalidUrl), "{url}");
        }
    }

    #[test]
    fn a_cluster_has_one_database() {
        let standalone = RedisConfig::default();
        let cluster = RedisConfig {
            cluster: true,
            ..RedisConfig::default()
        };
        assert_eq!(parse("redis://cache/0", &cluster), Ok(()));
        assert_eq!(parse("redis://cache/1", &cluster), Err(Reason::InvalidUrl));
        assert_eq!(parse("redis://cache/1", &standalone), Ok(()));
    }
}
