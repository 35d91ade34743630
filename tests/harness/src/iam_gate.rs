//! Simulates the IAM authentication of ElastiCache: a TLS proxy that accepts logins with IAM tokens, in front of a real
//! `redis-server` with password users.
//!
//! The gate replaces a valid token by the user's password. It forwards an invalid login unchanged, so that the server rejects the
//! login. It forwards all later bytes unchanged. The code that checks tokens follows AWS's description of signatures, and shares
//! no code with the product. Its tests use tokens from AWS's library.

mod certificate;
mod connection;
mod token;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::connection::Connection;
pub use self::token::{CacheKind, IamUser};
use crate::background_runtime::BackgroundRuntime;
use crate::lambda::LambdaBuilder;
use crate::redis_server::RedisServer;

/// A gate in front of one server. Dropping the gate closes its connections.
pub struct IamGate {
    address: SocketAddr,
    directory: TempDir,
    state: Arc<State>,
    /// The runtime on which the gate runs.
    runtime: BackgroundRuntime,
}

/// A login attempt and its verdict.
#[derive(Clone, Debug)]
pub struct Login {
    /// The command of the login: `HELLO` or `AUTH`.
    pub command: String,
    /// The user in the login.
    pub user: String,
    /// The token in the login.
    pub token: String,
    /// `Ok` if the token is valid, otherwise the reason why it is invalid.
    pub verdict: Result<(), String>,
    /// The time at which the gate accepted the connection of this login.
    pub accepted: Timestamp,
}

/// The state that all connections of a gate share.
struct State {
    server: SocketAddr,
    user: IamUser,
    logins: Mutex<Vec<Login>>,
    connections: Mutex<JoinSet<()>>,
}

/// The user's password at the server behind the gate. Clients do not know this password.
const PASSWORD: &str = "behind-the-door";

impl IamGate {
    /// Starts a gate to `server` for one user, and makes this user the only user that is allowed to log in to the server.
    pub async fn to(server: &RedisServer, user: &IamUser) -> Self {
        let rules = format!(">{PASSWORD}");
        let set_user = [
            "ACL", "SETUSER", &user.name, "on", &rules, "~*", "&*", "+@all",
        ];
        server.command(&set_user).await;
        server.command(&["ACL", "SETUSER", "default", "off"]).await;

        let directory = TempDir::new().expect("a directory");
        let acceptor = certificate::acceptor(directory.path());
        let state = Arc::new(State {
            server: server.address(),
            user: user.clone(),
            logins: Mutex::default(),
            connections: Mutex::default(),
        });
        let runtime = BackgroundRuntime::start("iam-gate");
        let listener = runtime.run(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            listener.expect("the loopback interface has free ports")
        });
        let address = listener.local_addr().expect("a listener has an address");
        let serving = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Connection {
                    state: Arc::clone(&serving),
                    acceptor: acceptor.clone(),
                    accepted: Timestamp::now(),
                };
                serving.connections.lock().spawn(connection.serve(client));
            }
        });
        Self {
            address,
            directory,
            state,
            runtime,
        }
    }

    /// The port of the gate.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The gate's URL, without a user.
    pub fn url(&self) -> String {
        format!("rediss://{}", self.address)
    }

    /// The certificate authority that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        certificate::authority(self.directory.path())
    }

    /// All login attempts so far.
    pub fn logins(&self) -> Vec<Login> {
        self.state.logins.lock().clone()
    }

    /// Closes the existing connections.
    pub fn close_connections(&self) {
        let state = Arc::clone(&self.state);
        self.runtime.run(async move {
            let mut connections = std::mem::take(&mut *state.connections.lock());
            connections.shutdown().await;
        });
    }

    /// Adds the settings with which the function connects through this gate.
    pub fn serving(&self, function: LambdaBuilder) -> LambdaBuilder {
        let user = &self.state.user;
        let ca_file = self.ca_file();
        user.serving(function)
            .env("REDIS_URL", &self.url())
            .env("REDIS_CA_FILE", path(&ca_file))
    }
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a name in UTF-8")
}
