//! Requests to Redis and how they are sent: directly to a standalone server, or along redirections in a cluster.
//!
//! The retries of the cluster client are off. They would follow redirections, but also repeat a command whose
//! connection broke and that may have run. So this module follows redirections itself and repeats only what a node
//! rejected without running it.

use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd, pipe};

use super::Script;
use super::connection::Connection;

/// A request to Redis.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    /// A command that is sent to this node of a cluster, regardless of the keys in the command.
    ToNode(&'a Node, &'a Cmd),
    /// Commands that are sent together, each with its own reply. All must be safe to repeat: while a slot moves, a
    /// node may run some of them and reject another.
    Pipeline(&'a Pipeline),
    Script(ScriptCall<'a>),
}

/// A node of a cluster, by the address in the cluster's own configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// A script with its keys and arguments.
pub(super) struct ScriptCall<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a str],
    /// The arguments, each with its name and its value.
    pub(super) args: &'a [(&'a str, &'a [u8])],
}

/// The bytes reserved for the number of keys: the most decimal digits that a `usize` can have.
const LONGEST_COUNT: usize = 20;
/// How often, at most, a command is sent again after a redirection or because its slot is moving.
const REDIRECTIONS: u32 = 5;
/// The unit of the pause before a repetition: the first pause is this long, the second twice as long, and so on. The
/// cluster can finish the move meanwhile.
const REDIRECTION_PAUSE: Duration = Duration::from_millis(10);

impl Request<'_> {
    /// Sends the request and returns the reply.
    ///
    /// # Errors
    ///
    /// The error of the server or of the connection.
    pub(super) async fn send(&self, mut connection: Connection) -> RedisResult<Value> {
        match self {
            Self::Command(command) => send(&mut connection, command).await,
            Self::ToNode(node, command) => send_to(&mut connection, node, command).await,
            Self::Pipeline(pipeline) => send_pipeline(&mut connection, pipeline).await,
            Self::Script(call) => match send(&mut connection, &call.by_digest()).await {
                // `EVAL` runs the script by its text, and from then on the server knows the script. `SCRIPT LOAD` would
                // load it on one node only.
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

    /// The command, in a buffer of its exact size: an argument may be a saved response of megabytes.
    fn as_command(&self, name: &str, script: &str) -> Cmd {
        let keys = self.keys.iter().map(|key| key.len());
        let args = self
            .args
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let text = name.len() + script.len() + keys.chain(args).sum::<usize>();
        let count = self.keys.len() + 2 * self.args.len() + 3;
        let mut call = Cmd::with_capacity(count, text + LONGEST_COUNT);
        call.arg(name).arg(script).arg(self.keys.len());
        call.arg(self.keys);
        for (name, value) in self.args {
            call.arg(name).arg(value);
        }
        call
    }
}

/// Pings the server. In a cluster, pings all masters and needs one reply: if all had to reply, one unresponsive
/// node would discard the connections to the others.
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

/// Sends a command to the node that a slot is moving to. Until the move ends, that node accepts the command only
/// after `ASKING`.
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

/// Whether a node rejected the command for now, or no node was found. In both cases the command has not run.
pub(super) fn is_without_node(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::TryAgain)
            | ErrorKind::ClusterConnectionNotFound
    )
}
