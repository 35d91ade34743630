//! Changes the host in a MongoDB URI.

use std::net::{SocketAddr, ToSocketAddrs};

/// The parts of `mongodb://[user:password@]host[:port][/[database][?options]]`.
pub(super) struct MongoUri {
    /// The part before the host: scheme and credentials.
    prefix: String,
    host: String,
    /// The part after the `/`: database and options, if any.
    suffix: String,
}

impl MongoUri {
    /// The URI of a server that the harness started.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self {
            prefix: "mongodb://".to_owned(),
            host: address.to_string(),
            suffix: String::new(),
        }
    }

    /// Parses a URI.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a MongoDB URI. The message does not quote the text, because the text can contain a
    /// password.
    pub(super) fn parse(uri: &str) -> Result<Self, String> {
        let (scheme, rest) = uri
            .split_once("://")
            .filter(|(scheme, _)| scheme.starts_with("mongodb"))
            .ok_or("MONGODB_TEST_URI does not start with `mongodb://`")?;
        let (authority, suffix) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (format!("{credentials}@"), host),
            None => (String::new(), authority),
        };
        let prefix = format!("{scheme}://{credentials}");
        Ok(Self {
            prefix,
            host: host.to_owned(),
            suffix: suffix.to_owned(),
        })
    }

    pub(super) fn text(&self) -> String {
        format!("{}{}/{}", self.prefix, self.host, self.suffix)
    }

    /// The URI with another host. Discovery of replica set members is off, because it would bypass the proxy.
    pub(super) fn through(&self, proxy: SocketAddr) -> String {
        let (path, options) = self.suffix.split_once('?').unwrap_or((&self.suffix, ""));
        let kept = options.split('&').filter(|option| {
            let name = option
                .split('=')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            !name.is_empty() && name != "replicaset" && name != "directconnection"
        });
        let options: Vec<&str> = kept.chain(["directConnection=true"]).collect();
        format!("{}{proxy}/{path}?{}", self.prefix, options.join("&"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        let host = if self.host.contains(':') {
            self.host.clone()
        } else {
            format!("{}:27017", self.host)
        };
        let resolved = host
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next());
        resolved.unwrap_or_else(|| panic!("MONGODB_TEST_URI has no host and port for a proxy"))
    }
}

#[cfg(test)]
mod tests {
    use super::MongoUri;

    #[test]
    fn a_proxy_replaces_the_host_and_disables_discovery() {
        let proxy = "127.0.0.1:9".parse().expect("an address");
        let uri = MongoUri::parse("mongodb://u:p%40ss@db:27018/x?replicaSet=rs0&tls=false")
            .expect("a URI");
        assert_eq!(
            uri.through(proxy),
            "mongodb://u:p%40ss@127.0.0.1:9/x?tls=false&directConnection=true"
        );
        let uri = MongoUri::parse("mongodb://db").expect("a URI");
        assert_eq!(
            uri.through(proxy),
            "mongodb://127.0.0.1:9/?directConnection=true"
        );
        assert_eq!(uri.text(), "mongodb://db/");
    }
}
