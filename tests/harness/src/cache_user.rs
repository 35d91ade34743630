//! The users that template.yaml gives a cache it creates. Tests log in as they, so that what they may do is what the functions
//! do, and no more.

use std::fs;
use std::path::PathBuf;

/// A user of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUser {
    /// The one of payments.
    Payments,
    /// The one of the function `idempotency`.
    Idempotency,
    /// The one of health.
    Health,
}

impl CacheUser {
    /// Their name in tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Idempotency => "idempotency",
            Self::Health => "health",
        }
    }

    /// Their ACL rules, as the template has them; the function `idempotency` has its default namespace.
    ///
    /// # Panics
    ///
    /// When the template has no such user.
    pub fn rules(self) -> String {
        let resource = match self {
            Self::Payments => "  CachePaymentsUser:\n",
            Self::Idempotency => "  CacheIdempotencyUser:\n",
            Self::Health => "  CacheHealthUser:\n",
        };
        let template = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
        let text = fs::read_to_string(template).expect("template.yaml is there");
        let (_, rest) = text.split_once(resource).expect("the user is there");
        let (_, rest) = rest.split_once("AccessString: ").expect("its rules");
        let rules = rest.lines().next().expect("a line");
        let rules = rules.trim_start_matches("!Sub ");
        rules.replace("${IdempotencyNamespace}", "default")
    }
}
