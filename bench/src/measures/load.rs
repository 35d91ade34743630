//! How many calls are done in a second, and how long does each take, with several on their way?

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};

use super::progress;
use crate::contestant::Contestant;
use crate::crew::in_turn;
use crate::function::Function;
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::report::Section;
use crate::runtime_api;
use crate::sample::{Spread, number, percentile, ratios};
use crate::stage::{Around, Stage};

/// How calls meet processes.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// A process for each call on its way, as Lambda has it.
    Processes,
    /// One process takes them all, as Lambda Managed Instances have it.
    OneProcess,
}

/// A contestant under load, by the number of calls on their way.
struct Candidate {
    contestant: &'static Contestant,
    manner: Manner,
    measured: BTreeMap<usize, Measured>,
}

/// Round by round.
#[derive(Default)]
struct Measured {
    calls_per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

/// Calls of each process before those that count, however many processes there are.
const CALLS_TO_WARM_UP: usize = 50;
/// Those that are tried in one process too: the floor there, and what idempotency makes of it.
const IN_ONE_PROCESS: [&str; 2] = ["ours-off", "ours-redis"];
/// How many processes start at a time.
const STARTS_AT_A_TIME: usize = 4;

pub(super) async fn measure(stage: &Stage) -> Section {
    let present = stage.present.iter();
    let mut candidates: Vec<_> = present
        .clone()
        .map(|contestant| Candidate::new(contestant, Manner::Processes))
        .collect();
    let alone = present.filter(|contestant| IN_ONE_PROCESS.contains(&contestant.name));
    candidates.extend(alone.map(|ours| Candidate::new(ours, Manner::OneProcess)));
    let rounds = stage.settings.load_rounds;
    let mut harness = BTreeMap::<_, Measured>::new();
    for &in_flight in &stage.settings.in_flight {
        for round in 1..=rounds {
            let (took, per_second) = measured_harness(stage, in_flight).await;
            harness.entry(in_flight).or_default().add(&took, per_second);
            for candidate in in_turn(&mut candidates, round) {
                if candidate.manner == Manner::OneProcess && in_flight == 1 {
                    // Nothing else than a process for each call.
                    continue;
                }
                progress(&format!(
                    "{in_flight} in flight, round {round} of {rounds}: {}",
                    candidate.title()
                ));
                stage.empty_stores().await;
                candidate.run(stage, in_flight).await;
            }
        }
    }

    section(stage, &candidates, &harness)
}

fn section(
    stage: &Stage,
    candidates: &[Candidate],
    harness: &BTreeMap<usize, Measured>,
) -> Section {
    let mut section = Section::new("load", "Under load");
    section.notes.push(format!(
        "Fresh calls, each on its way before another one is answered; a process for each, as Lambda has it. {} calls of all processes \
         together, median of {} rounds (least–most). The benchmark, which is one thread, the processes and Redis share the machine's cores. \
         The first row is the benchmark alone, with clients that answer at once: nobody can be faster. × is beside bare, in one process \
         beside ours without idempotency in one process, round by round. Before a round each process is sent {CALLS_TO_WARM_UP} calls, \
         after which an interpreter is not yet as fast as it gets.",
        stage.settings.load_calls, stage.settings.load_rounds
    ));
    section.columns = vec![String::new()];
    for in_flight in &stage.settings.in_flight {
        section
            .columns
            .push(format!("{in_flight} in flight: calls/s"));
        section
            .columns
            .extend(["×", "p50 µs", "p99 µs"].map(str::to_owned));
    }
    let bare = &candidates[0].measured;
    let alone = candidates
        .iter()
        .find(|candidate| candidate.manner == Manner::OneProcess);
    let alone = alone.map_or(bare, |alone| &alone.measured);
    let cells = |title: String,
                 measured: &BTreeMap<usize, Measured>,
                 beside: &BTreeMap<usize, Measured>| {
        let mut cells = vec![title];
        for in_flight in &stage.settings.in_flight {
            match measured.get(in_flight) {
                Some(measured) => cells.extend(measured.in_words(&beside[in_flight])),
                None => cells.extend(["", "", "", ""].map(str::to_owned)),
            }
        }
        cells
    };
    section
        .rows
        .push(cells("the benchmark alone".to_owned(), harness, bare));
    let mut data = Map::new();
    data.insert("benchmark-alone".to_owned(), numbers(harness, bare));
    for candidate in candidates {
        // In one process, beside the same program without idempotency in one process.
        let beside = match candidate.manner {
            Manner::Processes => bare,
            Manner::OneProcess => alone,
        };
        let row = cells(candidate.title(), &candidate.measured, beside);
        section.rows.push(row);
        data.insert(candidate.name(), numbers(&candidate.measured, beside));
    }
    section.data = data.into();
    section
}

impl Measured {
    fn add(&mut self, took: &[Duration], per_second: f64) {
        self.calls_per_second.push(per_second);
        self.p50_us.push(percentile(took, 0.5));
        self.p99_us.push(percentile(took, 0.99));
    }

