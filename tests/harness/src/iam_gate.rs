//! The door of ElastiCache: TLS, and users that log in with a token of IAM. Behind it stands a real `redis-server`, whose
//! users have passwords.
//!
//! A login that comes with a good token goes on with the user's password in its place; every other one goes on as it is, so
//! it is the server that refuses it. All that follows is passed on. What makes a token good is written here anew, from AWS's
//! description of signatures, and checked against AWS's own library: nothing is shared with what signs.

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

/// A door in front of one server; dropping it closes its connections.
pub struct IamGate {
    address: SocketAddr,
    directory: TempDir,
    state: Arc<State>,
    /// Runs what is at the door.
    runtime: BackgroundRuntime,
}

/// A login, as it was judged.
#[derive(Clone, Debug)]
pub struct Login {
    /// `HELLO` or `AUTH`.
    pub command: String,
    /// The user that it named.
    pub user: String,
    /// The token that it brought.
    pub token: String,
    /// What is wrong with it.
    pub verdict: Result<(), String>,
    /// When its connection was accepted.
    pub accepted: Timestamp,
}

/// What all connections of a door share.
struct State {
    server: SocketAddr,
    user: IamUser,
    logins: Mutex<Vec<Login>>,
    connections: Mutex<JoinSet<()>>,
}

/// The password behind the door, which no client of it knows.
const PASSWORD: &str = "behind-the-door";

impl IamGate {
    /// A door to `server`, for one user: it becomes the only one who may log in there.
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

    /// The port of the door.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its URL, in which there is no user.
    pub fn url(&self) -> String {
        format!("rediss://{}", self.address)
    }

    /// The certificate authority that its clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        certificate::authority(self.directory.path())
    }

    /// The logins so far.
    pub fn logins(&self) -> Vec<Login> {
        self.state.logins.lock().clone()
    }

    /// Closes the connections that exist.
    pub fn close_connections(&self) {
        let state = Arc::clone(&self.state);
        self.runtime.run(async move {
            let mut connections = std::mem::take(&mut *state.connections.lock());
            connections.shutdown().await;
        });
    }

    /// A function that goes through this door.
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
