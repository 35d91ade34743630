//! Where Redis is, as its URL says it, and how a connection to it is opened.

use std::time::Duration;

use foundation::transport::sends_login_in_the_clear;
use redis::cluster::{ClusterClient, ClusterClientBuilder, ClusterConfig};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ProtocolVersion, RedisConnectionInfo, TlsCertificates,
};

use super::connection::{Connection, Vitals};
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
    /// Says `HELLO` to the URL's server and nothing else, without a login.
    greeter: redis::Client,
    /// What logs in, where that is not for the URL to say.
    login: Option<TokenLogin>,
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

/// The least that one node of a cluster is given to connect. The connection keeps this limit for the sockets it replaces
/// later, when its first caller's haste is long over; a TLS handshake alone can take hundreds of milliseconds on a small
/// function.
const NODE_CONNECT_LIMIT: Duration = Duration::from_millis(500);

impl Endpoint {
    /// Reads the URL. Nothing is connected.
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
        // A token is as good as a password, and logs in instead of the URL's user.
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
                let mut config = AsyncConnectionConfig::new()
                    // The caller knows how long it can wait; limits here would only hide that.
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
                // First the node of the URL, then all the others side by side: a silent one must not use up all the time.
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
            Err(Reason::HandshakeFailed) => Err(self.reason_of_hang_up().await),
            settled => settled,
        }
    }

    /// Why the server closed the connection: what it says to another one.
    ///
    /// A server that refuses every client (its limit, its protected mode) answers one line and closes. The client library waits for
    /// the answers to all commands of its handshake and loses that line; to a lone `HELLO` it is the answer.
    async fn reason_of_hang_up(&self) -> Reason {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None);
        let greeted = self
            .greeter
            .get_multiplexed_async_connection_with_config(&config);
        match greeted
            .await
            .map_err(|error| diagnosis::of_connecting(&error))
        {
            // This time the server let it in, as far as is possible without a login.
            Ok(_) | Err(Reason::AuthFailed) => Reason::HandshakeFailed,
            Err(reason) => reason,
        }
    }
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
    login: Option<TokenLogin>,
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
    fn a_token_takes_the_place_of_no_user_that_the_url_names() {
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
