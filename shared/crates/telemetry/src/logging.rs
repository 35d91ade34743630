//! The format and the level of log lines.
//!
//! On Lambda each line is a JSON object with `timestamp` (RFC 3339), `level` and `requestId`. Without `timestamp` and
//! `level`, Lambda treats every line as INFO, and a function with level WARN would lose its errors
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>). The subscriber of the
//! Lambda runtime writes no timestamp, so this module has its own subscriber. On a laptop the lines are text, one per
//! request (`text_lines`).
//!
//! The configured level applies to our crates and to the function itself. Of other crates, only lines at the levels
//! WARN and ERROR are written, because some of these crates log requests and headers with tokens at lower levels.

mod text_lines;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use self::text_lines::TextLines;

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The format of a line; `None`: text in a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// The minimum level of our own lines.
    pub level: Level,
    /// Whether the process runs on Lambda. If so, the text lines contain all ids.
    pub deployed: bool,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Text for people.
    Text,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: None,
            level: Level::INFO,
            deployed: false,
        }
    }
}

/// Starts logging to standard output. The level in `config` applies to the lines of `crates` and of this program. A
/// second call has no effect.
pub fn init(config: &LogConfig, crates: &'static [&'static str]) {
    let level = config.level;
    let program = program();
    let own = program.replace('-', "_");
    let levels = filter_fn(move |line| {
        let source = line.target().split("::").next().unwrap_or_default();
        let is_ours = crates.contains(&source) || source == own;
        *line.level()
            <= if is_ours {
                level
            } else {
                level.min(Level::WARN)
            }
    });
    let levels = levels.with_max_level_hint(level.max(Level::WARN));
    let registry = tracing_subscriber::registry();
    let _ = match config.format.unwrap_or_else(default_format) {
        LogFormat::Json => registry.with(JsonLines.with_filter(levels)).try_init(),
        LogFormat::Text if config.deployed => registry
            .with(tracing_subscriber::fmt::layer().with_filter(levels))
            .try_init(),
        LogFormat::Text => {
            let lines = TextLines::new(program, |line| write(line.as_bytes()));
            registry.with(lines.with_filter(levels)).try_init()
        }
    };
}

/// Adds `line` as one line of JSON to the next write to standard output: the write of the next log line, or of
/// [`flush`].
pub(super) fn write_later(line: &impl Serialize) {
    let mut waiting = WAITING.lock();
    append(&mut waiting, line);
    if waiting.len() > MOST_WAITING {
        write_out(&mut waiting);
    }
}

/// Writes the lines that wait for the next log line. A process may be frozen or killed after it has sent a response, so
/// it calls this before.
pub fn flush() {
    let mut waiting = WAITING.lock();
    if !waiting.is_empty() {
        write_out(&mut waiting);
    }
}

/// Appends `line` as one line of JSON.
fn append(lines: &mut Vec<u8>, line: &impl Serialize) {
    let length = lines.len();
    match serde_json::to_writer(&mut *lines, line) {
        Ok(()) => lines.push(b'\n'),
        Err(_) => lines.truncate(length),
    }
}

/// Writes the waiting lines and empties the buffer.
fn write_out(waiting: &mut Vec<u8>) {
    write(waiting);
    waiting.clear();
}

/// Writes whole lines to standard output, in one system call, so that lines of parallel invocations do not mix. If
/// standard output is closed, the lines are lost.
fn write(lines: &[u8]) {
    let _ = std::io::stdout().lock().write_all(lines);
}

/// The name of this program, which is the name of its function.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Formats an instant for log lines and health responses: RFC 3339, UTC, milliseconds.
pub fn rfc3339(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

/// The time for a log line. It is only displayed; no decision depends on it.
#[expect(
    clippy::disallowed_methods,
    reason = "a log line says when it was written"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

fn default_format() -> LogFormat {
    if std::io::stdout().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    }
}

/// The lines that wait for the next log line.
static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// The most bytes that wait. A pipe takes this number of bytes at once.
const MOST_WAITING: usize = 4_096;

struct JsonLines;

/// The fields of a span or an event, by name.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: Value,
    target: &'a str,
    #[serde(flatten)]
    fields: BTreeMap<&'static str, Value>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let line = Line {
            timestamp: rfc3339(now()),
            level: event.metadata().level().as_str(),
            message: fields.0.remove("message").unwrap_or_default(),
            target: event.metadata().target(),
            fields: fields.0,
        };
        let mut waiting = WAITING.lock();
        append(&mut waiting, &line);
        write_out(&mut waiting);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }
}
