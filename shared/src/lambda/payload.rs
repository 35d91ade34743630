//! The JSON that an invocation brings, as text.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Any JSON; `None` for anything else, which Lambda refuses and a local server may not. Reading it never fails, because the runtime
/// would answer a failure with an error of its own.
pub(super) struct Payload(pub(super) Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer).ok()))
    }
}
