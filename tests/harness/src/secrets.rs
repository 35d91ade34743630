//! The secrets that a test has planted, and the search for them in whatever comes out of a function.

use parking_lot::Mutex;

use crate::percent_encoded::percent_encoded;

/// What must never be seen, in the forms in which it could leak.
#[derive(Default)]
pub(crate) struct Secrets {
    planted: Mutex<Vec<String>>,
}

impl Secrets {
    /// Adds a secret: as it is, percent-encoded as in a URL, and escaped as in a JSON string.
    pub(crate) fn plant(&self, secret: &str) {
        assert!(!secret.is_empty(), "an empty secret is in every text");
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

    /// Looks for every secret in `text`; `place` says where that is from.
    ///
    /// # Panics
    ///
    /// When one is there.
    pub(crate) fn assert_absent(&self, place: &str, text: &str) {
        for secret in self.planted.lock().iter() {
            assert!(
                !text.contains(secret),
                "the planted secret `{secret}` is in {place}:\n{text}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    #[should_panic(expected = "is in a header")]
    fn a_secret_is_found_in_its_percent_encoded_form() {
        let secrets = Secrets::default();
        secrets.plant("p@ss");
        secrets.assert_absent("a body", "pass");
        secrets.assert_absent("a header", "redis://user:p%40ss@host");
    }
}
