//! Requests to Redis. A standalone server gets them directly. In a cluster, this module follows redirections.
//!
//! The retries of the cluster client are off. These retries would follow redirections, but also repeat a command that
//! may have run before its connection broke. So this module follows redirections itself, and repeats only commands that
//! a node rejected without running them.

use std::sync::LazyLock;
use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd, pipe};

use super::connection::{Connection, ConnectionState};
use super::{Reason, Repeat, Script, diagnosis};

/// A request to Redis.
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    /// A command that is sent to this node of a cluster, regardless of the keys in the command.
    ToNode(&'a Node, &'a Cmd),
    /// Commands that are sent together. Each command has its own reply, and must be safe to repeat. While a slot moves,
    /// a node may run some of the commands and reject others.
    Pipeline(&'a Pipeline),
    /// Two commands on the same key that are sent together; both must be safe to repeat. An error reply to the first one
    /// is the error of the request; an error reply to the second one is in the result.
    Pair(&'a Pipeline),
    /// A compare-and-set of one value.
    CompareAndSet(CompareAndSet<'a>),
    Script(ScriptCall<'a>),
}

/// A value that replaces an expected value.
pub(super) struct CompareAndSet<'a> {
    pub(super) key: &'a str,
    pub(super) expected: &'a [u8],
    pub(super) value: &'a [u8],
    /// The option of `SET` that limits the life of the new value.
    pub(super) option: Option<&'static str>,
    /// The milliseconds that follow the option.
    pub(super) ms: Option<&'a str>,
}

/// A node of a cluster, by its address in the configuration of the cluster.
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

/// The compare-and-set for servers without `SET IFEQ`. The write is its last command, so an error proves that nothing was
/// written.
static COMPARE_AND_SET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("compare_and_set.lua"), Repeat::Safe));

/// The bytes reserved for the number of keys: the most decimal digits that a `usize` can have.
const LONGEST_COUNT: usize = 20;
/// How often, at most, a command is sent again after a redirection or because its slot is moving.
const REDIRECTIONS: u32 = 5;
/// The unit of the pause before a repetition: the first pause is this long, the second twice as long, and so on. During
/// the pause, the cluster can finish the move.
const REDIRECTION_PAUSE: Duration = Duration::from_millis(10);

impl Request<'_> {
    /// Sends the request and returns the reply.
    ///
    /// # Errors
    ///
    /// The error of the server or of the connection.
    pub(super) async fn send(
        &self,
        mut connection: Connection,
        state: &ConnectionState,
    ) -> RedisResult<Value> {
        match self {
            Self::Command(command) => send(&mut connection, command).await,
            Self::ToNode(node, command) => send_to(&mut connection, node, command).await,
            Self::Pipeline(pipeline) => send_pipeline(&mut connection, pipeline).await,
            Self::Pair(pipeline) => {
                let replies = send_pipeline(&mut connection, pipeline).await?;
                match &replies {
                    Value::Array(each) if let Some(Value::ServerError(error)) = each.first() => {
                        Err(error.clone().into())
                    }
                    _ => Ok(replies),
                }
            }
            Self::CompareAndSet(write) => {
                if !state.lacks_ifeq() {
                    match send(&mut connection, &write.as_command()).await {
                        // The server rejected the syntax, so it wrote nothing.
                        Err(error) if diagnosis::is_unknown_syntax(&error) => {
                            state.mark_lacks_ifeq()
                        }
                        settled => return settled,
                    }
                }
                let args = write.script_args();
                let call = ScriptCall {
                    script: &COMPARE_AND_SET,
                    keys: &[write.key],
                    args: &args,
                };
                call.send(&mut connection).await
            }
            Self::Script(call) => call.send(&mut connection).await,
        }
    }
}

impl CompareAndSet<'_> {
    /// The command, in a buffer of its exact size: both values may have megabytes.
    fn as_command(&self) -> Cmd {
        let words = "SET".len() + "IFEQ".len() + self.key.len();
        let values = self.expected.len() + self.value.len();
        let expiry = [self.option, self.ms].map(|word| word.map_or(0, str::len));
        let bytes = words + values + expiry.iter().sum::<usize>();
        let mut set = Cmd::with_capacity(7, bytes);
        set.arg("SET").arg(self.key).arg(self.value);
        set.arg("IFEQ").arg(self.expected);
        set.arg(self.option).arg(self.ms);
        set
    }

    fn script_args(&self) -> Vec<(&str, &[u8])> {
        let mut args = vec![("expected", self.expected), ("value", self.value)];
        args.extend(self.option.map(|option| ("option", option.as_bytes())));
        args.extend(self.ms.map(|ms| ("ms", ms.as_bytes())));
        args
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
    async fn send(&self, connection: &mut Connection) -> RedisResult<Value> {
        match send(connection, &self.by_digest()).await {
            // `EVAL` runs the script by its text, and from then on the server has the script. `SCRIPT LOAD` would load
            // the script on one node only.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                send(connection, &self.by_text()).await
            }
            settled => settled,
        }
    }

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

/// Pings the server. In a cluster, pings all masters, and one reply is enough. If all masters had to reply, one
/// unresponsive node would cause the connections to all nodes to be discarded.
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
            Err(error) if is_asked_elsewhere(&error) => {
                let replies = ask(cluster, [command], error).await;
                replies.and_then(|replies| first(replies).extract_error())
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
        answer = match (answer, &mut *connection) {
            (Err(error), Connection::Cluster(cluster)) if is_asked_elsewhere(&error) => {
                ask(cluster, pipeline.cmd_iter(), error)
                    .await
                    .map(Value::Array)
            }
            (Err(error), _) if is_without_node(&error) => {
                tokio::time::sleep(REDIRECTION_PAUSE * attempt).await;
                pipeline.query_async(connection).await
            }
            (settled, _) => return settled,
        };
    }
    answer
}

/// Sends commands to the node to which a slot is moving, and returns the reply to each command. Until the move ends,
/// that node accepts each command only after `ASKING`.
async fn ask(
    cluster: &mut ClusterConnection,
    commands: impl IntoIterator<Item = &Cmd>,
    redirection: RedisError,
) -> RedisResult<Vec<Value>> {
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
    for command in commands {
        asking.cmd("ASKING").add_command(command.clone());
    }
    let host = host.to_owned();
    let node = Node { host, port };
    let count = asking.len();
    let answers = cluster
        .route_pipeline(asking, 0, count, node.route())
        .await?;
    // Every other reply belongs to an `ASKING`.
    Ok(answers.into_iter().skip(1).step_by(2).collect())
}

fn first(replies: Vec<Value>) -> Value {
    replies.into_iter().next().unwrap_or(Value::Nil)
}

/// Whether the slot of the command is moving, and the command has to be sent to another node.
fn is_asked_elsewhere(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Ask)
}

/// Whether the cluster client reports this error even if only the second of two commands failed with it. This is true
/// for a redirection, and for every error after which the command is sent to another node or sent later.
pub(super) fn may_follow_a_write(error: &RedisError, reason: Reason) -> bool {
    let is_about_the_node = reason.precedes_execution() && reason != Reason::AuthFailed;
    is_asked_elsewhere(error) || is_without_node(error) || is_about_the_node
}

/// Whether a node rejected the command for now, or no node was found. In both cases the command has not run.
pub(super) fn is_without_node(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::TryAgain)
            | ErrorKind::ClusterConnectionNotFound
    )
}
