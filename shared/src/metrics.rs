//! How do numbers reach CloudWatch?
//!
//! As log lines in its Embedded Metric Format, which costs no call and no connection
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! Written by hand: the crates for it bring a global recorder and wrap the handler, which is more to learn than the
//! format.
//!
//! On a laptop nobody reads them, so they are written only on Lambda.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::logging;

/// Where the numbers of one function go.
#[derive(Clone, Debug)]
pub struct Metrics {
    namespace: String,
    environment: String,
    /// The level that these lines claim: the least one in force, for a line below it would be dropped by Lambda.
    level: &'static str,
    enabled: bool,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Things or events.
    Count,
    /// Time, in milliseconds.
    Milliseconds,
    /// Time, in seconds.
    Seconds,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name in CloudWatch, in CamelCase.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub value: f64,
}

impl Metrics {
    /// The metrics of a function that is configured so.
    pub fn new(config: &Config) -> Self {
        Self {
            namespace: config.service.clone(),
            environment: config.environment.name().to_owned(),
            level: config.log.level.as_str(),
            enabled: config.lambda.deployed,
        }
    }

    /// Records `metrics` that were measured together, under one more dimension, for example `("dependency", "redis")`.
    pub fn record(&self, dimension: (&'static str, &'static str), metrics: &[Metric]) {
        if self.enabled {
            logging::write_line(&self.line(dimension, metrics, logging::now()));
        }
    }

    fn line(
        &self,
        dimension: (&'static str, &'static str),
        metrics: &[Metric],
        now: Timestamp,
    ) -> Value {
        let definitions: Vec<_> = metrics
            .iter()
            .map(|metric| json!({"Name": metric.name, "Unit": metric.unit}))
            .collect();
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), logging::rfc3339(now).into());
        line.insert("level".to_owned(), self.level.into());
        line.insert("environment".to_owned(), self.environment.as_str().into());
        line.insert(dimension.0.to_owned(), dimension.1.into());
        line.extend(
            metrics
                .iter()
                .map(|metric| (metric.name.to_owned(), metric.value.into())),
        );
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": [["environment", dimension.0]],
                    "Metrics": definitions,
                }],
            }),
        );
        Value::Object(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_reads_and_lambda_does_not_drop() {
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
        let line = metrics.line(("dependency", "redis"), &[up], Timestamp::UNIX_EPOCH);
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
