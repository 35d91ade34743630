//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use shared::text::visible;

/// Looks after truebond's payments. Reads the environment that the functions read: ENVIRONMENT, REDIS_URL, MONGODB_URI,
/// MONGODB_DATABASE, PAYMENT_PROVIDER, STRIPE_API_KEY and the others of README.md; in development also `.env` in this folder, for
/// what the environment does not say.
#[derive(Parser)]
#[command(name = "truebond-ops", version)]
pub(crate) struct Arguments {
    /// Prints JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Subject {
    /// Payments, as the ledger has them.
    Payments {
        #[command(subcommand)]
        command: Payments,
    },
    /// Idempotency keys, as the store that decides has them.
    Key {
        #[command(subcommand)]
        command: Keys,
    },
    /// The settings.
    Config {
        #[command(subcommand)]
        command: Settings,
    },
}

#[derive(Subcommand)]
pub(crate) enum Payments {
    /// The open ones, the oldest first.
    Open {
        /// How many to show, at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// One payment, and what is safe to do about it.
    Show {
        /// `pay_` and 32 hexadecimal digits.
        id: String,
    },
    /// Asks the provider what has become of a payment, and writes that into the ledger. Nothing is confirmed.
    Settle {
        /// `pay_` and 32 hexadecimal digits.
        id: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Settings {
    /// Says whether the functions start with these settings and can use them. Connects to nothing.
    Check,
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// One key.
    Show {
        /// As `key list` prints it, for example `http:payments.create:jwt:alice`; `-` for none.
        scope: String,
        /// The Idempotency-Key.
        key: String,
    },
    /// Keys, by their names.
    List {
        /// Only those that no attempt is running for and that have no result, the oldest first.
        #[arg(long)]
        unknown: bool,
        /// How many to show, at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Stores the outcome of a key whose outcome is unknown, once it has been found out. Shows what it is about to do, and
    /// asks. Payments are settled with `payments settle`.
    Resolve {
        /// As `key list` prints it.
        scope: String,
        /// The key.
        key: String,
        /// The work took effect: its response, as JSON, is in this file (`-`: on standard input).
        #[arg(long, value_name = "FILE", required_unless_present = "released")]
        completed: Option<PathBuf>,
        /// The work had no effect and can have none any more: the provider refuses a request that still arrives, or the attempt
        /// reported that it did nothing and has ended.
        #[arg(long, value_name = "REASON", conflicts_with = "completed")]
        released: Option<Reason>,
        /// Only the record with this revision, as `key show` prints it.
        #[arg(long)]
        revision: Option<String>,
        /// Does not ask. It then holds for the record that was seen, and no other.
        #[arg(long, requires = "revision")]
        yes: bool,
    },
}

/// Why work can have no effect any more. That it has had none until now is no reason: its process may be frozen, and thaw.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    FencedByProvider,
    AttemptEnded,
}

impl Arguments {
    /// What was typed. Help and refusals are printed, and end the process.
    pub(crate) fn read() -> Self {
        let typed: Vec<_> = std::env::args_os().collect();
        Self::try_parse_from(&typed).unwrap_or_else(|refused| explained(refused, &typed).exit())
    }

    pub(crate) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// The refusal as it may be printed: the parser quotes what was typed, so it is given that without invisible characters.
fn explained(refused: clap::Error, typed: &[OsString]) -> clap::Error {
    let shown = typed
        .iter()
        .map(|argument| visible(&argument.to_string_lossy()));
    Arguments::try_parse_from(shown).err().unwrap_or(refused)
}
