//! Who may see the details of health?

use foundation::secret::{Secret, SecretCell};
use foundation::{Deadline, Environment};
use futures_util::future;
use http::HeaderMap;
use http_api::{self as web, Response};
use tracing::warn;

use super::Report;
use crate::config::is_details_token;

/// Who may see the details of health. Not `Debug`.
pub(crate) struct Access(Rule);

enum Rule {
    /// Everyone: a laptop without a token.
    Everyone,
    /// The sender of a token that is this one.
    Token { token: SecretCell, shortest: usize },
    /// No client: anywhere else without a token.
    NoOne,
}

impl Access {
    /// With a token, its sender; without one, everyone in development and no client elsewhere.
    pub(crate) fn new(token: Option<SecretCell>, environment: &Environment) -> Self {
        Self(match token {
            Some(token) => Rule::Token {
                token,
                shortest: environment.shortest_secret(),
            },
            None if environment.is_development() => Rule::Everyone,
            None => Rule::NoOne,
        })
    }

    /// A report, as far as the sender of these headers may see it.
    ///
    /// # Cancel safety
    ///
    /// Reads alone, beside what the report says of itself.
    pub(super) async fn show(
        &self,
        report: impl Future<Output = Report>,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Response {
        let (report, has_details) = future::join(report, self.permits(headers, deadline)).await;
        report.response(has_details)
    }

    /// Whether the sender of these headers may see the details. Where its token is not ours, ours may have been replaced: the secret is
    /// read again, not too often.
    async fn permits(&self, headers: &HeaderMap, deadline: Deadline) -> bool {
        let (cell, shortest) = match &self.0 {
            Rule::Everyone => return true,
            Rule::NoOne => return false,
            Rule::Token { token, shortest } => (token, *shortest),
        };
        let Some(candidate) = web::bearer_token(headers) else {
            return false;
        };
        let Ok(token) = cell.value(deadline).await else {
            return false;
        };
        if is_opened_by(candidate, &token, shortest) {
            return true;
        }
        let newer = cell.newer_than(&token, deadline).await;
        newer.is_some_and(|token| is_opened_by(candidate, &token, shortest))
    }
}

fn is_opened_by(candidate: &str, token: &Secret, shortest: usize) -> bool {
    let is_usable = is_details_token(token, shortest);
    if !is_usable {
        warn!(
            secret.shortest = shortest,
            "the stored token for the details of health cannot be used: too short, too long, or with blanks"
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
    async fn the_details_are_for_the_sender_of_the_token() {
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

    /// An empty secret would be opened by an empty token.
    #[tokio::test]
    async fn a_stored_token_that_can_be_guessed_opens_nothing() {
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
