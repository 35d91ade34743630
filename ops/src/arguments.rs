//! The arguments of the command line, and their help texts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use shared::text::visible;

/// Shows and settles truebond's payments, shows and resolves idempotency keys.
///
/// Reads the same environment variables as the functions: ENVIRONMENT, REDIS_URL, MONGODB_URI, MONGODB_DATABASE,
/// PAYMENT_PROVIDER, STRIPE_API_KEY and the others of docs/configuration.md. In development it also reads `.env` in this folder; a variable
/// of the environment takes precedence.
#[derive(Parser)]
#[command(name = "truebond-ops", version)]
pub(crate) struct Arguments {
    /// Prints JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// The format of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Subject {
    /// Payments in the ledger.
    Payments {
        #[command(subcommand)]
        command: Payments,
    },
    /// Idempotency keys in the authoritative store: MongoDB, or Redis where there is no MongoDB.
    Key {
        #[command(subcommand)]
        command: Keys,
    },
    /// The configuration.
    Config {
        #[command(subcommand)]
        command: Settings,
    },
}

#[derive(Subcommand)]
pub(crate) enum Payments {
    /// Lists the open payments, oldest first.
    Open {
        /// Shows at most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Shows one payment and what is safe to do with it.
    Show {
        /// The payment's id: `pay_` and 32 hexadecimal digits.
        id: String,
    },
    /// Asks the provider for the state of a payment and records it in the ledger. Confirms and charges nothing.
    Settle {
        /// The payment's id: `pay_` and 32 hexadecimal digits.
        id: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum Settings {
    /// Checks whether the functions can start with this configuration. Opens no connection.
    Check,
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Shows one key and what is safe to do with it.
    Show {
        /// The scope as `key list` prints it, for example `http:payments.create:jwt:alice`; `-` for none.
        scope: String,
        /// The idempotency key.
        key: String,
    },
    /// Lists keys by name, finished ones included.
    List {
        /// Lists only unknown and abandoned keys (no running attempt and no result), oldest first.
        #[arg(long)]
        unknown: bool,
        /// Shows at most this many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Resolves a key whose outcome is unknown, after the operator has found out the outcome. Shows what it is about to write
    /// and asks for confirmation. For the key of a payment, use `payments settle`.
    Resolve {
        /// The scope as `key list` prints it.
        scope: String,
        /// The idempotency key.
        key: String,
        /// The work took effect, and this file holds its response as JSON (`-` reads standard input).
        #[arg(long, value_name = "FILE", required_unless_present = "released")]
        completed: Option<PathBuf>,
        /// The work had no effect and can have none later. `fenced-by-provider`: the provider refuses a request of that attempt
        /// that still arrives. `attempt-ended`: the attempt reported that it did nothing, and has ended.
        #[arg(long, value_name = "REASON", conflicts_with = "completed")]
        released: Option<Reason>,
        /// Resolves the key only if its record still has this revision, as `key show` prints it.
        #[arg(long)]
        revision: Option<String>,
        /// Does not ask for confirmation. Needs `--revision`, so that only the record that the operator saw is resolved.
        #[arg(long, requires = "revision")]
        yes: bool,
    },
}

/// Why the work can have no effect later. The absence of an effect so far is no reason: a frozen process may continue and send its request.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    FencedByProvider,
    AttemptEnded,
}

impl Arguments {
    /// Parses the command line. Help and errors of parsing are printed and end the process.
    pub(crate) fn read() -> Self {
        let typed: Vec<_> = std::env::args_os().collect();
        Self::try_parse_from(&typed)
            .unwrap_or_else(|error| with_visible_arguments(error, &typed).exit())
    }

    pub(crate) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }
}

/// The error, with invisible characters escaped. The parser quotes arguments in its message, so it gets escaped arguments.
fn with_visible_arguments(error: clap::Error, typed: &[OsString]) -> clap::Error {
    let shown = typed
        .iter()
        .map(|argument| visible(&argument.to_string_lossy()));
    Arguments::try_parse_from(shown).err().unwrap_or(error)
}
