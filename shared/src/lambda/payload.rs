//! The JSON payload of an invocation, as text.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Any JSON; `None` for anything else. Lambda rejects an invalid payload; a local server may pass it on. Deserializing
/// never fails, because the runtime would then respond with an error of its own.
pub(super) struct Payload(pub(super) Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer).ok()))
    }
}
