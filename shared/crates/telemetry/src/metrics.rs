//! Writes metrics for CloudWatch.
//!
//! Metrics are log lines in CloudWatch's Embedded Metric Format, which needs no request and no connection
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! No crate is used for the format. The existing crates add a global recorder and wrap the handler, and so are more
//! complicated than the format itself.
//!
//! Metrics are written only on Lambda, together with the next log line or at the end of the invocation. So an invocation needs
//! one write. If the process is killed before, the metrics since the last log line are lost.

use foundation::Environment;
use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tracing::Level;

use crate::logging;

/// The metrics of one function.
#[derive(Clone, Debug)]
pub struct Metrics {
    namespace: String,
    environment: String,
    /// The level that the lines of metrics have. It is the minimum level of the log, because Lambda drops lines below
    /// that level.
    level: &'static str,
    enabled: bool,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of things or events.
    Count,
    /// Time, in milliseconds.
    Milliseconds,
    /// Time, in seconds.
    Seconds,
}

/// A metric. It is serialized without its value; the value is in another part of the line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metric {
    /// The metric's name in CloudWatch, in CamelCase.
    pub name: &'static str,
    /// The metric's unit.
    pub unit: Unit,
    /// The metric's value.
    #[serde(skip)]
    pub value: f64,
}

impl Metrics {
    /// Creates the metrics of a service, in a namespace with the name of the service. `level` is the minimum level of
    /// the log.
    pub fn new(service: &str, environment: &Environment, level: Level) -> Self {
        Self {
            namespace: service.to_owned(),
            environment: environment.name().to_owned(),
            level: level.as_str(),
            enabled: environment.is_deployed(),
        }
    }

    /// Creates metrics that are never written.
    pub fn off() -> Self {
        Self::new("", &Environment::laptop(), Level::ERROR)
    }

    /// Writes `metrics` that were measured together, with one more dimension, for example `("dependency",
    /// "redis")`.
    pub fn record(&self, dimension: (&'static str, &'static str), metrics: &[Metric]) {
        if self.enabled {
            logging::write_later(&self.line(dimension, metrics, logging::now()));
        }
    }

    fn line<'a>(
        &'a self,
        dimension: (&'static str, &'static str),
        metrics: &'a [Metric],
        now: Timestamp,
    ) -> Line<'a> {
        Line {
            timestamp: logging::rfc3339(now),
            level: self.level,
            environment: &self.environment,
            values: Values { dimension, metrics },
            definition: Definition {
                timestamp: now.as_millisecond(),
                directives: [Directive {
                    namespace: &self.namespace,
                    dimensions: [["environment", dimension.0]],
                    metrics,
                }],
            },
        }
    }
}

/// A line in the Embedded Metric Format.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    environment: &'a str,
    #[serde(flatten)]
    values: Values<'a>,
    #[serde(rename = "_aws")]
    definition: Definition<'a>,
}

/// The dimension and the metrics. Each value has a member with its own name.
struct Values<'a> {
    dimension: (&'static str, &'static str),
    metrics: &'a [Metric],
}

/// The metadata of a line for CloudWatch.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    timestamp: i64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [[&'static str; 2]; 1],
    metrics: &'a [Metric],
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.dimension.0, self.dimension.1)?;
        for metric in self.metrics {
            map.serialize_entry(metric.name, &metric.value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_embedded_metric_format_and_the_level_of_the_log() {
        let metrics = Metrics {
            namespace: "truebond".to_owned(),
            environment: "production".to_owned(),
            level: "WARN",
            enabled: true,
        };
        let up = Metric {
            name: "DependencyUp",
            unit: Unit::Count,
            value: 1.0,
        };
        let up = [up];
        let line = metrics.line(("dependency", "redis"), &up, Timestamp::UNIX_EPOCH);
        insta::assert_json_snapshot!(line, @r#"
        {
          "timestamp": "1970-01-01T00:00:00.000Z",
          "level": "WARN",
          "environment": "production",
          "dependency": "redis",
          "DependencyUp": 1.0,
          "_aws": {
            "Timestamp": 0,
            "CloudWatchMetrics": [
              {
                "Namespace": "truebond",
                "Dimensions": [
                  [
                    "environment",
                    "dependency"
                  ]
                ],
                "Metrics": [
                  {
                    "Name": "DependencyUp",
                    "Unit": "Count"
                  }
                ]
              }
            ]
          }
        }
        "#);
    }
}
