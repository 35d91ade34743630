//! The members of an event that are read: the event's id, type, mode and intent.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// An event of Stripe. Other members of the event are not read, because they may be out of date. Their current values
/// are read from the provider.
#[derive(Deserialize)]
pub(super) struct Event {
    /// The event's id. Every delivery of the event has this id.
    pub(super) id: String,
    /// The event's type, for example `payment_intent.succeeded`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Whether real money moved (live mode) or not (test mode).
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) livemode: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default, deserialize_with = "null_as_default")]
    object: Object,
}

/// The object that an event is about. Objects other than intents can have members of other types, so each member is
/// read as `Value`.
#[derive(Default, Deserialize)]
struct Object {
    #[serde(default)]
    object: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    metadata: Value,
}

/// Reads `null` like a missing member.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Event {
    /// Parses a body; `None` if it is not an event of Stripe.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        // Without this check, serde would also accept an array and assign its items by position.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(body).ok())?
    }

    /// Whether the event is about an intent. Stripe sends events about other objects too.
    pub(super) fn is_of_intent(&self) -> bool {
        self.data.object.object == "payment_intent"
    }

    /// Whether the event reports a charge of the customer.
    pub(super) fn is_of_charge(&self) -> bool {
        self.kind == "payment_intent.succeeded"
    }

    /// The intent's id.
    pub(super) fn intent(&self) -> &str {
        self.data.object.id.as_str().unwrap_or_default()
    }

    /// The id of our payment, from the intent's metadata.
    pub(super) fn payment_id(&self) -> Option<&str> {
        self.data.object.metadata.get("payment_id")?.as_str()
    }

    /// The environment of the payment. Intents of earlier versions have none.
    pub(super) fn environment(&self) -> Option<&str> {
        self.data.object.metadata.get("environment")?.as_str()
    }

    /// The members that are the same in every delivery of the event, as JSON.
    pub(super) fn identity(&self) -> String {
        json!({"id": self.id, "type": self.kind, "intent": self.intent()}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_read_like_a_missing_member() {
        let nothing = Event::parse(br#"{"id":"evt_1","type":"account.updated"}"#);
        let nothing = nothing.expect("an event");
        let events = [
            r#"{"id":"evt_1","type":"account.updated","data":null}"#,
            r#"{"id":"evt_1","type":"account.updated","data":{"object":null}}"#,
            r#"{"id":"evt_1","type":"account.updated","data":{"object":{"object":null,"id":null,"metadata":null}}}"#,
            r#"{"id":"evt_1","type":"account.updated","livemode":null,"data":{}}"#,
        ];
        for event in events {
            let read = Event::parse(event.as_bytes()).expect(event);
            assert!(!read.is_of_intent() && !read.livemode, "{event}");
            assert_eq!(read.identity(), nothing.identity(), "{event}");
        }
        for other in [
            r#"{"id":null,"type":"account.updated"}"#,
            r#"{"id":"evt_1","type":null}"#,
            r#"{"id":"evt_1","type":"account.updated","data":"text"}"#,
            r#"{"id":"evt_1","type":"account.updated","livemode":"no"}"#,
        ] {
            assert!(Event::parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
