//! Counts how often the work of one key runs twice during a fault. A client that gets no answer retries, as real clients must,
//! and a server counts the executions.
//!
//! Processes are treated as on Lambda: a process that has not answered at its timeout is killed, and the next request goes to
//! another process.

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
    /// The process is frozen during its work for longer than its lease, then thawed. This simulates a stalled host: Lambda's
    /// timeout does not end the process.
    Freeze,
    /// The result is stored, and the store's reply is lost.
    LostReply,
    /// No store is reachable when the process stores the result.
    LostCompletion,
    /// The process is killed during its work.
    Kill,
}

/// The number of contestants whose trials run concurrently. More than one is possible because the processes mostly wait.
const AT_A_TIME: usize = 2;

/// The contestant that does the work again at every retry.
const BARE: &str = "bare";

/// What each library promises about the faults in the table.
const PROMISES: [&str; 4] = [
    "Ours, under `AtMostOnce`: at most one execution during any fault with MongoDB. With Redis alone this holds as long \
     as Redis keeps its data, which excludes a flush. After an abandoned attempt its key stays *unknown* until it is resolved: \
     that is no double execution, but a retry gets no result (\"open\").",
    "Crate `idempotent`: \"If the process dies after the side effect ran but before the completion was stored, the retry runs the side \
     effect again\"; claims expire after the caller's lease, here the timeout of the invocation.",
    "Powertools: a claim expires with its invocation's timeout, and the next request runs again, so abandoned work may run \
     twice. `bench/contestants/README.md` has its documented promises.",
    "Bare: every retry runs, which shows that executions are counted.",
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
    // In most faults another process answers the retries. So both processes must share the store.
    let mut participants = stage.present.clone();
    participants.retain(|contestant| contestant.store.is_shared() || contestant.name == BARE);
    let mut found = Found::new();
    for number in 1..=trials {
        for some in participants.chunks(AT_A_TIME) {
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
    section(trials, &participants, &found)
}

fn section(trials: usize, participants: &[&'static Contestant], found: &Found) -> Section {
    let mut section = Section::new("faults", "What runs twice");
    section.notes.push(format!(
        "Keys whose work ran more than once, of {trials} for each fault. In parentheses other violations: two different \
         results of one key, or no result after retries for {} s (after a thaw {} s, open). With MongoDB configured, MongoDB becomes unreachable and loses replies in the same way as Redis.",
        PATIENCE.as_secs(),
        LAST_PATIENCE.as_secs()
    ));
    section
        .notes
        .extend(PROMISES.map(|promise| format!("- {promise}")));
    section.columns(&format!(" | {}", Fault::ALL.map(Fault::name).join(" | ")));
    for contestant in participants {
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
    let took_effect = all.iter().all(|trial| trial.took_effect);
    section.hold_that(took_effect, &format!("{what}: the fault took effect"));
    if let Some(expected) = expected {
        let doubles = Count::of(all).doubles;
        section.hold(&format!("{what}: doubles"), doubles as f64, expected as f64);
    }
}

/// The number of trials with each result.
struct Count {
    /// The trials in which the work ran more than once.
    doubles: usize,
    /// The trials in which the client got different results.
    two_results: usize,
    /// The trials in which the last retry got no result.
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

/// The expected number of keys whose work runs twice; `None` if every number is accepted. For ours it is 0 if ours promises at
/// most one execution during this fault. For bare it is the number of trials.
fn expected(name: &str, fault: Fault, trials: usize) -> Option<usize> {
    match name {
        BARE => Some(trials),
        "ours-tiered" => Some(0),
        "ours-redis" if fault != Fault::Flush => Some(0),
        _ => None,
    }
}
