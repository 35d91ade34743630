//! The contestants: for each library a program that does the work with the library, and the same program without the library.

use std::path::{Path, PathBuf};

/// A program in one configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    /// The name in files and lists, a single word.
    pub(crate) name: &'static str,
    /// The title in tables.
    pub(crate) title: &'static str,
    /// The program. The contestant with idempotency and the contestant without it have the same program.
    pub(crate) program: Program,
    /// The store that the program uses.
    pub(crate) store: Store,
}

/// The program to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A binary of this workspace.
    Binary(&'static str),
    /// A program with another Rust library, in a crate outside this workspace.
    Crate(&'static str),
    /// A program with a library in another language. The script `run` in the folder of this name starts it.
    Folder(&'static str),
}

/// The store of a contestant's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// No store: the contestant does the work without idempotency. The other contestants are compared with it.
    Nothing,
    Redis,
    /// MongoDB, with Redis in front of it.
    Tiered,
    /// The memory of its process.
    Memory,
    /// Redis gets this number of `PING`s for each call, and no record.
    Pings(u8),
}

const BARE: Program = Program::Binary("bare");
const OURS: Program = Program::Binary("ours");
const CRATE: Program = Program::Crate("idempotent-crate");
const PYTHON: Program = Program::Folder("powertools-python");
const NODE: Program = Program::Folder("powertools-typescript");
const PINGS: Program = Program::Binary("pings");

/// All contestants in the order of the tables. All are compared with the first one.
#[rustfmt::skip] // One line per contestant.
pub(crate) static ALL: [Contestant; 11] = [
    contestant("bare", "bare `lambda_http`", BARE, Store::Nothing),
    contestant("ours-off", "ours, without", OURS, Store::Nothing),
    contestant("ours-memory", "ours, memory", OURS, Store::Memory),
    contestant("ours-redis", "**ours, Redis**", OURS, Store::Redis),
    contestant("ours-tiered", "**ours, tiered**", OURS, Store::Tiered),
    contestant("crate-off", "crate `idempotent`, without", CRATE, Store::Nothing),
    contestant("crate", "crate `idempotent`, Redis", CRATE, Store::Redis),
    contestant("python-off", "Python, without", PYTHON, Store::Nothing),
    contestant("powertools-python", "Powertools Python, Redis", PYTHON, Store::Redis),
    contestant("typescript-off", "TypeScript, without", NODE, Store::Nothing),
    contestant("powertools-typescript", "Powertools TypeScript, Redis", NODE, Store::Redis),
];

/// One `PING` per call: the minimum of a replay.
pub(crate) static ONE_PING: Contestant =
    contestant("one-ping", "bare with one `PING`", PINGS, Store::Pings(1));
/// Two `PING`s per call: the minimum of a fresh call.
pub(crate) static TWO_PINGS: Contestant =
    contestant("two-pings", "bare with two `PING`s", PINGS, Store::Pings(2));

const fn contestant(
    name: &'static str,
    title: &'static str,
    program: Program,
    store: Store,
) -> Contestant {
    Contestant {
        name,
        title,
        program,
        store,
    }
}

impl Contestant {
    /// Whether this contestant does the work without idempotency.
    pub(crate) fn is_baseline(&self) -> bool {
        self.store == Store::Nothing
    }

    /// The name of the same program without idempotency. The added cost is the difference to that program.
    pub(crate) fn baseline(&self) -> &'static str {
        let mut without = ALL.iter().filter(|other| other.program == self.program);
        let without = without.find(|other| other.is_baseline());
        without.map_or(ALL[0].name, |without| without.name)
    }

    /// The title without Markdown.
    pub(crate) fn plain_title(&self) -> String {
        self.title.replace(['*', '`'], "")
    }
}

impl Store {
    /// Whether the store has records of calls.
    pub(crate) fn has_records(self) -> bool {
        !matches!(self, Self::Nothing | Self::Pings(_))
    }

    /// Whether two processes share the store.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Redis | Self::Tiered)
    }
}

impl Program {
    /// The name under which the program starts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Binary(name) | Self::Crate(name) | Self::Folder(name) => name,
        }
    }

    /// The file to start.
    pub(crate) fn file(self) -> PathBuf {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        match self {
            // The binary is in the folder of this program, so both have the same profile.
            Self::Binary(name) => {
                let own = std::env::current_exe().unwrap_or_default();
                own.with_file_name(name)
            }
            Self::Crate(name) => workspace.join("target/contestants/release").join(name),
            Self::Folder(name) => workspace.join("bench/contestants").join(name).join("run"),
        }
    }

    /// The command that installs the program.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Binary(_) | Self::Crate(_) => "`make bench` builds it",
            Self::Folder(_) => "`scripts/install bench-contestants` installs it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contestant_has_a_baseline_of_the_same_program() {
        let baseline = |name| ALL.iter().find(|other| other.name == name);
        for contestant in &ALL {
            let baseline = baseline(contestant.baseline()).unwrap();
            assert_eq!(baseline.program, contestant.program);
            assert!(baseline.is_baseline());
        }
    }
}
