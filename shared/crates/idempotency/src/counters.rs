//! Counts and logs the events of keys. A log line contains only the hash of a key.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use telemetry::metrics::{Metric, Metrics, Unit};
use tracing::{debug, info, warn};

use super::RecordKey;

/// An event of a key that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A claim succeeded, and was not a takeover.
    Fresh,
    /// A retry received the stored result.
    Replay,
    /// A claim was blocked by a running attempt.
    Conflict,
    /// A claim was blocked, because the key belongs to another request.
    Mismatch,
    /// An attempt took over from an abandoned attempt.
    Takeover,
    /// An attempt tried to write after it had lost its key.
    Superseded,
    /// An attempt marked its outcome as unknown, or a claim was blocked by an unknown outcome.
    Unknown,
    /// A configured store did not take part in a call, or the call returned a store error.
    Degraded,
}

/// How many events of each kind have happened in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Claims that succeeded, and were not takeovers.
    pub fresh: u64,
    /// Retries that received the stored result.
    pub replay: u64,
    /// Claims that were blocked by a running attempt.
    pub conflict: u64,
    /// Claims that were blocked, because the key belongs to another request.
    pub mismatch: u64,
    /// Attempts that took over from an abandoned attempt.
    pub takeover: u64,
    /// Attempts that tried to write after they had lost their key.
    pub superseded: u64,
    /// Attempts that marked their outcome as unknown, and claims that were blocked by an unknown outcome.
    pub unknown: u64,
    /// Calls in which a configured store did not take part, or which returned a store error.
    pub degraded: u64,
}

/// Counts events, and reports them to CloudWatch and the log.
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
        // The key is hashed only if the line is logged.
        match event {
            Event::Fresh | Event::Replay => {
                debug!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "idempotent call");
            }
            Event::Conflict | Event::Mismatch => {
                info!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "idempotent call");
            }
            Event::Takeover => {
                warn!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "an attempt took over a key whose earlier attempt was abandoned or has an unknown outcome");
            }
            Event::Superseded => {
                warn!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "an attempt tried to write after it had lost its key, usually to a takeover; the write was rejected");
            }
            Event::Unknown => {
                warn!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "the outcome of a request is unknown; do not repeat it under another key");
            }
            Event::Degraded => {
                warn!(idempotency.outcome = outcome, idempotency.key_hash = %key.hash(), "a configured idempotency store did not take part, or the authoritative store did not answer in time");
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
