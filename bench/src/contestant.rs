//! Who takes part: each library behind the same work, and beside it the same program without it.

use std::path::{Path, PathBuf};

/// A program in one of its manners.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    /// One word, for files and lists.
    pub(crate) name: &'static str,
    /// As tables call it.
    pub(crate) title: &'static str,
    pub(crate) program: Program,
    pub(crate) store: Store,
    /// The same program without idempotency, which what it adds is counted from.
    pub(crate) baseline: &'static str,
}

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A binary of this workspace.
    Binary(&'static str),
    /// A peer that is written in Rust, apart from this workspace.
    Crate(&'static str),
    /// A peer in another language: the `run` in its folder.
    Folder(&'static str),
}

/// Where it keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// It has none: the work alone.
    Nothing,
    Redis,
    /// MongoDB, with Redis in front of it.
    Tiered,
    /// The memory of its process.
    Memory,
}

impl Store {
    /// Whether two processes meet in it.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Redis | Self::Tiered)
    }
}

const OURS: Program = Program::Binary("ours");
const CRATE: Program = Program::Crate("idempotent-crate");
const PYTHON: Program = Program::Folder("powertools-python");
const TYPESCRIPT: Program = Program::Folder("powertools-typescript");

const fn contestant(
    name: &'static str,
    title: &'static str,
    program: Program,
    store: Store,
    baseline: &'static str,
) -> Contestant {
    Contestant {
        name,
        title,
        program,
        store,
        baseline,
    }
}

/// Everybody, in the order of the tables. The first one is what all are compared with.
pub(crate) static ALL: [Contestant; 11] = [
    contestant(
        "bare",
        "bare `lambda_http`",
        Program::Binary("bare"),
        Store::Nothing,
        "bare",
    ),
    contestant(
        "ours-off",
        "ours, without",
        OURS,
        Store::Nothing,
        "ours-off",
    ),
    contestant(
        "ours-memory",
        "ours, memory",
        OURS,
        Store::Memory,
        "ours-off",
    ),
    contestant(
        "ours-redis",
        "**ours, Redis**",
        OURS,
        Store::Redis,
        "ours-off",
    ),
    contestant(
        "ours-tiered",
        "**ours, tiered**",
        OURS,
        Store::Tiered,
        "ours-off",
    ),
    contestant(
        "crate-off",
        "crate `idempotent`, without",
        CRATE,
        Store::Nothing,
        "crate-off",
    ),
    contestant(
        "crate",
        "crate `idempotent`, Redis",
        CRATE,
        Store::Redis,
        "crate-off",
    ),
    contestant(
        "python-off",
        "Python, without",
        PYTHON,
        Store::Nothing,
        "python-off",
    ),
    contestant(
        "powertools-python",
        "Powertools Python, Redis",
        PYTHON,
        Store::Redis,
        "python-off",
    ),
    contestant(
        "typescript-off",
        "TypeScript, without",
        TYPESCRIPT,
        Store::Nothing,
        "typescript-off",
    ),
    contestant(
        "powertools-typescript",
        "Powertools TypeScript, Redis",
        TYPESCRIPT,
        Store::Redis,
        "typescript-off",
    ),
];

impl Contestant {
    /// Whether it is one that others are compared with: the work without idempotency.
    pub(crate) fn is_baseline(&self) -> bool {
        self.store == Store::Nothing
    }
}

impl Program {
    /// The name that it is started under.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Binary(name) | Self::Crate(name) | Self::Folder(name) => name,
        }
    }

    /// The file that is started.
    pub(crate) fn file(self) -> PathBuf {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        match self {
            // Beside this program, so in the same profile.
            Self::Binary(name) => {
                let own = std::env::current_exe().unwrap_or_default();
                own.with_file_name(name)
            }
            Self::Crate(name) => workspace.join("target/contestants/release").join(name),
            Self::Folder(name) => workspace.join("bench/contestants").join(name).join("run"),
        }
    }

    /// What brings it here.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Binary(_) | Self::Crate(_) => "run `make bench`, which builds it",
            Self::Folder(_) => "run `scripts/install bench-contestants`",
        }
    }
}
