//! The process of a server, its folder and its log.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::owned_process::OwnedProcess;

/// A server that can start several times with the same configuration.
pub(super) struct ServerProcess {
    program: String,
    /// The process. It is declared before the directory, so that it ends before the directory is deleted.
    running: Option<OwnedProcess>,
    directory: TempDir,
}

impl ServerProcess {
    /// Writes the configuration into the folder. The returned value owns the folder.
    pub(super) fn new(program: String, directory: TempDir, config: &str) -> Self {
        let process = Self {
            program,
            running: None,
            directory,
        };
        std::fs::write(process.config(), config).expect("the server's directory is writable");
        process
    }

    /// Starts the process. The server does not answer immediately.
    ///
    /// # Errors
    ///
    /// Fails if the program is not installed. The error says what to install.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.start_with(&[])
    }

    /// Starts the process with additional settings for this start. A setting is a name that begins with `--`, followed
    /// by a value.
    pub(super) fn start_with(&mut self, settings: &[&str]) -> Result<(), String> {
        let program = &self.program;
        let mut command = Command::new(program);
        command.arg(self.config()).args(settings);
        let process = OwnedProcess::spawn(&mut command, &self.log_file()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!(
                    "the tests need a real `{program}` on PATH (Redis 7.0 or later, Valkey 7.2 or later) and found none: run \
                     `make test`, which installs it"
                )
            }
            _ => format!("`{program}` does not start: {error}"),
        })?;
        self.running = Some(process);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    pub(super) fn pause(&mut self) {
        self.running
            .as_mut()
            .expect("the server was not stopped")
            .pause();
    }

    pub(super) fn resume(&mut self) {
        self.running
            .as_mut()
            .expect("the server was not stopped")
            .resume();
    }

    /// The exit status, if the process ended by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.ended()
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The output of the server since the first start.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn config(&self) -> PathBuf {
        self.directory().join("redis.conf")
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("redis.log")
    }
}
