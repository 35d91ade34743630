//! Which of our digests it is: the text that each begins with, so that none is taken for another.
//!
//! The texts name the program that was the first to use them. They stay as they are: stored fingerprints hold by them, and a provider
//! recognises a payment by a derived key. Another text would be another payment.

/// Of a request's [`Fingerprint`](super::Fingerprint).
pub(super) const FINGERPRINT: &str = "truebond fingerprint 1";
/// Of a [`DerivedKey`](super::DerivedKey).
pub(super) const DERIVED_KEY: &str = "truebond derived key 1";
/// Of the derived key of one step.
pub(super) const DERIVED_STEP: &str = "truebond derived step 1";

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, io};

    /// The files below a folder that have this word.
    fn naming(folder: &Path, word: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(naming(&path, word)?);
            } else if fs::read_to_string(&path)?.to_lowercase().contains(word) {
                found.extend(
                    path.file_name()
                        .map(|name| name.to_string_lossy().into_owned()),
                );
            }
        }
        Ok(found)
    }

    #[test]
    fn nothing_but_these_texts_names_the_program_that_uses_the_crate() {
        let program = super::FINGERPRINT.split(' ').next().expect("a word");
        let found = naming(Path::new(env!("CARGO_MANIFEST_DIR")), program);
        assert_eq!(found.expect("readable"), ["purpose.rs"]);
    }
}
