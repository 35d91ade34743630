//! The settings of the log: format and level. Lambda sets the environment variables for both.

use telemetry::logging::{LogConfig, LogFormat};

use super::ConfigError;
use super::reader::Reader;

pub(super) fn read(read: &Reader<'_>, deployed: bool) -> Result<LogConfig, ConfigError> {
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
    Ok(LogConfig {
        format,
        level: level.unwrap_or(LogConfig::default().level),
        deployed,
    })
}
