use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use ::redis_client::{CacheType, IamLogin, Plaintext, RedisAuth};
use foundation::secret::{SecretSource, StoredSecret};
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
fn a_laptop_needs_no_variables() {
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
fn on_lambda_the_environment_is_required() {
    insta::assert_snapshot!(error(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")]), @"ENVIRONMENT is not set; accepted: the name of this environment, for example `production` (there is no default on Lambda)");
}

#[test]
fn in_a_container_with_a_lambda_image_the_environment_is_required() {
    let refused = error(&[("LAMBDA_TASK_ROOT", "/var/task")]);
    assert!(refused.starts_with("ENVIRONMENT is not set"), "{refused}");
}

/// Lambda sets the first variable. The container image of a function sets the second variable.
#[test]
fn a_variable_of_lambda_means_that_the_process_is_deployed() {
    let cases = [
        (None, true),
        (Some("AWS_LAMBDA_INITIALIZATION_TYPE"), false),
        (Some("LAMBDA_TASK_ROOT"), false),
    ];
    for (set, expected) in cases {
        let variables: Vec<_> = [("ENVIRONMENT", "development")]
            .into_iter()
            .chain(set.map(|variable| (variable, "set")))
            .collect();
        let environment = config(&variables).expect("usable").environment;
        assert_eq!(environment.is_laptop(), expected, "{set:?}");
    }
}

#[test]
fn an_invalid_value_names_the_variable_the_value_and_the_accepted_values() {
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
    MONGODB_DATABASE is `a/b`; accepted: 1 to 63 bytes without spaces and `/ \ . " $ * < > : | ?`
    HEALTH_CRITICAL is `mysql`; accepted: a comma-separated list of `redis`, `mongodb` and `api`, or an empty value
    REDIS_CA_FILE is `/nowhere/ca.pem`; accepted: the path of a PEM file with at least one certificate
    AWS_LAMBDA_LOG_LEVEL is `loud`; accepted: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`
    ENVIRONMENT is `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`; accepted: 1 to 64 letters, digits, `.`, `_` or `-`
    "#);
}

/// Regression: the error showed a URL, a key or a password that was in the wrong variable.
#[test]
fn an_error_shows_no_value_that_may_be_a_secret() {
    let cases = [
        ("REDIS_AUTH", "hunter2"),
        ("MONGODB_DATABASE", "mongodb://u:hunter2@db"),
        ("REDIS_CLUSTER", "redis://:hunter2@cache"),
        ("SERVICE_NAME", "app:hunter2@cache"),
        ("PAYMENT_PROVIDER", "sk_live_hunter2"),
    ];
    for setting in cases {
        let refused = error(&[setting]);
        assert!(!refused.contains("hunter2"), "{refused}");
        assert!(refused.contains("value not shown"), "{refused}");
    }
}

#[test]
fn an_error_does_not_show_an_invalid_secret() {
    for keys in ["hunter 2", "hunter2,", "hunter2,b,c"] {
        let refused = error(&[("PAYMENT_MAC_KEYS", keys)]);
        assert!(refused.starts_with("PAYMENT_MAC_KEYS is invalid (value not shown)"));
    }
    insta::assert_snapshot!(error(&[("HEALTH_DETAILS_TOKEN", "hunter 2")]), @"HEALTH_DETAILS_TOKEN is invalid (value not shown); accepted: 1 to 256 visible ASCII characters without spaces");
}

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:truebond/redis-AbCdEf";

#[test]
fn a_secret_has_one_source() {
    let pairs = [
        ("REDIS_URL", "REDIS_URL_SECRET_ARN"),
        ("MONGODB_URI", "MONGODB_URI_SECRET_ARN"),
        ("STRIPE_API_KEY", "STRIPE_API_KEY_SECRET_ARN"),
        (
            "STRIPE_WEBHOOK_SECRETS",
            "STRIPE_WEBHOOK_SECRETS_SECRET_ARN",
        ),
        ("PAYMENT_MAC_KEYS", "PAYMENT_MAC_KEYS_SECRET_ARN"),
    ];
    for (variable, arn_variable) in pairs {
        assert!(config(&[(arn_variable, ARN)]).is_ok(), "{arn_variable}");
        assert_eq!(
            error(&[(variable, "hunter2"), (arn_variable, ARN)]),
            format!("{variable} and {arn_variable} are both set; set only one of them")
        );
    }
}

#[test]
fn the_region_of_a_secret_is_in_its_arn() {
    let config = config(&[
        ("REDIS_URL_SECRET_ARN", ARN),
        ("AWS_REGION", "us-east-1"),
        ("SECRETS_TTL_SECONDS", "60"),
    ]);
    let Some(SecretSource::Stored(stored)) = config.expect("usable").redis.url else {
        panic!("not stored")
    };
    let expected = StoredSecret {
        variable: "REDIS_URL_SECRET_ARN",
        arn: ARN.to_owned(),
        region: "eu-central-1".to_owned(),
        ttl: Duration::from_secs(60),
    };
    assert_eq!(stored, expected);
}

#[test]
fn an_invalid_arn_is_rejected() {
    let wrong = [
        "truebond/redis",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:",
        "arn:aws:secretsmanager:eu-central-1:12345678901:secret:x",
        "arn:aws:secretsmanager:eu.example.com/:123456789012:secret:x",
        "arn:aws:secretsmanager::123456789012:secret:x",
        "arn:aws:ssm:eu-central-1:123456789012:secret:x",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a b",
    ];
    for arn in wrong {
        let refused = error(&[("MONGODB_URI_SECRET_ARN", arn)]);
        assert!(
            refused.starts_with("MONGODB_URI_SECRET_ARN is invalid"),
            "{refused}"
        );
    }
    // The value is probably a secret, so the error does not show it.
    insta::assert_snapshot!(error(&[("REDIS_URL_SECRET_ARN", "redis://:hunter2@cache:6379")]), @"REDIS_URL_SECRET_ARN is invalid (value not shown); accepted: the ARN of a secret, `arn:aws:secretsmanager:<region>:<account>:secret:<name>`");
}

const IAM: [(&str, &str); 6] = [
    ("REDIS_URL", "rediss://cache.example.com:6379"),
    ("REDIS_AUTH", "iam"),
    ("REDIS_USER", "payments"),
    ("REDIS_CACHE_NAME", "truebond"),
    ("REDIS_CACHE_TYPE", "serverless"),
    ("AWS_REGION", "eu-central-1"),
];

fn iam_with(changed: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut variables = Vec::from(IAM);
    variables.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    variables.extend(changed);
    variables
}

#[test]
fn an_iam_login_has_user_cache_and_region() {
    let login = |cache_type| {
        config(&iam_with(&[("REDIS_CACHE_TYPE", cache_type)]))
            .expect("usable")
            .redis
            .auth
    };
    let expected = |cache_type| {
        RedisAuth::Iam(IamLogin {
            user: "payments".to_owned(),
            cache_name: "truebond".to_owned(),
            cache_type,
            region: "eu-central-1".to_owned(),
        })
    };
    assert_eq!(login("serverless"), expected(CacheType::Serverless));
    assert_eq!(
        login("replication_group"),
        expected(CacheType::ReplicationGroup)
    );
    let without = config(&iam_with(&[("REDIS_AUTH", "url")])).expect("usable");
    assert_eq!(without.redis.auth, RedisAuth::Url);
}

#[test]
fn an_incomplete_iam_login_stops_the_start() {
    let messages = [
        error(&iam_with(&[("REDIS_URL", "redis://cache.example.com")])),
        error(&iam_with(&[(
            "REDIS_URL",
            "rediss://app@cache.example.com",
        )])),
        error(&iam_with(&[("REDIS_URL", "rediss://:x@cache.example.com")])),
        error(&iam_with(&[("REDIS_USER", "")])),
        error(&iam_with(&[("REDIS_USER", "Payments")])),
        error(&iam_with(&[("REDIS_CACHE_NAME", "")])),
        error(&iam_with(&[("REDIS_CACHE_NAME", "truebond.example.com")])),
        error(&iam_with(&[("REDIS_CACHE_TYPE", "")])),
        error(&iam_with(&[("REDIS_CACHE_TYPE", "cluster")])),
        error(&iam_with(&[("AWS_REGION", "")])),
        error(&iam_with(&[("AWS_REGION", "eu-central-1.example.com")])),
        error(&iam_with(&[("REDIS_AUTH", "token")])),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    REDIS_URL is invalid (value not shown); accepted: `rediss://host:port` without user and password, because `REDIS_AUTH` is `iam`
    REDIS_URL is invalid (value not shown); accepted: `rediss://host:port` without user and password, because `REDIS_AUTH` is `iam`
    REDIS_URL is invalid (value not shown); accepted: `rediss://host:port` without user and password, because `REDIS_AUTH` is `iam`
    REDIS_USER is not set; accepted: the id of an IAM user of ElastiCache (`REDIS_AUTH` is `iam`)
    REDIS_USER is `Payments`; accepted: 1 to 40 lower-case letters, digits or `-`
    REDIS_CACHE_NAME is not set; accepted: the name of the serverless cache, or the id of the replication group (`REDIS_AUTH` is `iam`)
    REDIS_CACHE_NAME is `truebond.example.com`; accepted: 1 to 40 lower-case letters, digits or `-`
    REDIS_CACHE_TYPE is not set; accepted: `serverless` or `replication_group` (`REDIS_AUTH` is `iam`)
    REDIS_CACHE_TYPE is `cluster`; accepted: `serverless` or `replication_group`
    AWS_REGION is not set; accepted: the name of a region, for example `eu-central-1` (`REDIS_AUTH` is `iam`)
    AWS_REGION is `eu-central-1.example.com`; accepted: the name of a region, for example `eu-central-1`
    REDIS_AUTH is invalid (value not shown); accepted: `url` or `iam`
    ");
}

#[test]
fn an_invalid_url_does_not_stop_the_start() {
    assert!(config(&[("REDIS_URL", "hunter2"), ("MONGODB_URI", "hunter2")]).is_ok());
}

#[test]
fn an_empty_list_of_critical_services_means_none() {
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
fn debug_output_shows_no_secret() {
    let config = config(&[
        ("REDIS_URL", "redis://app:hunter2@localhost"),
        ("MONGODB_URI", "mongodb://app:hunter2@localhost"),
        ("HEALTH_DETAILS_TOKEN", "hunter2"),
    ]);
    assert!(!format!("{config:?}").contains("hunter2"));
}

/// Unsafe settings with their errors, and similar settings that are safe.
#[test]
fn settings_that_are_safe_only_in_development_stop_the_start_elsewhere() {
    const SECRET: &str = "0123456789abcdef";
    let unsafe_ones = [
        ("PAYMENT_PROVIDER", "sandbox"),
        ("IDEMPOTENCY_FALLBACK", "memory"),
        ("STRIPE_API_BASE", "http://stripe.example.com/"),
        ("STRIPE_API_BASE", "http://10.0.0.1/"),
        ("STRIPE_API_BASE", "http://127.0.0.1.example.com/"),
        ("REDIS_URL", "redis:\n//app:hunter2@cache:6379"),
        ("REDIS_URL", "redis://:hunter2@cache:6379"),
        ("REDIS_URL", "redis://app:hunter2@cache:6379/0?tls=false"),
        ("REDIS_URL", "valkey://app:hunter2@cache"),
        // The password is in the place of the user.
        ("REDIS_URL", "redis://hunter2@cache:6379"),
        ("REDIS_URL", "redis://hunter2:@cache:6379"),
        ("REDIS_URL", "redis://app:hunter2@127.0.0.1.example.com"),
        ("MONGODB_URI", "mongodb://app:hunter2@db"),
        ("MONGODB_URI", "mongodb://hunter2@db"),
        (
            "MONGODB_URI",
            "mongodb://app:hunter2@localhost:27017,db:27017/?ssl=false",
        ),
        (
            "MONGODB_URI",
            "mongodb://app:hunter2@db/?tls=true&TLS=false",
        ),
        (
            "MONGODB_URI",
            "mongodb+srv://app:hunter2@db.example.com/?tls=false",
        ),
        (
            "MONGODB_URI",
            "mongodb+srv://db.example.com/?tlsInsecure=true",
        ),
        (
            "MONGODB_URI",
            "mongodb://localhost/?tls=true&TLSAllowInvalidCertificates=true",
        ),
        (
            "MONGODB_URI",
            "mongodb://db/?tls=true&tlsAllowInvalidHostnames=true",
        ),
        ("MONGODB_URI", "mongodb://db/?tls=true&tlsInsecure=%74rue"),
        ("AWS_ENDPOINT_URL", "http://aws.example.com"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://10.0.0.1:4566"),
        ("HEALTH_DETAILS_TOKEN", "0123456789abcde"),
        ("STRIPE_WEBHOOK_SECRETS", "0123456789abcdef,hunter2"),
        ("PAYMENT_MAC_KEYS", "hunter2,0123456789abcdef"),
    ];
    let safe = [
        ("PAYMENT_PROVIDER", "stripe"),
        ("IDEMPOTENCY_FALLBACK", "reject"),
        ("STRIPE_API_BASE", "https://stripe.example.com/"),
        ("STRIPE_API_BASE", "http://127.0.0.1:12111/"),
        ("STRIPE_API_BASE", "http://[::1]:12111/"),
        ("STRIPE_API_BASE", "http://localhost/"),
        ("REDIS_URL", "rediss://app:hunter2@cache:6379"),
        ("REDIS_URL", "REDISS://app:hunter2@cache:6379"),
        ("REDIS_URL", "redis://cache:6379"),
        ("REDIS_URL", "redis://:@cache:6379"),
        ("REDIS_URL", "redis://hunter2@localhost:6379"),
        ("REDIS_URL", "rediss://hunter2@cache:6379"),
        ("AWS_ENDPOINT_URL", "https://aws.example.com"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("REDIS_URL", "redis://app:hunter2@127.0.0.1:6379"),
        ("REDIS_URL", "redis://app:hunter2@[::1]"),
        ("REDIS_URL", "hunter2"),
        ("MONGODB_URI", "mongodb+srv://app:hunter2@db.example.com"),
        (
            "MONGODB_URI",
            "mongodb://app:hunter2@a:1,b:2/?replicaSet=x&tls=true",
        ),
        (
            "MONGODB_URI",
            "mongodb://app:hunter2@localhost:27017,127.0.0.1:27018",
        ),
        ("MONGODB_URI", "mongodb://db/?tls=true&tlsInsecure=false"),
        ("MONGODB_URI", "mongodb://app:hunter2@%2Ftmp%2Fmongodb.sock"),
        ("HEALTH_DETAILS_TOKEN", SECRET),
        ("STRIPE_WEBHOOK_SECRETS", SECRET),
        ("PAYMENT_MAC_KEYS", SECRET),
    ];
    let mut sentences = Vec::new();
    for environment in ["production", "prod", "staging", "Development"] {
        let stripe = ("PAYMENT_PROVIDER", "stripe");
        let start = |setting| config(&[("ENVIRONMENT", environment), stripe, setting]);
        sentences = unsafe_ones
            .map(|setting| match start(setting) {
                Err(refused) => refused.to_string(),
                Ok(_) => panic!("{setting:?} starts in {environment}"),
            })
            .to_vec();
        for setting in safe {
            assert!(start(setting).is_ok(), "{setting:?} in {environment}");
        }
    }
    for setting in unsafe_ones.into_iter().chain(safe) {
        assert!(config(&[setting]).is_ok(), "{setting:?} on a laptop");
    }
    assert!(!sentences.join("").contains("hunter2"));
    sentences.dedup();
    insta::assert_snapshot!(sentences.join("\n"), @r"
    PAYMENT_PROVIDER is `sandbox`, so payments succeed but no customer is charged; only `ENVIRONMENT=development` allows that; accepted here: `stripe`
    IDEMPOTENCY_FALLBACK is `memory`, so processes do not share keys and a payment may be charged twice; only `ENVIRONMENT=development` allows that; accepted here: `reject`
    STRIPE_API_BASE sends the API key unencrypted to another host; only `ENVIRONMENT=development` allows that; accepted here: an `https://` URL or a loopback address
    REDIS_URL sends credentials unencrypted to another host; only `ENVIRONMENT=development` allows that; accepted here: a `rediss://` URL, or `REDIS_PLAINTEXT=allowed` in a private network
    MONGODB_URI sends credentials unencrypted to another host; only `ENVIRONMENT=development` allows that; accepted here: a `mongodb+srv://` URI or one with `tls=true`
    MONGODB_URI accepts any certificate; only `ENVIRONMENT=development` allows that; accepted here: a URI without `tlsInsecure`, `tlsAllowInvalidCertificates` and `tlsAllowInvalidHostnames`
    AWS_ENDPOINT_URL sends credentials unencrypted to another host; only `ENVIRONMENT=development` allows that; accepted here: an `https://` URL or a loopback address
    AWS_ENDPOINT_URL_SECRETS_MANAGER sends credentials unencrypted to another host; only `ENVIRONMENT=development` allows that; accepted here: an `https://` URL or a loopback address
    HEALTH_DETAILS_TOKEN is too short and can be guessed; only `ENVIRONMENT=development` allows that; accepted here: 16 to 256 visible ASCII characters without spaces
    STRIPE_WEBHOOK_SECRETS has a secret that is too short and can be guessed; only `ENVIRONMENT=development` allows that; accepted here: one or two signing secrets of 16 to 256 visible ASCII characters, separated by a comma
    PAYMENT_MAC_KEYS has a key that is too short and can be guessed; only `ENVIRONMENT=development` allows that; accepted here: one or two keys of 16 to 256 visible ASCII characters, separated by a comma
    ");
}

#[test]
fn livemode_is_the_default_outside_development() {
    let cases = [
        ("development", "", false),
        ("staging", "", true),
        ("production", "", true),
        ("staging", "false", false),
        ("development", "true", true),
    ];
    for (environment, livemode, expected) in cases {
        let read = config(&[("ENVIRONMENT", environment), ("PAYMENT_LIVEMODE", livemode)]);
        let found = read.expect("usable").payments.livemode;
        assert_eq!(found, expected, "{environment} {livemode}");
    }
}

#[test]
fn redis_plaintext_allows_credentials_without_tls() {
    let plain = ("REDIS_URL", "redis://app:hunter2@cache:6379");
    let production = ("ENVIRONMENT", "production");
    let start = |plaintext| config(&[production, plain, ("REDIS_PLAINTEXT", plaintext)]);
    assert_eq!(
        start("allowed").expect("usable").redis.plaintext,
        Plaintext::Allowed
    );
    assert!(start("refused").is_err());
    let on_a_laptop = config(&[plain, ("REDIS_PLAINTEXT", "refused")]).expect("usable");
    assert_eq!(on_a_laptop.redis.plaintext, Plaintext::Refused);
}

#[test]
fn an_invalid_stripe_url_is_not_shown() {
    let wrong = [
        "http://user:hunter2@proxy/",
        "https://hunter2@proxy/",
        "ftp://hunter2/",
        "https://proxy/hunter2",
        "hunter2",
    ];
    for base in wrong {
        let refused = error(&[("STRIPE_API_BASE", base)]);
        assert!(refused.starts_with("STRIPE_API_BASE is invalid"));
        assert!(!refused.contains("hunter2"));
    }
}

const VARIABLES: [&str; 36] = [
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
    "HEALTH_MONGODB_DECIDES",
    "HEALTH_SLOW_MS",
    "HEALTH_CRITICAL",
    "HEALTH_DETAILS_TOKEN",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_REGION",
    "REDIS_URL_SECRET_ARN",
    "REDIS_AUTH",
    "REDIS_USER",
    "REDIS_CACHE_NAME",
    "REDIS_CACHE_TYPE",
    "MONGODB_URI_SECRET_ARN",
    "STRIPE_API_KEY_SECRET_ARN",
    "STRIPE_WEBHOOK_SECRETS_SECRET_ARN",
    "SECRETS_TTL_SECONDS",
    "REDIS_PLAINTEXT",
    "STRIPE_API_BASE",
    "STRIPE_WEBHOOK_SECRETS",
    "PAYMENT_MAC_KEYS",
    "PAYMENT_MAC_KEYS_SECRET_ARN",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_value_panics(variable in 0..VARIABLES.len(), value in any::<String>()) {
        let _ = config(&[(VARIABLES[variable], value.as_str())]);
    }

    #[test]
    fn a_number_is_accepted_up_to_its_limit(number in prop_oneof![0..=60_001_u64, any::<u64>()]) {
        let accepted = config(&[("HEALTH_MEMO_MS", &number.to_string())]);
        prop_assert_eq!(accepted.is_ok(), number <= 60_000);
        if let Ok(config) = accepted {
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
