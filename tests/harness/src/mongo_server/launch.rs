//! Starts a MongoDB server that ends with the test process, even if the test process is killed. For both kinds of server,
//! the started program reads a pipe. The system closes the pipe at the end of the test process, and then the program ends
//! the server.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::owned_process::OwnedProcess;
use crate::{environment, loopback_port};

/// The time limit of a start. Even on a busy machine, a Java virtual machine starts faster.
const DEADLINE: Duration = Duration::from_secs(60);
/// The pause between two checks whether the server listens.
const PAUSE: Duration = Duration::from_millis(20);

/// The Java program that starts mongo-java-server. It prints the server's port, and ends when its input ends.
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mongo/Launcher.java");

/// The shell script that runs `mongod` until standard input ends, and then deletes its data.
const MONGOD: &str = r#"
    "$0" --dbpath "$1" --port "$2" --bind_ip 127.0.0.1 --nounixsocket --quiet &
    server=$!
    cat > /dev/null
    kill -9 "$server"
    wait "$server"
    rm -rf "$1"
"#;

/// A running server, which ends with the test process.
pub(super) struct Running {
    address: SocketAddr,
    is_stand_in: bool,
    _process: OwnedProcess,
}

impl Running {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn description(&self) -> &'static str {
        match self.is_stand_in {
            true => "mongo-java-server instead of MongoDB, with other timings",
            false => "mongod",
        }
    }
}

/// Starts `mongod` if it is installed, otherwise mongo-java-server, and returns when the server listens.
///
/// # Errors
///
/// Fails if no server is installed, or if the server does not start. The error says what to install, or has the server's output.
pub(super) fn launch() -> Result<Running, String> {
    // This folder holds only the log of the start, and is deleted when this function returns. A field of `Running` could
    // not delete the folder later, because the value of the shared server is never dropped.
    let directory = temporary_directory()?;
    let log = directory.path().join("server.log");
    let mongod = environment::find_on_path("mongod");
    let is_stand_in = mongod.is_none();
    let mut reserved = None;
    let mut command = match mongod {
        Some(mongod) => {
            let port = *reserved.insert(loopback_port::reserve());
            mongod_command(&mongod, port)?
        }
        None => stand_in_command()?,
    };
    let mut process = OwnedProcess::spawn(&mut command, &log)
        .map_err(|error| format!("{:?} does not start: {error}", command.get_program()))?;

    let start = Instant::now();
    loop {
        let printed = std::fs::read_to_string(&log).unwrap_or_default();
        let port = reserved.or_else(|| {
            printed
                .lines()
                .find_map(|line| line.strip_prefix("port ")?.parse().ok())
        });
        if let Some(port) =
            port.filter(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok())
        {
            let address = (Ipv4Addr::LOCALHOST, port).into();
            return Ok(Running {
                address,
                is_stand_in,
                _process: process,
            });
        }
        if let Some(status) = process.ended() {
            return Err(format!(
                "the MongoDB server ended with {status}:\n{printed}"
            ));
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("the MongoDB server does not listen:\n{printed}"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn mongod_command(mongod: &Path, port: u16) -> Result<Command, String> {
    // The shell script deletes this folder.
    let data = temporary_directory()?.keep();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(MONGOD)
        .arg(mongod)
        .arg(data)
        .arg(port.to_string());
    Ok(command)
}

fn stand_in_command() -> Result<Command, String> {
    let jars = environment::mongodb_stand_in_directory();
    let java = environment::find_on_path("java");
    let has_jars = jars
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    let (Some(java), true) = (java, has_jars) else {
        return Err(format!(
            "the tests need a MongoDB and found none: run `make test`, which installs a stand-in (Java 17 and the \
             jars of `tests/harness/mongo/pom.xml` in {}), or put `mongod` on PATH, or name a server in `MONGODB_TEST_URI`",
            jars.display()
        ));
    };
    let mut command = Command::new(java);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
    command.arg(jars.join("*")).arg(STAND_IN);
    Ok(command)
}

fn temporary_directory() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))
}
