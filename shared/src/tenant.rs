//! Whose request is it?
//!
//! API Gateway has checked who asks before a function hears of it, and says so beside the request, never in it. A tenant's
//! name begins with the kind of its authorizer, so that no authorizer's names imitate another's.

use std::fmt;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use crate::config::Environment;
use crate::web::{Response, UNAUTHENTICATED};

/// What API Gateway's authorizer found out about the caller.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The `sub` claim of a JSON Web Token.
    pub jwt_subject: Option<String>,
    /// The `tenant` that a Lambda authorizer names.
    pub authorizer_tenant: Option<String>,
}

/// To whom everything in a request belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct Tenant(String);

/// Nobody is known to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// Longer ones do not fit into a scope.
const LONGEST_NAME: usize = 240;

impl Tenant {
    /// The tenant that `caller` is; in development, where no authorizer stands before the functions, `local` if none is.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`] when the caller is nobody.
    pub fn of(caller: &Caller, environment: &Environment) -> Result<Self, Unauthenticated> {
        let named = |kind: &str, name: &Option<String>| {
            let name = name.as_deref()?;
            let fits = !name.is_empty() && name.len() <= LONGEST_NAME;
            fits.then(|| Self(format!("{kind}:{name}")))
        };
        named("jwt", &caller.jwt_subject)
            .or_else(|| named("lambda", &caller.authorizer_tenant))
            .or_else(|| {
                (environment.is_development() && *caller == Caller::default())
                    .then(|| Self("local".to_owned()))
            })
            .ok_or(Unauthenticated)
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Unauthenticated> for Response {
    fn from(_: Unauthenticated) -> Self {
        let mut response = Self::from(UNAUTHENTICATED);
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

/// A person, perhaps: not for the log.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn environment(name: &'static str) -> Environment {
        let config =
            Config::from_lookup(|variable| (variable == "ENVIRONMENT").then(|| name.into()));
        config.expect("usable").environment
    }

    #[test]
    fn a_tenant_is_whom_the_authorizer_names() {
        let name = |name: &str| Some(name.to_owned());
        let cases = [
            (name("alice"), None, "production", Some("jwt:alice")),
            (name("alice"), name("shop"), "production", Some("jwt:alice")),
            (None, name("shop"), "production", Some("lambda:shop")),
            (None, name("shop"), "development", Some("lambda:shop")),
            (name(""), None, "production", None),
            (name(""), None, "development", None),
            (name(&"a".repeat(241)), None, "production", None),
            (None, None, "production", None),
            (None, None, "development", Some("local")),
        ];
        for (jwt_subject, authorizer_tenant, place, expected) in cases {
            let caller = Caller {
                jwt_subject,
                authorizer_tenant,
            };
            let tenant = Tenant::of(&caller, &environment(place)).ok();
            assert_eq!(tenant.as_ref().map(Tenant::as_str), expected);
        }
    }
}
