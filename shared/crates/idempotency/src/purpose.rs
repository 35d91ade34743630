//! Domain separation: the input of each kind of digest starts with a different text. So a digest of one kind never
//! equals a digest of another kind.
//!
//! The texts contain the name of the first program that used them. The texts must not change, because stored
//! fingerprints and derived keys depend on them. A provider recognises a payment by the derived key. With another text,
//! a provider would not recognise a retry, and would make another payment.

/// The text for a request's [`Fingerprint`](super::Fingerprint).
pub(super) const FINGERPRINT: &str = "truebond fingerprint 1";
/// The text for a [`DerivedKey`](super::DerivedKey).
pub(super) const DERIVED_KEY: &str = "truebond derived key 1";
/// The text for the derived key of one step.
pub(super) const DERIVED_STEP: &str = "truebond derived step 1";

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{fs, io};

    /// Returns the names of all files below `folder` that contain `word`.
    fn files_containing(folder: &Path, word: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(files_containing(&path, word)?);
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
    fn only_these_texts_name_the_program_that_uses_the_crate() {
        let program = super::FINGERPRINT.split(' ').next().expect("a word");
        let found = files_containing(Path::new(env!("CARGO_MANIFEST_DIR")), program);
        assert_eq!(found.expect("readable"), ["purpose.rs"]);
    }
}
