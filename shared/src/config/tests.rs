use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Config::from_lookup(|variable| variables.get(variable).map(OsString::from))
}

fn error(variables: &[(&str, &str)]) -> String {
    config(variables).expect_err("refused").to_string()
}

#[test]
fn nothing_has_to_be_set_on_a_laptop() {
    let config = config(&[]).expect("the defaults");
    assert_eq!(config.service, "truebond");
    assert_eq!(config.version, "1.0.0");
    assert!(config.environment.is_development());
    assert_eq!(config.redis.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.redis.response_timeout, Duration::from_secs(5));
    assert_eq!(config.redis.idle_check, Duration::from_secs(1));
    assert_eq!(config.mongo.database, "truebond");
    assert_eq!(config.idempotency.namespace, "default");
    assert_eq!(config.health.check_timeout, Duration::from_millis(800));
    assert_eq!(config.health.total_timeout, Duration::from_secs(1));
    assert_eq!(config.health.memo, Duration::from_secs(1));
    assert_eq!(config.health.slow, Duration::from_millis(100));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = config(&[
        ("REDIS_URL", ""),
        ("REDIS_CLUSTER", " "),
        ("HEALTH_MEMO_MS", ""),
    ])
    .expect("usable");
    assert!(config.redis.url.is_none());
    assert!(!config.redis.cluster);
}

#[test]
fn only_lambda_has_no_default_environment() {
    insta::assert_snapshot!(error(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")]), @"ENVIRONMENT is not set; accepted: the name of this environment, for example `production` (on Lambda there is no default)");
}

#[test]
fn a_wrong_value_names_the_variable_what_was_found_and_what_is_accepted() {
    let messages = [
        error(&[("REDIS_CONNECT_TIMEOUT_MS", "5s")]),
        error(&[("REDIS_IDLE_CHECK_MS", "-1")]),
        error(&[("HEALTH_MEMO_MS", "60001")]),
        error(&[("REDIS_CLUSTER", "yes")]),
        error(&[("SERVICE_NAME", "true bond")]),
        error(&[("IDEMPOTENCY_NAMESPACE", "fn:billing")]),
        error(&[("MONGODB_DATABASE", "a/b")]),
        error(&[("HEALTH_CRITICAL", "redis,mysql")]),
        error(&[("REDIS_CA_FILE", "/nowhere/ca.pem")]),
        error(&[("AWS_LAMBDA_LOG_LEVEL", "loud")]),
        error(&[("ENVIRONMENT", &"x".repeat(100))]),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    REDIS_CONNECT_TIMEOUT_MS is `5s`; accepted: whole milliseconds from 1 to 900000
    REDIS_IDLE_CHECK_MS is `-1`; accepted: whole milliseconds from 0 to 900000
    HEALTH_MEMO_MS is `60001`; accepted: whole milliseconds from 0 to 60000
    REDIS_CLUSTER is `yes`; accepted: `true` or `false`
    SERVICE_NAME is `true bond`; accepted: 1 to 64 letters, digits, `.`, `_` or `-`
    IDEMPOTENCY_NAMESPACE is `fn:billing`; accepted: 1 to 64 letters, digits, `.`, `_` or `-`
    MONGODB_DATABASE is `a/b`; accepted: 1 to 63 bytes without `/ \ . " $ * < > : | ?` and blanks
    HEALTH_CRITICAL is `mysql`; accepted: a comma list of `redis`, `mongodb`, `api`, or empty
    REDIS_CA_FILE is `/nowhere/ca.pem`; accepted: the path of a PEM file with at least one certificate
    AWS_LAMBDA_LOG_LEVEL is `loud`; accepted: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`
    ENVIRONMENT is `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`; accepted: 1 to 64 letters, digits, `.`, `_` or `-`
    "#);
}

#[test]
fn a_wrong_secret_is_not_shown() {
    insta::assert_snapshot!(error(&[("HEALTH_DETAILS_TOKEN", "hunter 2")]), @"HEALTH_DETAILS_TOKEN cannot be used (its value is not shown); accepted: 1 to 256 visible ASCII characters without blanks");
}

#[test]
fn a_url_that_no_client_can_parse_is_no_reason_not_to_start() {
    assert!(config(&[("REDIS_URL", "hunter2"), ("MONGODB_URI", "hunter2")]).is_ok());
}

#[test]
fn the_empty_list_of_critical_services_is_a_list() {
    let critical = |list| {
        config(&[("HEALTH_CRITICAL", list)])
            .expect("usable")
            .health
            .critical
    };
    assert_eq!(critical(""), Some(Vec::new()));
    assert_eq!(
        critical("redis, api"),
        Some(vec![Service::Redis, Service::Api])
    );
    assert_eq!(config(&[]).expect("usable").health.critical, None);
}

#[test]
fn a_configuration_shows_no_secret() {
    let config = config(&[
        ("REDIS_URL", "redis://app:hunter2@localhost"),
        ("MONGODB_URI", "mongodb://app:hunter2@localhost"),
        ("HEALTH_DETAILS_TOKEN", "hunter2"),
    ]);
    assert!(!format!("{config:?}").contains("hunter2"));
}

const VARIABLES: [&str; 20] = [
    "SERVICE_NAME",
    "ENVIRONMENT",
    "REDIS_URL",
    "REDIS_CLUSTER",
    "REDIS_CA_FILE",
    "REDIS_CONNECT_TIMEOUT_MS",
    "REDIS_RESPONSE_TIMEOUT_MS",
    "REDIS_IDLE_CHECK_MS",
    "MONGODB_URI",
    "MONGODB_DATABASE",
    "HEALTH_CHECK_TIMEOUT_MS",
    "HEALTH_TOTAL_TIMEOUT_MS",
    "HEALTH_MEMO_MS",
    "HEALTH_SLOW_MS",
    "HEALTH_CRITICAL",
    "HEALTH_DETAILS_TOKEN",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_MAX_CONCURRENCY",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_value_panics(variable in 0..VARIABLES.len(), value in any::<String>()) {
        let _ = config(&[(VARIABLES[variable], value.as_str())]);
    }

    #[test]
    fn a_number_is_taken_up_to_its_limit(number in prop_oneof![0..=60_001_u64, any::<u64>()]) {
        let taken = config(&[("HEALTH_MEMO_MS", &number.to_string())]);
        prop_assert_eq!(taken.is_ok(), number <= 60_000);
        if let Ok(config) = taken {
            prop_assert_eq!(config.health.memo, Duration::from_millis(number));
        }
    }

    #[test]
    fn no_bytes_panic(variable in 0..VARIABLES.len(), bytes in any::<Vec<u8>>()) {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(bytes);
        let _ = Config::from_lookup(|name| (name == VARIABLES[variable]).then(|| value.clone()));
    }
}