    fn in_words(&self, bare: &Self) -> [String; 4] {
        let times = ratios(&self.calls_per_second, &bare.calls_per_second);
        [
            Spread::of(&self.calls_per_second).in_words(),
            number(Spread::of(&times).median),
            Spread::of(&self.p50_us).in_words(),
            Spread::of(&self.p99_us).in_words(),
        ]
    }
}

fn numbers(measured: &BTreeMap<usize, Measured>, beside: &BTreeMap<usize, Measured>) -> Value {
    let steps = measured.iter().map(|(in_flight, measured)| {
        let times = ratios(
            &measured.calls_per_second,
            &beside[in_flight].calls_per_second,
        );
        let numbers = json!({
            "times_beside": Spread::of(&times).to_json(),
            "calls_per_second": Spread::of(&measured.calls_per_second).to_json(),
            "p50_us": Spread::of(&measured.p50_us).to_json(),
            "p99_us": Spread::of(&measured.p99_us).to_json(),
        });
        (in_flight.to_string(), numbers)
    });
    steps.collect::<Map<_, _>>().into()
}

/// What the benchmark itself can do.
async fn measured_harness(stage: &Stage, in_flight: usize) -> (Vec<Duration>, f64) {
    let event = Order::fresh(USUAL_PAD_BYTES).event();
    let calls = (stage.settings.load_calls / in_flight).max(1);
    let began = Instant::now();
    let clients = (0..in_flight).map(|_| runtime_api::overhead(&event, calls));
    let took = join_all(clients).await.concat();
    let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
    (took, per_second)
}

impl Candidate {
    fn new(contestant: &'static Contestant, manner: Manner) -> Self {
        Self {
            contestant,
            manner,
            measured: BTreeMap::new(),
        }
    }

    fn name(&self) -> String {
        match self.manner {
            Manner::Processes => self.contestant.name.to_owned(),
            Manner::OneProcess => format!("{}-one-process", self.contestant.name),
        }
    }

    fn title(&self) -> String {
        match self.manner {
            Manner::Processes => self.contestant.title.to_owned(),
            Manner::OneProcess => format!("{}, one process", self.contestant.title),
        }
    }

    /// Starts its processes, sends a round of calls, and ends them.
    async fn run(&mut self, stage: &Stage, in_flight: usize) {
        let (processes, concurrency) = match self.manner {
            Manner::Processes => (in_flight, 1),
            Manner::OneProcess => (1, in_flight),
        };
        let around = Around {
            concurrency,
            ..Around::default()
        };
        let started = stream::iter(0..processes)
            .map(|_| stage.start(self.contestant, around))
            .buffered(STARTS_AT_A_TIME);
        let functions: Result<Vec<Function>, String> = started.try_collect().await;
        let functions = functions.unwrap_or_else(|why| panic!("{why}"));
        let calls_to_warm_up = (CALLS_TO_WARM_UP * processes).min(stage.settings.load_calls);
        send(&functions, in_flight, calls_to_warm_up).await;
        let began = Instant::now();
        let took = send(&functions, in_flight, stage.settings.load_calls).await;
        let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
        let measured = self.measured.entry(in_flight).or_default();
        measured.add(&took, per_second);
    }
}

/// Sends so many calls to the processes in turn. Whoever has its answer sends the next one, until none is left.
async fn send(functions: &[Function], in_flight: usize, calls: usize) -> Vec<Duration> {
    let left = Cell::new(calls);
    let senders = (0..in_flight).map(async |number| {
        let function = &functions[number % functions.len()];
        let mut took = Vec::new();
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let answer = function.send(&Order::fresh(USUAL_PAD_BYTES)).await;
            assert_eq!(answer.status, 201, "under load: {}", answer.body);
            took.push(answer.took);
        }
        took
    });
    join_all(senders).await.concat()
}
