//! The settings of the log. Lambda sets both variables.

use super::ConfigError;
use super::reader::Reader;

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The shape of a line; `None`: text in a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// The least level of our own lines.
    pub level: tracing::Level,
    /// Whether this is Lambda itself: its lines of text carry every id.
    pub deployed: bool,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Text for a person.
    Text,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: None,
            level: tracing::Level::INFO,
            deployed: false,
        }
    }
}

impl LogConfig {
    pub(super) fn read(read: &Reader<'_>, deployed: bool) -> Result<Self, ConfigError> {
        let format = read.parsed(
            "AWS_LAMBDA_LOG_FORMAT",
            "`JSON` or `Text`",
            |text| match text {
                "JSON" => Some(LogFormat::Json),
                "Text" => Some(LogFormat::Text),
                _ => None,
            },
        )?;
        let accepted = "`TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`";
        let level = read.parsed("AWS_LAMBDA_LOG_LEVEL", accepted, |text| match text {
            "TRACE" => Some(tracing::Level::TRACE),
            "DEBUG" => Some(tracing::Level::DEBUG),
            "INFO" => Some(tracing::Level::INFO),
            "WARN" => Some(tracing::Level::WARN),
            "ERROR" | "FATAL" => Some(tracing::Level::ERROR),
            _ => None,
        })?;
        Ok(Self {
            format,
            level: level.unwrap_or(Self::default().level),
            deployed,
        })
    }
}
