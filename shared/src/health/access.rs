//! Access to the details of health responses.

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use futures_util::future;
use http::HeaderMap;
use http_api::{self as web, Response};
use tracing::warn;

use super::Report;
use crate::config::is_details_token;

/// The rule that decides which clients see the details. Not `Debug`, because it contains the token.
pub(crate) struct Access(Rule);

enum Rule {
    /// Every client sees the details. This is the rule in development if no token is set.
    EveryClient,
    /// Only a client that sends this token sees the details.
    Token { token: SecretCell, shortest: usize },
    /// No client sees the details. This is the rule in any other environment if no token is set.
    NoClient,
}

impl Access {
    /// Creates the rule. With a token, only a client that sends this token sees the details. Without a token, every
    /// client sees the details in development, and no client sees the details in other environments.
    pub(crate) fn new(token: Option<SecretCell>, environment: &Environment) -> Self {
        Self(match token {
            Some(token) => Rule::Token {
                token,
                shortest: environment.shortest_secret(),
            },
            None if environment.is_development() => Rule::EveryClient,
            None => Rule::NoClient,
        })
    }

    /// The response to a request with these headers: the report with or without its details.
    ///
    /// # Cancel safety
    ///
    /// This function only reads the token. A dropped call also drops `report`.
    pub(super) async fn show(
        &self,
        report: impl Future<Output = Report>,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Response {
        let (report, has_details) = future::join(report, self.permits(headers, deadline)).await;
        report.response(has_details)
    }

    /// Whether the sender of these headers may see the details. If the token does not match, the stored token may have
    /// been rotated. So this function requests a newer value of the token. [`SecretCell`] makes pauses between the
    /// reads of a secret.
    async fn permits(&self, headers: &HeaderMap, deadline: Deadline) -> bool {
        let (cell, shortest) = match &self.0 {
            Rule::EveryClient => return true,
            Rule::NoClient => return false,
            Rule::Token { token, shortest } => (token, *shortest),
        };
        let Some(candidate) = web::bearer_token(headers) else {
            return false;
        };
        let Ok(token) = cell.value(deadline).await else {
            return false;
        };
        if is_match(candidate, &token, shortest) {
            return true;
        }
        let newer = cell.newer_than(&token, deadline).await;
        newer.is_some_and(|token| is_match(candidate, &token, shortest))
    }
}

fn is_match(candidate: &str, token: &Secret, shortest: usize) -> bool {
    let is_usable = is_details_token(token, shortest);
    if !is_usable {
        warn!(
            secret.shortest = shortest,
            "the stored HEALTH_DETAILS_TOKEN is invalid: too short, too long or with spaces; health shows no details until it is corrected"
        );
    }
    is_usable && token.matches(candidate)
}

#[cfg(test)]
mod tests {
    use foundation::environment::Host;
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;

    fn access(token: Option<&str>, environment: &str) -> Access {
        let token = token.map(|token| SecretCell::Fixed(Secret::new(token)));
        Access::new(token, &Environment::new(environment, Host::Laptop))
    }

    async fn permits(access: &Access, token: &str) -> bool {
        let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a value");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        access.permits(&headers, Deadline::UNKNOWN).await
    }

    #[tokio::test]
    async fn only_the_sender_of_the_token_sees_the_details() {
        let guarded = access(Some("hunter2"), "development");
        assert!(permits(&guarded, "hunter2").await);
        assert!(!permits(&guarded, "hunter").await);
        let nothing = HeaderMap::new();
        assert!(!guarded.permits(&nothing, Deadline::UNKNOWN).await);
        let laptop = access(None, "development");
        assert!(laptop.permits(&nothing, Deadline::UNKNOWN).await);
        let production = access(None, "production");
        assert!(!permits(&production, "").await);
    }

    /// An empty stored token would otherwise match an empty token in the request.
    #[tokio::test]
    async fn a_stored_token_that_can_be_guessed_is_never_accepted() {
        let long = "t".repeat(257);
        let cases = [
            ("0123456789abcdef", true),
            ("0123456789abcde", false),
            ("0123456789 abcdef", false),
            ("", false),
            (&long, false),
        ];
        for (token, expected) in cases {
            let access = Access(Rule::Token {
                token: SecretCell::Fixed(Secret::new(token)),
                shortest: 16,
            });
            assert_eq!(permits(&access, token).await, expected, "{token}");
        }
    }
}
