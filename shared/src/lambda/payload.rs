//! The JSON payload of an invocation, as text.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The payload, if it is JSON; otherwise `None`. Lambda rejects an invalid payload, but a local server may pass it on.
/// Deserializing never fails, because the runtime would answer a failure with its own error.
pub(super) struct Payload(pub(super) Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer).ok()))
    }
}
