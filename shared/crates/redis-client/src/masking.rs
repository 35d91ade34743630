//! Masks a Redis URL for logs and health responses. The masked URL has scheme, host, port and database. Credentials are
//! replaced, and all other parts are dropped. A URL that cannot be parsed with certainty becomes `<unparseable>`.

use std::fmt::Write;

use url::{Host, Url};

/// `url` without credentials, or `<unparseable>`.
pub(super) fn mask(url: &str) -> String {
    masked(url).unwrap_or_else(|| "<unparseable>".to_owned())
}

fn masked(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    if !matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys") {
        return None;
    }
    // If a password has an unescaped `/`, `?` or `#`, an `@` follows the host. The "host" is then the user's name.
    let behind_host = [
        url.path(),
        url.query().unwrap_or_default(),
        url.fragment().unwrap_or_default(),
    ];
    if behind_host
        .iter()
        .any(|part| part.contains('@') || part.contains("%40"))
    {
        return None;
    }
    let mut shown = format!("{}://", url.scheme());
    if !url.username().is_empty() || url.password().is_some() {
        shown.push_str("***:***@");
    }
    match url.host()? {
        Host::Domain(name) if is_host_name(name) => shown.push_str(name),
        Host::Domain(_) => return None,
        address => write!(shown, "{address}").ok()?,
    }
    if let Some(port) = url.port() {
        write!(shown, ":{port}").ok()?;
    }
    match url.path().trim_matches('/') {
        "" => {}
        database => write!(shown, "/{}", database.parse::<u16>().ok()?).ok()?,
    }
    Some(shown)
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_masked_url_shows_the_address_and_no_credential() {
        let cases = [
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://localhost:6379/", "redis://localhost:6379"),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            (
                "redis://:hunter2@localhost:6379",
                "redis://***:***@localhost:6379",
            ),
            ("redis://app@localhost", "redis://***:***@localhost"),
            (
                "rediss://app:hunter2@cache.example.com:6380/0",
                "rediss://***:***@cache.example.com:6380/0",
            ),
            (
                "rediss://app:hunter2@[2001:db8::1]:6380",
                "rediss://***:***@[2001:db8::1]:6380",
            ),
            ("redis://localhost?password=hunter2", "redis://localhost"),
            ("rediss://localhost#hunter2", "rediss://localhost"),
            (
                "redis://app:hun@ter2@localhost",
                "redis://***:***@localhost",
            ),
            ("redis://app:hun/ter2@localhost", "<unparseable>"),
            ("redis://app:12/34@localhost", "<unparseable>"),
            ("redis://app:12?34@localhost", "<unparseable>"),
            ("redis://app:12#34@localhost", "<unparseable>"),
            ("redis://app%3Ahunter2%40localhost", "<unparseable>"),
            ("redis://localhost/hunter2", "<unparseable>"),
            ("hunter2", "<unparseable>"),
            ("hunter2://localhost", "<unparseable>"),
            ("redis:hunter2", "<unparseable>"),
            ("", "<unparseable>"),
        ];
        for (url, expected) in cases {
            assert_eq!(mask(url), expected, "{url}");
        }
    }

    /// This text cannot be part of a host name, number or scheme. If it is in a masked URL, there is a leak.
    const PLANTED: &str = "Hunter_2_Planted";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn masking_never_panics_and_shows_only_ascii(url in any::<String>()) {
            let shown = mask(&url);
            prop_assert!(shown == "<unparseable>" || shown.is_ascii());
        }

        #[test]
        fn a_secret_in_user_or_password_is_never_shown(
            scheme in "redis|rediss|valkey|http|unix|",
            before in "[ -~]{0,12}",
            after in "[ -~]{0,12}",
            host in "[a-z]{1,8}(:[0-9]{1,5})?",
            database in "(/[0-9]{0,3})?",
            query in "([?#][ -~]{0,8})?",
        ) {
            let url = format!("{scheme}://{before}{PLANTED}{after}@{host}{database}{query}");
            prop_assert!(!mask(&url).to_lowercase().contains(&PLANTED.to_lowercase()), "{url}: {}", mask(&url));
        }

        #[test]
        fn a_secret_in_path_query_or_fragment_is_never_shown(
            host in "[a-z]{1,8}(:[0-9]{1,5})?",
            place in "[/?#][ -~]{0,8}",
            after in "[ -~]{0,8}",
        ) {
            let url = format!("redis://{host}{place}{PLANTED}{after}");
            prop_assert!(!mask(&url).contains(PLANTED), "{url}: {}", mask(&url));
        }
    }
}
