//! The planted secrets of a test, and the search for them in a function's output.

use parking_lot::Mutex;

use crate::percent_encoded::percent_encoded;

/// Secrets that must never appear in the output, in all forms in which they could appear.
#[derive(Default)]
pub(crate) struct Secrets {
    planted: Mutex<Vec<String>>,
}

impl Secrets {
    /// Adds a secret in three forms: plain, percent-encoded for a URL, and escaped for JSON.
    pub(crate) fn plant(&self, secret: &str) {
        assert!(!secret.is_empty(), "every text contains an empty secret");
        let quoted = serde_json::Value::from(secret).to_string();
        let mut planted = self.planted.lock();
        planted.extend([
            secret.to_owned(),
            percent_encoded(secret),
            quoted[1..quoted.len() - 1].to_owned(),
        ]);
        planted.sort();
        planted.dedup();
    }

    /// Searches `text` for every secret. `place` describes the text in the message.
    ///
    /// # Panics
    ///
    /// Panics if the text contains a secret.
    pub(crate) fn assert_absent(&self, place: &str, text: &str) {
        for secret in self.planted.lock().iter() {
            assert!(
                !text.contains(secret),
                "{place} contains the planted secret `{secret}`:\n{text}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    #[should_panic(expected = "a header contains the planted secret")]
    fn a_secret_is_found_in_its_percent_encoded_form() {
        let secrets = Secrets::default();
        secrets.plant("p@ss");
        secrets.assert_absent("a body", "pass");
        secrets.assert_absent("a header", "redis://user:p%40ss@host");
    }
}
