//! Text lines for a terminal: one per request.
//!
//! The INFO messages of a request follow its response, in the same line. Warnings and errors are separate lines,
//! written at once and with the ids of the request.
//!
//! ```text
//! 14:07:31Z payments-create: POST /api/payments 201, 8.2 ms; a payment ended (payment.id=pay_0ff6…, payment.state=succeeded)
//! 14:07:32Z WARN health-redis: Redis connection failed: Redis client not initialized (redis.error_code=not_configured)
//! ```

use foundation::text::visible;
use serde_json::Value;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{Fields, now};

/// Writes the lines of one program.
pub(super) struct TextLines<W> {
    program: String,
    write: W,
}

/// The INFO messages of a request that is still running.
#[derive(Default)]
struct Notes(Vec<String>);

/// The message of the last log event of a request.
const ANSWERED: &str = "answered";

impl<W: Fn(&str)> TextLines<W> {
    pub(super) fn new(program: String, write: W) -> Self {
        Self { program, write }
    }
}

impl<S, W> Layer<S> for TextLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            let mut extensions = span.extensions_mut();
            extensions.insert(fields);
            extensions.insert(Notes::default());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").as_ref().map(text);
        let message = message.unwrap_or_default();
        let level = *event.metadata().level();
        let mut request = context
            .event_scope(event)
            .and_then(|scope| scope.from_root().next());
        if let Some(span) = request.take_if(|_| level == Level::INFO) {
            let mut extensions = span.extensions_mut();
            if let Some(notes) = extensions.get_mut::<Notes>() {
                if message != ANSWERED {
                    notes.0.push(message + &listed(&fields));
                    return;
                }
                let notes: String = notes.0.iter().map(|note| format!("; {note}")).collect();
                self.print(level, &(answer(&fields) + &notes));
                return;
            }
        }
        if let Some(of_span) = request.as_ref().map(|span| span.extensions())
            && let Some(of_span) = of_span.get::<Fields>()
        {
            fields.0.extend(of_span.0.clone());
        }
        self.print(level, &(message + &listed(&fields)));
    }
}

impl<W: Fn(&str)> TextLines<W> {
    fn print(&self, level: Level, text: &str) {
        let level = match level {
            Level::INFO => String::new(),
            level => format!("{level} "),
        };
        let time = now().strftime("%H:%M:%SZ");
        let line = visible(&format!("{time} {level}{}: {text}", self.program));
        (self.write)(&(line + "\n"));
    }
}

/// The outcome of a request.
fn answer(fields: &Fields) -> String {
    let field = |name: &str| fields.0.get(name).map(text).unwrap_or_default();
    let duration = fields.0.get("duration_ms").and_then(Value::as_f64);
    let duration = format!("{:.1} ms", duration.unwrap_or_default());
    if fields.0.contains_key("http.method") {
        let [method, path, status] = ["http.method", "http.path", "http.status"].map(field);
        format!("{method} {path} {status}, {duration}")
    } else if field("panicked") == "true" {
        format!("invoked, panicked, {duration}")
    } else {
        format!("invoked, {duration}")
    }
}

/// The fields in parentheses; empty if there are none.
fn listed(fields: &Fields) -> String {
    let pairs = fields.0.iter();
    let pairs: Vec<_> = pairs
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    match &pairs[..] {
        [] => String::new(),
        pairs => format!(" ({})", pairs.join(", ")),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error, info, info_span, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The lines that `log` writes, without their times.
    fn lines(log: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let write = move |line: &str| written.lock().expect("whole").push(line.to_owned());
        let layer = TextLines::new("payments-create".to_owned(), write);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let lines = lines.lock().expect("whole").clone();
        let lines = lines.into_iter().map(|line| {
            let (time, line) = line.split_once(' ').expect("a time");
            assert!(time.len() == 9 && time.ends_with('Z'), "{time}");
            line.to_owned()
        });
        lines.collect()
    }

    #[test]
    fn a_request_is_one_line() {
        let logged = lines(|| {
            info!(
                idempotency.authority = "memory",
                "idempotency store selected"
            );
            let span = info_span!("invocation", requestId = "r-1", http.request_id = "h-1");
            let request = span.entered();
            info!(payment.state = "succeeded", "a payment ended");
            let inner = info_span!("inner").entered();
            info!("noted");
            drop(inner);
            info!(
                http.method = "POST",
                http.path = "/a",
                http.status = 201,
                duration_ms = 8.24,
                "answered"
            );
            drop(request);
            let event = info_span!("invocation", requestId = "r-2").entered();
            info!(panicked = false, duration_ms = 1.0, "answered");
            drop(event);
        });
        assert_eq!(
            logged,
            [
                "payments-create: idempotency store selected (idempotency.authority=memory)\n",
                "payments-create: POST /a 201, 8.2 ms; a payment ended (payment.state=succeeded); noted\n",
                "payments-create: invoked, 1.0 ms\n",
            ]
        );
    }

    #[test]
    fn a_warning_is_written_at_once_with_the_ids_of_its_request() {
        let logged = lines(|| {
            let span = info_span!("invocation", requestId = "r-1");
            let _request = span.entered();
            warn!(ledger.error = "timeout", "a payment could not be read");
            error!("panicked");
        });
        assert_eq!(
            logged,
            [
                "WARN payments-create: a payment could not be read (ledger.error=timeout, requestId=r-1)\n",
                "ERROR payments-create: panicked (requestId=r-1)\n",
            ]
        );
    }

    #[test]
    fn a_path_cannot_start_a_new_line() {
        let logged = lines(|| info!(http.path = "/a\n\u{1b}[2Jb", "refused"));
        assert_eq!(
            logged,
            ["payments-create: refused (http.path=/a\\u{a}\\u{1b}[2Jb)\n"]
        );
    }
}
