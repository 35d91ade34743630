//! A real `redis-server`, one process per test. Each method of the builder adds one deviation from the default settings.
//!
//! A server keeps no data over a restart and uses a free port of 127.0.0.1. The harness connects through a Unix socket,
//! with a separate ACL user. So assertions do not depend on ports, certificates, passwords and proxies.

mod admin;
mod builder;
mod certificate;
mod loading;
mod process;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use parking_lot::Mutex;

pub use self::builder::RedisServerBuilder;
pub(crate) use self::certificate::Certificate;
use self::process::ServerProcess;
use crate::fault_proxy::FaultProxy;
use crate::percent_encoded::percent_encoded;

/// A running or stopped server. Dropping it ends the process.
pub struct RedisServer {
    port: u16,
    /// The credentials in the result of [`url`](Self::url). `None` if clients need no credentials.
    login: Option<Login>,
    certificate: Option<Certificate>,
    process: Mutex<ServerProcess>,
}

/// A user name (`None` is the default user) and a password.
#[derive(Clone)]
struct Login {
    user: Option<String>,
    password: String,
}

impl RedisServer {
    /// Starts a default server: no password, no TLS, no memory limit.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Builds a server with deviations.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::new()
    }

    /// The port of the server: the TLS port, if there is one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The server's URL. If the server has users or a password, the URL has the credentials of the first user or of the
    /// default user.
    pub fn url(&self) -> String {
        self.url_of(self.address(), self.login.as_ref())
    }

    /// The server's URL with these credentials. An empty user name is the default user.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        let user = Some(user)
            .filter(|user| !user.is_empty())
            .map(str::to_owned);
        self.url_of(
            self.address(),
            Some(&Login {
                user,
                password: password.to_owned(),
            }),
        )
    }

    /// The server's URL through a proxy in front of it.
    pub fn url_through(&self, proxy: &FaultProxy) -> String {
        self.url_of(proxy.address(), self.login.as_ref())
    }

    /// The certificate authority that clients must trust.
    ///
    /// # Panics
    ///
    /// Panics for a server without TLS.
    pub fn ca_file(&self) -> &Path {
        self.certificate
            .as_ref()
            .expect("the server was built with `tls()`")
            .authority()
    }

    /// Kills the process. Its port then refuses connections.
    pub async fn stop(&self) {
        self.process.lock().stop();
    }

    /// Kills the process and starts it again on the same port, without data.
    pub async fn restart(&self) {
        self.stop().await;
        self.process
            .lock()
            .start()
            .expect("the server's port was reserved for it");
        self.wait_until_ready().await;
    }

    /// Stops the process (SIGSTOP): connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.process.lock().pause();
    }

    /// Continues the process (SIGCONT).
    pub fn resume(&self) {
        self.process.lock().resume();
    }

    fn url_of(&self, address: SocketAddr, login: Option<&Login>) -> String {
        let scheme = if self.certificate.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let credentials = login.map_or_else(String::new, |login| {
            let user = login
                .user
                .as_deref()
                .map_or_else(String::new, percent_encoded);
            format!("{user}:{}@", percent_encoded(&login.password))
        });
        format!("{scheme}://{credentials}{address}")
    }
}

#[cfg(test)]
mod tests;
