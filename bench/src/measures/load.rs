//! Measures throughput and latency with several calls in flight.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use harness::Lambda;
use serde_json::{Map, json};

use super::{floor, progress};
use crate::calls::in_turn;
use crate::contestant::Contestant;
use crate::order::{Order, USUAL_PAD_BYTES, answer};
use crate::samples::{Samples, number, percentile};
use crate::section::Section;
use crate::stage::{Around, Stage};

/// The program under load, and the assignment of calls to processes.
#[derive(Clone, Copy, PartialEq)]
enum Candidate {
    /// Processes that answer at once.
    Floor,
    /// One process per call in flight, as on Lambda.
    Processes(&'static Contestant),
    /// One process for all calls, as on Lambda Managed Instances.
    OneProcess(&'static Contestant),
}

/// The results, by the name of the candidate, the number of calls in flight and the measured quantity.
type Measured = Samples<(String, usize, &'static str)>;

/// The number of unmeasured first calls of each process.
const CALLS_TO_WARM_UP: usize = 50;
/// The contestants that also run in one process: ours without idempotency, and ours with idempotency.
const IN_ONE_PROCESS: [&str; 2] = ["ours-off", "ours-redis"];
/// The number of processes that start at a time.
const STARTS_AT_A_TIME: usize = 4;
/// The names of the measured quantities.
const WHAT: [&str; 3] = ["calls_per_second", "p50_us", "p99_us"];

pub(super) async fn measure(stage: &Stage) -> Section {
    let present = stage.present.iter().copied();
    let in_one_process = |contestant: &&Contestant| IN_ONE_PROCESS.contains(&contestant.name);
    let alone = present.clone().filter(in_one_process);
    let candidates = present
        .map(Candidate::Processes)
        .chain(alone.map(Candidate::OneProcess));
    let candidates: Vec<_> = std::iter::once(Candidate::Floor)
        .chain(candidates)
        .collect();
    let rounds = stage.settings.load_rounds;
    let mut measured = Measured::default();
    for &in_flight in &stage.settings.in_flight {
        for round in 1..=rounds {
            for candidate in in_turn(&candidates, round) {
                if in_flight == 1 && matches!(candidate, Candidate::OneProcess(_)) {
                    // With one call in flight, `Processes` also starts only one process, so a second measurement would show
                    // nothing new.
                    continue;
                }
                let name = candidate.name();
                progress(&format!(
                    "{in_flight} in flight, round {round} of {rounds}: {name}"
                ));
                stage.empty_stores().await;
                let (took, per_second) = candidate.run(stage, in_flight).await;
                let [p50, p99] = [0.5, 0.99].map(|part| percentile(&took, part));
                for (what, value) in WHAT.into_iter().zip([per_second, p50, p99]) {
                    measured.add((name.clone(), in_flight, what), value);
                }
            }
        }
    }
    section(stage, &candidates, &measured)
}

fn section(stage: &Stage, candidates: &[Candidate], measured: &Measured) -> Section {
    let mut section = Section::new("load", "Under load");
    section.notes.push(format!(
        "Fresh calls, several in flight, with one process per call as on Lambda. {} calls of all processes together, median of \
         {} rounds (least–most). The benchmark (one thread), the processes and Redis share the machine's cores. The first row \
         is the benchmark with processes that answer at once: no contestant can be faster. × is the ratio to bare, or in one \
         process to ours without idempotency in one process, round by round. Before a round each process gets \
         {CALLS_TO_WARM_UP} calls, after which an interpreter is not yet at its full speed.",
        stage.settings.load_calls, stage.settings.load_rounds
    ));
    let columns = stage.settings.in_flight.iter();
    let columns =
        columns.map(|count| format!(" | {count} in flight: calls/s | × | p50 µs | p99 µs"));
    section.columns(&columns.collect::<String>());
    for candidate in candidates {
        let (name, beside) = (candidate.name(), candidate.beside());
        let (mut cells, mut numbers) = (Vec::new(), Map::new());
        for &in_flight in &stage.settings.in_flight {
            let found = WHAT.map(|what| measured.spread((name.clone(), in_flight, what)));
            let [Some(per_second), Some(p50), Some(p99)] = found else {
                cells.push(" |  |  | ".to_owned());
                continue;
            };
            let rate = |of: &str| (of.to_owned(), in_flight, WHAT[0]);
            let times = measured.times(rate(&name), rate(&beside));
            let rate_times = number(times.median);
            cells.push(format!("{per_second} | {rate_times} | {p50} | {p99}"));
            let found = json!({
                "times_beside": times,
                "calls_per_second": per_second,
                "p50_us": p50,
                "p99_us": p99,
            });
            numbers.insert(in_flight.to_string(), found);
        }
        section.row(
            (&candidate.title(), &name),
            &cells.join(" | "),
            numbers.into(),
        );
    }
    section
}

impl Candidate {
    fn name(self) -> String {
        match self {
            Self::Floor => "benchmark-alone".to_owned(),
            Self::Processes(contestant) => contestant.name.to_owned(),
            Self::OneProcess(contestant) => format!("{}-one-process", contestant.name),
        }
    }

    fn title(self) -> String {
        match self {
            Self::Floor => "the benchmark alone".to_owned(),
            Self::Processes(contestant) => contestant.title.to_owned(),
            Self::OneProcess(contestant) => format!("{}, one process", contestant.title),
        }
    }

    /// The name of the candidate with which this candidate is compared.
    fn beside(self) -> String {
        match self {
            Self::OneProcess(_) => "ours-off-one-process".to_owned(),
            _ => "bare".to_owned(),
        }
    }

    /// Starts the processes, sends a round of calls and ends the processes. Returns the latencies and the calls per second.
    async fn run(self, stage: &Stage, in_flight: usize) -> (Vec<Duration>, f64) {
        let processes = match self {
            Self::OneProcess(_) => 1,
            _ => in_flight,
        };
        let started = stream::iter(0..processes).map(|_| self.start(stage, in_flight));
        let processes: Vec<_> = started.buffered(STARTS_AT_A_TIME).collect().await;
        let calls = stage.settings.load_calls;
        let calls_to_warm_up = (CALLS_TO_WARM_UP * processes.len()).min(calls);
        send(&processes, in_flight, calls_to_warm_up).await;
        let began = Instant::now();
        let took = send(&processes, in_flight, calls).await;
        let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
        (took, per_second)
    }

    async fn start(self, stage: &Stage, in_flight: usize) -> Lambda {
        let mut around = Around::default();
        match self {
            Self::Floor => floor().await,
            Self::Processes(contestant) => stage.start(contestant, around).await,
            Self::OneProcess(contestant) => {
                around.concurrency = in_flight;
                stage.start(contestant, around).await
            }
        }
    }
}

/// Sends calls to the processes in turn. Each sender sends its next call when it has an answer, until no call is left.
async fn send(processes: &[Lambda], in_flight: usize, calls: usize) -> Vec<Duration> {
    let left = Cell::new(calls);
    let senders = (0..in_flight).map(async |number| {
        let process = &processes[number % processes.len()];
        let mut took = Vec::new();
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let answer = answer(process, Order::fresh(USUAL_PAD_BYTES).event()).await;
            let answer = answer.unwrap_or_else(|why| panic!("under load: {why}"));
            assert_eq!(answer.status, 201, "under load: {}", answer.body);
            took.push(answer.took);
        }
        took
    });
    join_all(senders).await.concat()
}
