//! Counts how often the work of one key runs twice during a fault. A client without an answer retries, as it must, and a counter
//! of executions (the till) counts.
//!
//! Processes are treated as on Lambda: one without an answer at its timeout is killed, and the next request starts another one.

mod trial;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use self::trial::{LAST_PATIENCE, PATIENCE, Trial, trial};
use super::progress;
use crate::contestant::Contestant;
use crate::section::Section;
use crate::stage::Stage;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Redis is flushed after the answer.
    Flush,
    /// The process is frozen during its work for longer than its lease, then thawed: a stalled host, which Lambda's timeout does
    /// not end.
    Freeze,
    /// The result is stored, and the store's reply is lost.
    LostReply,
    /// No store is reachable when the result is to be stored.
    LostCompletion,
    /// The process is killed during its work.
    Kill,
}

/// The number of contestants with concurrent trials. Their processes mostly wait.
const AT_A_TIME: usize = 2;

/// The contestant that runs every retry.
const BARE: &str = "bare";

/// What each library promises about the faults in the table.
const PROMISES: [&str; 4] = [
    "Ours, under `AtMostOnce`: at most one execution whatever fails where MongoDB decides; with Redis alone, as long as Redis keeps its \
     data, so a flush is outside of what it promises. An attempt that ends without a word leaves its key *unknown* until somebody \
     settles it: that is not a double, and a repetition has no answer either (\"open\").",
    "Crate `idempotent`: \"If the process dies after the side effect ran but before the completion was stored, the retry runs the side \
     effect again\"; claims expire after the lease that its caller chooses, here the time of the invocation.",
    "Powertools: a claim expires with the time of its invocation, and the next request then runs again, so work whose attempt died may \
     run twice; what its documentation says is in `bench/contestants/README.md`.",
    "Bare: every repetition runs. It is here to show that the till counts.",
];

impl Fault {
    const ALL: [Self; 5] = [
        Self::Flush,
        Self::Freeze,
        Self::LostReply,
        Self::LostCompletion,
        Self::Kill,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Flush => "Redis flushed after completion",
            Self::Freeze => "frozen past its lease, thawed",
            Self::LostReply => "reply to the completion lost",
            Self::LostCompletion => "stores unreachable at completion",
            Self::Kill => "killed while it works",
        }
    }
}

/// All trials, by contestant and fault.
type Found = BTreeMap<(&'static str, Fault), Vec<Trial>>;

pub(super) async fn measure(stage: &Stage) -> Section {
    let trials = stage.settings.trials;
    // Processes without a shared store cannot replace each other.
    let mut struck = stage.present.clone();
    struck.retain(|contestant| contestant.store.is_shared() || contestant.name == BARE);
    let mut found = Found::new();
    for number in 1..=trials {
        for some in struck.chunks(AT_A_TIME) {
            let names: Vec<_> = some.iter().map(|contestant| contestant.name).collect();
            progress(&format!("{number} of {trials}: {}", names.join(", ")));
            let pairs = some
                .iter()
                .flat_map(|contestant| Fault::ALL.map(|fault| (*contestant, fault)));
            let trials = pairs.map(async |(contestant, fault)| {
                let trial = trial(stage, contestant, fault).await;
                ((contestant.name, fault), trial)
            });
            for (key, trial) in join_all(trials).await {
                found.entry(key).or_default().push(trial);
            }
        }
    }
    section(trials, &struck, &found)
}

fn section(trials: usize, struck: &[&'static Contestant], found: &Found) -> Section {
    let mut section = Section::new("faults", "What runs twice");
    section.notes.push(format!(
        "Keys whose work ran more than once, of {trials} for each fault. In brackets what else went wrong: two different results told for \
         one key, or repetitions for {} s (after a thaw {} s), of which the last one was not answered with a result (open). Where MongoDB \
         decides, it is as lost as Redis.",
        PATIENCE.as_secs(),
        LAST_PATIENCE.as_secs()
    ));
    section
        .notes
        .extend(PROMISES.map(|promise| format!("- {promise}")));
    section.columns(&format!(" | {}", Fault::ALL.map(Fault::name).join(" | ")));
    for contestant in struck {
        let (mut cells, mut faults) = (Vec::new(), Map::new());
        for fault in Fault::ALL {
            let all = &found[&(contestant.name, fault)];
            let what = format!("{}, {}", contestant.name, fault.name());
            hold(
                &mut section,
                &what,
                all,
                expected(contestant.name, fault, trials),
            );
            let count = Count::of(all);
            cells.push(count.in_words());
            faults.insert(fault.name().to_owned(), count.to_json(all));
        }
        let (title, name) = (contestant.title, contestant.name);
        section.row((title, name), &cells.join(" | "), faults.into());
    }
    section
}

fn hold(section: &mut Section, what: &str, all: &[Trial], expected: Option<usize>) {
    let ran = all.iter().all(|trial| trial.executions > 0);
    section.hold_that(ran, &format!("{what}: the work ran"));
    let has_struck = all.iter().all(|trial| trial.has_struck);
    section.hold_that(has_struck, &format!("{what}: the fault struck"));
    if let Some(expected) = expected {
        let doubles = Count::of(all).doubles;
        section.hold(&format!("{what}: doubles"), doubles as f64, expected as f64);
    }
}

/// The number of trials with each result.
struct Count {
    doubles: usize,
    two_results: usize,
    open: usize,
}

impl Count {
    fn of(all: &[Trial]) -> Self {
        let count = |is_so: fn(&Trial) -> bool| all.iter().filter(|trial| is_so(trial)).count();
        Self {
            doubles: count(|trial| trial.executions > 1),
            two_results: count(|trial| trial.answers > 1),
            open: count(|trial| !trial.is_settled),
        }
    }

    fn in_words(&self) -> String {
        let beside = [(self.two_results, "two results"), (self.open, "open")];
        let beside = beside.into_iter().filter(|(count, _)| *count > 0);
        let beside: Vec<_> = beside
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match beside.as_slice() {
            [] => self.doubles.to_string(),
            beside => format!("{} ({})", self.doubles, beside.join(", ")),
        }
    }

    fn to_json(&self, all: &[Trial]) -> Value {
        let executions: Value = all.iter().map(|trial| trial.executions).collect();
        json!({
            "trials": all.len(),
            "executions": executions,
            "doubles": self.doubles,
            "two_results": self.two_results,
            "open": self.open,
        })
    }
}

/// The number of keys that must run twice: none for this library if it promises so, all for bare.
fn expected(name: &str, fault: Fault, trials: usize) -> Option<usize> {
    match name {
        BARE => Some(trials),
        "ours-tiered" => Some(0),
        "ours-redis" if fault != Fault::Flush => Some(0),
        _ => None,
    }
}
