//! The deviations of a server from the default settings. Each method adds one deviation. All settings together form a
//! `redis.conf`.

use std::fmt::Write;

use parking_lot::Mutex;

use super::certificate::Certificate;
use super::process::ServerProcess;
use super::{Login, RedisServer, admin};
use crate::{environment, loopback_port};

/// The maximum number of starts. If another program takes the port first, the next start uses another port.
const ATTEMPTS: usize = 3;

/// Builds a [`RedisServer`].
#[must_use]
pub struct RedisServerBuilder {
    settings: Vec<String>,
    login: Option<Login>,
    protocol: Protocol,
    role: Role,
    program: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Plain,
    Tls,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Master,
    Replica,
}

impl RedisServerBuilder {
    pub(super) fn new() -> Self {
        let builder = Self {
            settings: Vec::new(),
            login: None,
            protocol: Protocol::Plain,
            role: Role::Master,
            program: environment::redis_server(),
        };
        builder
            .setting("bind", "127.0.0.1")
            .setting("loglevel", "notice")
            .setting("save", "")
            .setting("appendonly", "no")
            // With these settings, a replica gets its copy without a delay, and a shutdown does not wait for replicas.
            .setting("repl-diskless-sync-delay", "0")
            .setting("shutdown-timeout", "0")
            .user_rules(admin::USER, &format!(">{} ~* &* +@all", admin::PASSWORD))
    }

    /// Sets any option of `redis.conf`. The value is quoted as needed.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name} {}", quoted(value)));
        self
    }

    /// Sets the password that clients need for the default user (`requirepass`).
    pub fn password(mut self, password: &str) -> Self {
        self.login.get_or_insert_with(|| Login {
            user: None,
            password: password.to_owned(),
        });
        self.setting("requirepass", password)
    }

    /// Adds an ACL user, for example with the rules `~* &* +@all -del`. [`RedisServer::url`] logs in as the first user.
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.login.get_or_insert_with(|| Login {
            user: Some(name.to_owned()),
            password: password.to_owned(),
        });
        self.settings.push(format!(
            "user {name} on {} {rules}",
            quoted(&format!(">{password}"))
        ));
        self
    }

    /// Replaces the rules of the user `default`, for example `off`, or `on nopass ~* &* +@all -set`.
    pub fn default_user(self, rules: &str) -> Self {
        self.user_rules("default", &format!("reset {rules}"))
    }

    /// Accepts TLS only, with a certificate for 127.0.0.1 and localhost from its own authority ([`RedisServer::ca_file`]).
    /// Clients need no certificate. The program is always `redis-server`, because the Valkey of the Python package has no TLS.
    pub fn tls(mut self) -> Self {
        self.protocol = Protocol::Tls;
        self.on_redis()
    }

    /// Uses `redis-server`, even if the tests run on another program.
    pub fn on_redis(mut self) -> Self {
        environment::REDIS_SERVER.clone_into(&mut self.program);
        self
    }

    /// Makes the server a read-only replica of `master`, which must accept plain TCP. [`start`](Self::start) returns when the
    /// replica is in sync.
    pub fn replica_of(mut self, master: &RedisServer) -> Self {
        self.role = Role::Replica;
        self.settings
            .push(format!("replicaof 127.0.0.1 {}", master.port()));
        self.setting("masteruser", admin::USER)
            .setting("masterauth", admin::PASSWORD)
    }

    /// Makes the server full from the start: every `SET` fails with `OOM`, while `PING`, `GET` and `DEL` work. The memory limit
    /// is less than the memory of an empty server.
    pub fn full_memory(self) -> Self {
        self.setting("maxmemory", "512kb")
            .setting("maxmemory-policy", "noeviction")
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    ///
    /// Panics if `redis-server` is not installed or does not answer in time. The message has the server's log.
    pub async fn start(self) -> RedisServer {
        for _ in 1..ATTEMPTS {
            let server = self.launch();
            if server.wait_until_ready_or_port_taken().await {
                return server;
            }
        }
        let server = self.launch();
        server.wait_until_ready().await;
        server
    }

    /// Starts the process on a new port.
    fn launch(&self) -> RedisServer {
        let port = loopback_port::reserve();
        let directory = tempfile::tempdir().expect("the system's temporary directory is writable");
        let certificate =
            (self.protocol == Protocol::Tls).then(|| Certificate::issue(directory.path()));

        let mut config = self.settings.join("\n");
        let socket = directory.path().join(admin::SOCKET);
        let ports = match &certificate {
            None => format!("port {port}"),
            Some(certificate) => format!("port 0\ntls-port {port}\n{}", certificate.settings()),
        };
        let directory_setting = quoted(&directory.path().to_string_lossy());
        write!(
            config,
            "\n{ports}\ndir {directory_setting}\nunixsocket {}\n",
            quoted(&socket.to_string_lossy())
        )
        .expect("writing to a String cannot fail");

        let mut process = ServerProcess::new(self.program.clone(), directory, &config);
        process.start().unwrap_or_else(|error| panic!("{error}"));
        RedisServer {
            port,
            login: self.login.clone(),
            certificate,
            process: Mutex::new(process),
        }
    }

    fn user_rules(mut self, name: &str, rules: &str) -> Self {
        self.settings.push(format!("user {name} on {rules}"));
        self
    }
}

/// A quoted value for `redis.conf`.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
