//! How many calls are done in a second, and how long does each take, with several on their way?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::progress;
use crate::contestant::{ALL, Contestant};
use crate::function::Function;
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::report::Section;
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

const CALLS_TO_WARM_UP: usize = 3;

pub(super) async fn measure(stage: &Stage) -> Section {
    let mut candidates: Vec<_> = stage
        .present
        .iter()
        .map(|contestant| Candidate::new(contestant, Manner::Processes))
        .collect();
    let ours = ALL
        .iter()
        .find(|contestant| contestant.name == "ours-redis");
    candidates.extend(ours.map(|ours| Candidate::new(ours, Manner::OneProcess)));
    let rounds = stage.settings.load_rounds;
    for &in_flight in &stage.settings.in_flight {
        for round in 1..=rounds {
            for candidate in &mut candidates {
                progress(&format!(
                    "{in_flight} in flight, round {round} of {rounds}: {}",
                    candidate.title()
                ));
                candidate.run(stage, in_flight).await;
            }
        }
    }

    let mut section = Section::new("load", "Under load");
    section.notes.push(format!(
        "Fresh calls, each on its way before another one is answered; a process for each, as Lambda has it. {} calls of all processes \
         together, median of {rounds} rounds (least–most). The benchmark, the processes and Redis share the machine's cores.",
        stage.settings.load_calls
    ));
    section.columns = vec![String::new()];
    for in_flight in &stage.settings.in_flight {
        section
            .columns
            .push(format!("{in_flight} in flight: calls/s"));
        section
            .columns
            .extend(["× bare", "p50 µs", "p99 µs"].map(str::to_owned));
    }
    let mut data = Map::new();
    for candidate in &candidates {
        let mut cells = vec![candidate.title()];
        for (in_flight, measured) in &candidate.measured {
            let bare = &candidates[0].measured[in_flight];
            let times = ratios(&measured.calls_per_second, &bare.calls_per_second);
            cells.push(Spread::of(&measured.calls_per_second).in_words());
            cells.push(number(Spread::of(&times).median));
            cells.push(Spread::of(&measured.p50_us).in_words());
            cells.push(Spread::of(&measured.p99_us).in_words());
        }
        section.rows.push(cells);
        data.insert(candidate.name(), candidate.numbers());
    }
    section.data = data.into();
    section
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
        let started = (0..processes).map(|_| stage.start(self.contestant, around));
        let functions: Vec<Function> = join_all(started)
            .await
            .into_iter()
            .map(|started| started.unwrap_or_else(|why| panic!("{why}")))
            .collect();
        send(&functions, in_flight, CALLS_TO_WARM_UP).await;
        let calls = (stage.settings.load_calls / in_flight).max(1);
        let began = Instant::now();
        let took = send(&functions, in_flight, calls).await;
        let per_second = took.len() as f64 / began.elapsed().as_secs_f64();

        let measured = self.measured.entry(in_flight).or_default();
        measured.calls_per_second.push(per_second);
        measured.p50_us.push(percentile(&took, 0.5));
        measured.p99_us.push(percentile(&took, 0.99));
    }

    fn numbers(&self) -> Value {
        let steps = self.measured.iter().map(|(in_flight, measured)| {
            let numbers = json!({
                "calls_per_second": Spread::of(&measured.calls_per_second).to_json(),
                "p50_us": Spread::of(&measured.p50_us).to_json(),
                "p99_us": Spread::of(&measured.p99_us).to_json(),
            });
            (in_flight.to_string(), numbers)
        });
        steps.collect::<Map<_, _>>().into()
    }
}

/// Sends so many calls for each that may be on its way, one behind the other, to the processes in turn.
async fn send(functions: &[Function], in_flight: usize, calls: usize) -> Vec<Duration> {
    let senders = (0..in_flight).map(async |number| {
        let function = &functions[number % functions.len()];
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let answer = function.send(&Order::fresh(USUAL_PAD_BYTES)).await;
            assert_eq!(answer.status, 201, "under load: {}", answer.body);
            took.push(answer.took);
        }
        took
    });
    join_all(senders).await.concat()
}
