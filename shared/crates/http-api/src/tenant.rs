//! The tenant of a request: the owner of the data that the request may use.
//!
//! API Gateway authenticates the caller before it invokes a function, and passes the result in a part of the event that
//! a client cannot forge. A tenant's name begins with the kind of its authorizer, so that the names of two authorizers
//! cannot collide.

use std::fmt;

use foundation::{Environment, text};
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use crate::{Response, UNAUTHENTICATED};

/// The caller according to API Gateway's authorizer.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Caller {
    /// There is no authorizer.
    #[default]
    Unchecked,
    /// The authorizer verified a JSON Web Token with this `sub` claim; `None`: the token has no usable claim.
    Jwt(Option<String>),
    /// A Lambda authorizer, or another kind of authorizer, gave this `tenant`; `None`: the authorizer gave no usable
    /// name.
    Lambda(Option<String>),
}

/// The owner of the data that a request may use.
#[derive(Clone, PartialEq, Eq)]
pub struct Tenant(String);

/// The request has no authenticated caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// The longest name of a tenant, in bytes. A longer name does not fit into a scope.
const LONGEST_NAME: usize = 240;

impl Tenant {
    /// Returns the tenant from the authorizer. On a laptop, which has no authorizer, the tenant is `local`.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`] if no authorizer gave a name, or if the name is empty, longer than 240 bytes, or has
    /// [invisible characters](text::is_invisible).
    pub fn of(caller: &Caller, environment: &Environment) -> Result<Self, Unauthenticated> {
        let (kind, name) = match caller {
            Caller::Unchecked if environment.is_laptop() => {
                return Ok(Self("local".to_owned()));
            }
            Caller::Unchecked => return Err(Unauthenticated),
            Caller::Jwt(subject) => ("jwt", subject),
            Caller::Lambda(tenant) => ("lambda", tenant),
        };
        let name = name.as_deref().filter(|name| is_name(name));
        name.map(|name| Self(format!("{kind}:{name}")))
            .ok_or(Unauthenticated)
    }

    /// The tenant's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !text::has_invisible(name)
}

impl From<Unauthenticated> for Response {
    fn from(_: Unauthenticated) -> Self {
        let mut response = Self::from(UNAUTHENTICATED);
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

/// Shows no name, because a tenant may be a person.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenant")
    }
}

#[cfg(test)]
mod tests {
    use foundation::environment::Host;

    use super::*;

    fn environment(name: &str) -> Environment {
        Environment::new(name, Host::Laptop)
    }

    fn tenant(caller: &Caller, environment: &Environment) -> Option<String> {
        let tenant = Tenant::of(caller, environment).ok();
        tenant.map(|tenant| tenant.as_str().to_owned())
    }

    /// Only the authorizer in the event counts. If it gives no tenant, no other authorizer is tried.
    #[test]
    fn the_authorizer_names_the_tenant() {
        let name = |name: &str| Some(name.to_owned());
        let cases = [
            (Caller::Jwt(name("alice")), Some("jwt:alice")),
            (Caller::Lambda(name("shop")), Some("lambda:shop")),
            (Caller::Jwt(name("Zoë 1")), Some("jwt:Zoë 1")),
            (Caller::Jwt(None), None),
            (Caller::Lambda(None), None),
            (Caller::Jwt(name("")), None),
            (Caller::Lambda(name("")), None),
            (Caller::Jwt(name(&"a".repeat(241))), None),
            (Caller::Jwt(name("alice\n")), None),
            (Caller::Jwt(name("\u{1b}[2Jalice")), None),
            (Caller::Jwt(name("alice\u{202e}")), None),
            (Caller::Lambda(name("al\u{200b}ice")), None),
        ];
        for place in ["development", "production"] {
            for (caller, expected) in &cases {
                let tenant = tenant(caller, &environment(place));
                assert_eq!(tenant.as_deref(), *expected, "{place}");
            }
        }
    }

    #[test]
    fn without_an_authorizer_only_a_laptop_has_a_tenant() {
        let cases = [
            ("development", Host::Laptop, Some("local")),
            ("development", Host::Deployed, None),
            ("staging", Host::Laptop, None),
            ("production", Host::Laptop, None),
        ];
        for (name, host, expected) in cases {
            let tenant = tenant(&Caller::Unchecked, &Environment::new(name, host));
            assert_eq!(tenant.as_deref(), expected, "{name} {host:?}");
        }
    }
}
