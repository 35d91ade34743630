//! What happened to keys, counted, and where it matters, logged. A key is told only by its hash.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use telemetry::metrics::{Metric, Metrics, Unit};
use tracing::{debug, info, warn};

use super::RecordKey;

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A first attempt began.
    Fresh,
    /// A repetition got the result.
    Replay,
    /// A second caller came while the first was at work.
    Conflict,
    /// The key came with another request.
    Mismatch,
    /// An attempt took over one that had ended without a word.
    Takeover,
    /// An attempt that had lost its key wanted to finish.
    Superseded,
    /// It is not known whether the work took effect: an attempt says so, or somebody is told.
    Unknown,
    /// One of the stores could not take part, or none could decide.
    Degraded,
}

/// How often each thing happened in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// First attempts.
    pub fresh: u64,
    /// Repetitions that got the result.
    pub replay: u64,
    /// Callers who came while another was at work.
    pub conflict: u64,
    /// Keys that came with another request.
    pub mismatch: u64,
    /// Attempts that took over one which had ended without a word.
    pub takeover: u64,
    /// Attempts that had lost their key and wanted to finish.
    pub superseded: u64,
    /// Attempts and answers that do not know whether the work took effect.
    pub unknown: u64,
    /// Calls in which a store did not take part, or none decided.
    pub degraded: u64,
}

/// Counts, and tells CloudWatch and the log.
pub(super) struct Counters {
    metrics: Metrics,
    counts: [AtomicU64; Event::ALL.len()],
}

impl Counters {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            counts: Default::default(),
        }
    }

    pub(super) fn count(&self, event: Event, key: &RecordKey) {
        self.counts[event as usize].fetch_add(1, Ordering::Relaxed);
        let one = Metric {
            name: "IdempotentCalls",
            unit: Unit::Count,
            value: 1.0,
        };
        self.metrics.record(("outcome", event.name()), &[one]);
        let outcome = event.name();
        // The hash is taken only where the line is written.
        match event {
            Event::Fresh | Event::Replay => {
                debug!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "idempotent call");
            }
            Event::Conflict | Event::Mismatch => {
                info!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "idempotent call");
            }
            Event::Takeover | Event::Superseded | Event::Unknown | Event::Degraded => {
                warn!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "idempotent call");
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let of = |event: Event| self.counts[event as usize].load(Ordering::Relaxed);
        Counts {
            fresh: of(Event::Fresh),
            replay: of(Event::Replay),
            conflict: of(Event::Conflict),
            mismatch: of(Event::Mismatch),
            takeover: of(Event::Takeover),
            superseded: of(Event::Superseded),
            unknown: of(Event::Unknown),
            degraded: of(Event::Degraded),
        }
    }
}

impl Event {
    const ALL: [Self; 8] = [
        Self::Fresh,
        Self::Replay,
        Self::Conflict,
        Self::Mismatch,
        Self::Takeover,
        Self::Superseded,
        Self::Unknown,
        Self::Degraded,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Replay => "replay",
            Self::Conflict => "conflict",
            Self::Mismatch => "mismatch",
            Self::Takeover => "takeover",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
        }
    }
}
