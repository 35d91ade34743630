//! The output of a function: a file to which the function's processes append their standard output
//! and standard error.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

/// The log of one function.
pub(super) struct FunctionLog {
    directory: TempDir,
}

impl FunctionLog {
    pub(super) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("the system's temporary directory is writable"),
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("function.log")
    }

    /// The whole log so far.
    pub(super) fn text(&self) -> String {
        let bytes = std::fs::read(self.file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn assert_well_formed(&self) {
        for line in self.text().lines() {
            if let Err(fault) = check(line) {
                panic!("the log line {fault}: {line}");
            }
        }
    }
}

/// Checks a line of the log. The error is the reason why the line is malformed.
fn check(line: &str) -> Result<(), &'static str> {
    let event: Value = serde_json::from_str(line).map_err(|_| "is not JSON")?;
    let timestamp = event["timestamp"].as_str().ok_or("has no `timestamp`")?;
    timestamp
        .parse::<jiff::Timestamp>()
        .map_err(|_| "has a `timestamp` that is not RFC 3339")?;
    match event["level"].as_str() {
        Some("TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "FATAL") => Ok(()),
        _ => Err("has no `level` that Lambda accepts"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_line_needs_a_timestamp_and_a_level() {
        assert_eq!(
            check(r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"INFO"}"#),
            Ok(())
        );
        assert_eq!(check("thread 'main' panicked"), Err("is not JSON"));
        assert_eq!(check(r#"{"level":"INFO"}"#), Err("has no `timestamp`"));
        assert_eq!(
            check(r#"{"timestamp":"now"}"#),
            Err("has a `timestamp` that is not RFC 3339")
        );
        let unknown_level = r#"{"timestamp":"2026-01-02T03:04:05Z","level":"loud"}"#;
        assert_eq!(
            check(unknown_level),
            Err("has no `level` that Lambda accepts")
        );
    }
}
