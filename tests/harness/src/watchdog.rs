//! Ends the servers of a test process that was killed by SIGTERM, SIGKILL or an abort.
//!
//! Dropping an [`OwnedProcess`](crate::OwnedProcess) kills its child. But a signal ends the test process without drops, and a
//! child such as redis-server does not notice that. So a shell reads the ids of all living children from a pipe. When the test
//! process ends, the pipe closes and the shell kills the remaining children.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use parking_lot::Mutex;

/// The shell's script. It ignores the signals that a terminal sends to the whole process group, so that the shell can still
/// kill the children.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
alive=' '
while read -r change pid; do
    case $change in
        started) alive="$alive$pid " ;;
        ended) case $alive in *" $pid "*) alive="${alive%% $pid *} ${alive#* $pid }" ;; esac ;;
    esac
done
for pid in $alive; do kill -KILL "$pid"; done 2>/dev/null
"#;

/// Reports to the shell that this test process has started a process.
pub(crate) fn started(pid: u32) {
    tell("started", pid);
}

/// Reports to the shell that a process has ended or is about to end.
pub(crate) fn ended(pid: u32) {
    tell("ended", pid);
}

fn tell(change: &str, pid: u32) {
    static SHELL: OnceLock<Mutex<Child>> = OnceLock::new();
    let shell = SHELL.get_or_init(|| Mutex::new(start()));
    let mut shell = shell.lock();
    let pipe = shell.stdin.as_mut().expect("it has a pipe");
    writeln!(pipe, "{change} {pid}").expect("the shell reads as long as this process lives");
}

fn start() -> Child {
    Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("every system has a shell")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::{binaries, eventually};

    /// Whether a process runs. A zombie does not count.
    fn runs(pid: &str) -> bool {
        let listed = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
        let listed = listed.expect("every system has ps").stdout;
        listed.iter().any(|byte| !byte.is_ascii_whitespace()) && !listed.starts_with(b"Z")
    }

    /// Regression: an interrupted test run left its redis-servers running.
    #[tokio::test]
    async fn children_end_with_a_killed_test_process() {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut test = Command::new(binaries::example("holds"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            let stdout = test.stdout.take().expect("a pipe");
            let mut lines = BufReader::new(stdout).lines();
            let mut line = || lines.next().expect("a line").expect("text");
            let (ended, held) = (line(), line());
            assert!(!runs(&ended) && runs(&held));

            kill_process(Pid::from_child(&test), signal).expect("a living child takes signals");
            test.wait().expect("a child can be waited for");

            eventually(Duration::from_secs(5), async || !runs(&held)).await;
        }
    }
}
