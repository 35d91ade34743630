//! A real `redis-server`, one process per test, with one deviation from the ordinary at a time.
//!
//! Nothing is kept over a restart, and every server picks a free port of 127.0.0.1. The harness itself talks to it
//! through a Unix socket as an ACL user of its own, so its assertions work whatever the test has done to ports,
//! certificates, passwords and proxies.

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

/// A running server (or one that the test has stopped); dropping it ends the process.
pub struct RedisServer {
    port: u16,
    /// What [`url`](Self::url) logs in with.
    login: Option<Login>,
    certificate: Option<Certificate>,
    process: Mutex<ServerProcess>,
}

/// A user name (none: the default user) and a password.
#[derive(Clone)]
struct Login {
    user: Option<String>,
    password: String,
}

impl RedisServer {
    /// An ordinary server: no password, no TLS, no memory limit.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server that deviates from the ordinary.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::new()
    }

    /// The port that it listens on: the TLS one, if there is one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its URL, with the first user's or the default user's credentials if it has any.
    pub fn url(&self) -> String {
        self.url_of(self.address(), self.login.as_ref())
    }

    /// Its URL with other credentials; an empty user name is the default user.
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

    /// Its URL as seen through a proxy in front of it.
    pub fn url_through(&self, proxy: &FaultProxy) -> String {
        self.url_of(proxy.address(), self.login.as_ref())
    }

    /// The certificate authority that its clients must trust.
    ///
    /// # Panics
    ///
    /// For a server without TLS.
    pub fn ca_file(&self) -> &Path {
        self.certificate
            .as_ref()
            .expect("the server was built with `tls()`")
            .authority()
    }

    /// Kills the process. Its port refuses connections from then on.
    pub async fn stop(&self) {
        self.process.lock().stop();
    }

    /// Kills the process and starts it again, empty, on the same port.
    pub async fn restart(&self) {
        self.stop().await;
        self.process
            .lock()
            .start()
            .expect("the server's port was reserved for it");
        self.wait_until_ready().await;
    }

    /// Stops the process (SIGSTOP): connections stay, nothing answers.
    pub fn pause(&self) {
        self.process.lock().pause();
    }

    /// Lets it go on (SIGCONT).
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
