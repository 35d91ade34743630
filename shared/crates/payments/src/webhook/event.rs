//! What is read of an event: which one it is, and which payment it is about.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// An event. What else it says is not read: the provider is asked instead.
#[derive(Deserialize)]
pub(super) struct Event {
    /// The same at every delivery.
    pub(super) id: String,
    /// For example `payment_intent.succeeded`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Whether real money moved.
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

/// What an event is about, as it was then. What is no intent has members of other kinds.
#[derive(Default, Deserialize)]
struct Object {
    #[serde(default)]
    object: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    metadata: Value,
}

/// A member that is `null` is as good as one that is not there.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Event {
    /// `None`: it is none of Stripe's.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        // serde also fills a struct from an array, by position.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(body).ok())?
    }

    /// Whether it is about an intent; there are events about much else.
    pub(super) fn is_of_intent(&self) -> bool {
        self.data.object.object == "payment_intent"
    }

    /// Whether it says that somebody was charged.
    pub(super) fn is_of_charge(&self) -> bool {
        self.kind == "payment_intent.succeeded"
    }

    /// The intent's name.
    pub(super) fn intent(&self) -> &str {
        self.data.object.id.as_str().unwrap_or_default()
    }

    /// Our name for the payment, as the intent was given it.
    pub(super) fn payment_id(&self) -> Option<&str> {
        self.data.object.metadata.get("payment_id")?.as_str()
    }

    /// The environment whose payment it is. Intents of earlier versions do not say.
    pub(super) fn environment(&self) -> Option<&str> {
        self.data.object.metadata.get("environment")?.as_str()
    }

    /// What does not differ between deliveries, as JSON.
    pub(super) fn identity(&self) -> String {
        json!({"id": self.id, "type": self.kind, "intent": self.intent()}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_as_good_as_nothing() {
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
