//! The revision of a record, as text for callers and operators.

use std::fmt;

use sha2::{Digest, Sha256};

use super::record::Version;

/// Identifies one revision of a record as text, for example `3-9f86d081884c7d65`. A resolution applies to that revision
/// only.
///
/// It contains a digest of the owner and of the time of the first claim. It does not contain the owner: revisions are
/// printed and logged, and the owner is enough to finish the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    rev: u64,
    owner_digest: u64,
}

const DIGEST_DIGITS: usize = 16;

impl Revision {
    pub(super) fn of(version: Version) -> Self {
        let named = format!("revision {} {}", version.owner, version.first_at.as_ms());
        let digest = Sha256::digest(named);
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        Self {
            rev: version.rev,
            owner_digest: u64::from_be_bytes(head),
        }
    }

    /// Number of writes so far.
    pub fn rev(self) -> u64 {
        self.rev
    }

    /// Parses a revision in the form that [`Display`](fmt::Display) writes. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (rev, digest) = text.split_once('-')?;
        let revision = Self {
            rev: rev.parse().ok()?,
            owner_digest: u64::from_str_radix(digest, 16).ok()?,
        };
        // A revision has exactly one text: no sign, no leading zero, no upper case.
        (revision.rev > 0 && digest.len() == DIGEST_DIGITS && revision.to_string() == text)
            .then_some(revision)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{:0width$x}",
            self.rev,
            self.owner_digest,
            width = DIGEST_DIGITS
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnerId;
    use crate::store_time::StoreTime;

    #[test]
    fn parsing_accepts_only_the_displayed_form() {
        let version = Version {
            owner: OwnerId::fresh(),
            rev: 3,
            first_at: StoreTime::from_ms(1),
        };
        let revision = Revision::of(version);
        let text = revision.to_string();
        assert_eq!(Revision::parse(&text), Some(revision));
        assert_eq!(revision.rev(), 3);
        assert!(!text.contains(&version.owner.to_string()));
        for other in [
            "",
            "3",
            "3-",
            "-9f86d081884c7d65",
            "0-9f86d081884c7d65",
            "03-9f86d081884c7d65",
            "+3-9f86d081884c7d65",
            "3-9F86D081884C7D65",
            "3-9f86d081884c7d6",
            "3-+f86d081884c7d65",
        ] {
            assert_eq!(Revision::parse(other), None, "{other}");
        }
    }

    fn version(owner: OwnerId, first_at: u64) -> Version {
        Version {
            owner,
            rev: 2,
            first_at: StoreTime::from_ms(first_at),
        }
    }

    #[test]
    fn a_later_claim_with_the_same_rev_has_another_revision() {
        let [one, other] =
            [OwnerId::fresh(), OwnerId::fresh()].map(|owner| Revision::of(version(owner, 1)));
        assert_ne!(one, other);
        let owner = OwnerId::fresh();
        let [first, late_copy] = [1, 2].map(|at| Revision::of(version(owner, at)));
        assert_ne!(first, late_copy);
    }
}
