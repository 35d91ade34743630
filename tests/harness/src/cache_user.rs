//! The Redis users of template.yaml. Tests log in as these users, so that the tests have exactly the rights of the functions.

use std::fs;
use std::path::PathBuf;

/// A user in the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUser {
    /// The user of the payment functions.
    Payments,
    /// The user of the function `idempotency`.
    Idempotency,
    /// The user of the health functions.
    Health,
}

impl CacheUser {
    /// The user's name in tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Idempotency => "idempotency",
            Self::Health => "health",
        }
    }

    /// The user's ACL rules from the template. The rules of `Idempotency` apply to the default namespace of that function.
    ///
    /// # Panics
    ///
    /// Panics if the template has no such user.
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
