//! What can be sent, and how it is sent: as it is to a server, along its redirections in a cluster.
//!
//! The cluster client could follow redirections itself, but then it also repeats a command whose connection broke, which
//! may have run. So its retries are off, and only what a node refused without running it is sent again here.

use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd, pipe};

use super::Script;
use super::connection::Connection;

/// What can be sent.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    /// A command to this node of a cluster, whatever it is about.
    ToNode(&'a Node, &'a Cmd),
    /// Commands that travel together, each with an answer of its own. All of them must be safe to repeat: while a slot is
    /// being moved, a node may have run some when it refuses another.
    Pipeline(&'a Pipeline),
    Script(ScriptCall<'a>),
}

/// A node of a cluster, by the address that the cluster knows it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// A script with what it works on.
pub(super) struct ScriptCall<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a str],
    pub(super) args: &'a [&'a [u8]],
}

/// The digits of how many keys there are.
const LONGEST_COUNT: usize = 20;
/// How many times a command follows a redirection, or waits for a slot that is being moved.
const REDIRECTIONS: u32 = 5;
/// What the cluster needs to settle, times the number of the attempt.
const REDIRECTION_PAUSE: Duration = Duration::from_millis(10);

impl Request<'_> {
    /// Sends it and returns the answer.
    ///
    /// # Errors
    ///
    /// The server's or the connection's error.
    pub(super) async fn send(&self, mut connection: Connection) -> RedisResult<Value> {
        match self {
            Self::Command(command) => send(&mut connection, command).await,
            Self::ToNode(node, command) => send_to(&mut connection, node, command).await,
            Self::Pipeline(pipeline) => send_pipeline(&mut connection, pipeline).await,
            Self::Script(call) => match send(&mut connection, &call.by_digest()).await {
                // Sent with its text it is known from then on, and unlike `SCRIPT LOAD` that takes one node only.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    send(&mut connection, &call.by_text()).await
                }
                settled => settled,
            },
        }
    }
}

impl Node {
    fn route(&self) -> SingleNodeRoutingInfo {
        SingleNodeRoutingInfo::ByAddress {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

impl ScriptCall<'_> {
    pub(super) fn by_digest(&self) -> Cmd {
        self.as_command("EVALSHA", self.script.digest())
    }

    pub(super) fn by_text(&self) -> Cmd {
        self.as_command("EVAL", self.script.text())
    }

    /// The command, in a buffer of its final length: an argument may be a saved response of megabytes.
    fn as_command(&self, name: &str, script: &str) -> Cmd {
        let keys = self.keys.iter().map(|key| key.len());
        let args = self.args.iter().map(|arg| arg.len());
        let text = name.len() + script.len() + keys.chain(args).sum::<usize>();
        let count = self.keys.len() + self.args.len() + 3;
        let mut call = Cmd::with_capacity(count, text + LONGEST_COUNT);
        call.arg(name).arg(script).arg(self.keys.len());
        call.arg(self.keys).arg(self.args);
        call
    }
}

/// Asks for a sign of life: the server, or in a cluster all nodes, of which one has to answer. That all have to would
/// make one silent node the end of the others.
pub(super) async fn ping(connection: &mut Connection) -> RedisResult<Value> {
    let ping = cmd("PING");
    match connection {
        Connection::Standalone(connection) => ping.query_async(connection).await,
        Connection::Cluster(connection) => {
            let any = (
                MultipleNodeRoutingInfo::AllMasters,
                Some(ResponsePolicy::OneSucceeded),
            );
            connection
                .route_command(ping, RoutingInfo::MultiNode(any))
                .await
        }
    }
}

async fn send(connection: &mut Connection, command: &Cmd) -> RedisResult<Value> {
    let Connection::Cluster(cluster) = connection else {
        return command.query_async(connection).await;
    };
    let mut answer = command.query_async(cluster).await;
    for attempt in 1..=REDIRECTIONS {
        answer = match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                ask(cluster, command, error).await
            }
            Err(error) if is_without_node(&error) => {
                tokio::time::sleep(REDIRECTION_PAUSE * attempt).await;
                command.query_async(cluster).await
            }
            settled => return settled,
        };
    }
    answer
}

async fn send_to(connection: &mut Connection, node: &Node, command: &Cmd) -> RedisResult<Value> {
    match connection {
        Connection::Standalone(connection) => command.query_async(connection).await,
        Connection::Cluster(cluster) => {
            let node = RoutingInfo::SingleNode(node.route());
            cluster.route_command(command.clone(), node).await
        }
    }
}

async fn send_pipeline(connection: &mut Connection, pipeline: &Pipeline) -> RedisResult<Value> {
    let mut answer = pipeline.query_async(connection).await;
    for attempt in 1..=REDIRECTIONS {
        answer = match answer {
            Err(error) if is_without_node(&error) => {
                tokio::time::sleep(REDIRECTION_PAUSE * attempt).await;
                pipeline.query_async(connection).await
            }
            settled => return settled,
        };
    }
    answer
}

/// Sends a command to the node that a slot is being moved to, which takes it only when asked to.
async fn ask(
    cluster: &mut ClusterConnection,
    command: &Cmd,
    redirection: RedisError,
) -> RedisResult<Value> {
    let Some((host, port)) = redirection
        .redirect_node()
        .and_then(|(node, _)| node.rsplit_once(':'))
    else {
        return Err(redirection);
    };
    let Ok(port) = port.parse() else {
        return Err(redirection);
    };
    let mut asking = pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let host = host.to_owned();
    let node = Node { host, port };
    let answers = cluster.route_pipeline(asking, 1, 1, node.route()).await?;
    answers
        .into_iter()
        .next()
        .unwrap_or(Value::Nil)
        .extract_error()
}

/// Whether a node refused the command for the moment, or none was found: either way, it has not run.
pub(super) fn is_without_node(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::TryAgain)
            | ErrorKind::ClusterConnectionNotFound
    )
}
