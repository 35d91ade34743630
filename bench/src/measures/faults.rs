//! How often does the work of one key run twice when something fails? A client that heard nothing sends its request again, as it
//! has to; a till counts the executions.
//!
//! The process is treated as Lambda treats it: what has not answered when its time is over is killed, and the next request starts
//! another one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tests::{FaultProxy, RedisServer};

use super::progress;
use crate::contestant::{Contestant, Store};
use crate::function::{self, Answer, Function};
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::report::Section;
use crate::stage::{Around, Stage};
use crate::till::Till;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Redis forgets everything after the answer.
    Flush,
    /// The process stands still while it works, for longer than its claim lasts, and then goes on: a host that stalls, which
    /// Lambda's time limit does not reach.
    Freeze,
    /// The result is stored, and the reply of the store that says so is lost.
    LostReply,
    /// No store can be reached when the result is to be stored.
    LostCompletion,
    /// The process is killed while it works.
    Kill,
}

/// What became of one key.
struct Trial {
    executions: usize,
    /// Different answers that say "done".
    answers: usize,
    /// Whether the last repetition was answered with a result.
    is_settled: bool,
    /// Whether the fault met what it is about.
    has_struck: bool,
}

/// Somebody who wants one thing, and the process that takes the requests.
struct Client<'a> {
    stage: &'a Stage,
    contestant: &'a Contestant,
    ground: &'a Ground,
    order: Order,
    /// `None`: the next request starts one.
    function: Option<Function>,
    /// The different answers that said "done".
    told: BTreeSet<String>,
}

/// What a trial has for itself, so that several can take place at a time.
struct Ground {
    redis: RedisServer,
    till: Till,
    /// The ways of the first process to its stores, where faults strike.
    to_redis: FaultProxy,
    /// Where nobody needs it, it leads nowhere.
    to_mongo: FaultProxy,
}

/// The time of an invocation, and so how long a claim lasts; ours last two seconds longer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much later than Lambda the benchmark kills: a process that is about to answer is not cut off for the machine's slowness.
const GRACE: Duration = Duration::from_secs(1);
/// For how long a client repeats itself: longer than the longest claim, and again when all claims are over.
const PATIENCE: Duration = Duration::from_secs(8);
const LAST_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);
/// How many contestants are struck at a time: all their processes wait most of the time.
const AT_A_TIME: usize = 2;

/// The one that runs everything again.
const BARE: &str = "bare";

/// What each says of itself, where it bears on the table.
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

/// All trials, by who and what.
type Found = BTreeMap<(&'static str, Fault), Vec<Trial>>;

pub(super) async fn measure(stage: &Stage) -> Section {
    let trials = stage.settings.trials;
    // Processes that share nothing cannot stand in for one another.
    let struck = stage.present.iter().copied();
    let struck =
        struck.filter(|contestant| contestant.store.is_shared() || contestant.name == BARE);
    let struck: Vec<_> = struck.collect();
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
         one key, or repetitions for {} s (after a thaw {} s), of which the last one was not answered with a result (open). Where MongoDB decides, it is \
         as lost as Redis.",
        PATIENCE.as_secs(),
        LAST_PATIENCE.as_secs()
    ));
    section
        .notes
        .extend(PROMISES.map(|promise| format!("- {promise}")));
    section.columns = vec![String::new()];
    section
        .columns
        .extend(Fault::ALL.map(|fault| fault.name().to_owned()));
    let mut data = Map::new();
    for contestant in struck {
        let mut cells = vec![contestant.title.to_owned()];
        let mut faults = Map::new();
        for fault in Fault::ALL {
            let all = &found[&(contestant.name, fault)];
            let what = format!("{}, {}", contestant.name, fault.name());
            hold(&mut section, &what, all, expected(contestant.name, fault));
            let count = Count::of(all);
            cells.push(count.in_words());
            faults.insert(fault.name().to_owned(), count.to_json(all));
        }
        section.rows.push(cells);
        data.insert(contestant.name.to_owned(), faults.into());
    }
    section.data = data.into();
    section
}

fn hold(section: &mut Section, what: &str, all: &[Trial], expected: Option<Doubles>) {
    let ran = all.iter().all(|trial| trial.executions > 0);
    section.hold_that(ran, &format!("{what}: the work ran"));
    let has_struck = all.iter().all(|trial| trial.has_struck);
    section.hold_that(has_struck, &format!("{what}: the fault struck"));
    let expected = match expected {
        Some(Doubles::None) => 0,
        Some(Doubles::All) => all.len(),
        None => return,
    };
    let doubles = Count::of(all).doubles;
    section.hold(&format!("{what}: doubles"), doubles as f64, expected as f64);
}

/// What went wrong in how many trials.
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

/// How many keys have to run twice.
enum Doubles {
    None,
    All,
}

/// Ours runs nothing twice where it promises that, bare everything.
fn expected(name: &str, fault: Fault) -> Option<Doubles> {
    match name {
        BARE => Some(Doubles::All),
        "ours-tiered" => Some(Doubles::None),
        "ours-redis" if fault != Fault::Flush => Some(Doubles::None),
        _ => None,
    }
}

/// Lets one client want one thing while something goes wrong.
async fn trial(stage: &Stage, contestant: &Contestant, fault: Fault) -> Trial {
    let redis = RedisServer::start().await;
    let ground = Ground {
        to_redis: FaultProxy::in_front_of(redis.address()),
        to_mongo: match stage.mongo_server() {
            Some(mongo) => FaultProxy::in_front_of(mongo.address()),
            None => FaultProxy::silent(),
        },
        redis,
        till: Till::start().await,
    };
    let mut client = Client {
        stage,
        contestant,
        ground: &ground,
        order: Order::fresh(USUAL_PAD_BYTES),
        function: None,
        told: BTreeSet::new(),
    };
    let first = client.start_first().await;
    let (has_struck, patience) = match fault {
        Fault::Flush => (client.flush(&first).await, PATIENCE),
        Fault::Freeze => (client.strike_at_work(&first, fault).await, LAST_PATIENCE),
        _ => (client.strike_at_work(&first, fault).await, PATIENCE),
    };
    // Whatever it was told, if anything: a client whose answer was lost cannot know.
    let is_settled = client.insist(patience).await;
    Trial {
        executions: ground.till.executions(&client.order.key),
        answers: client.told.len(),
        is_settled,
        has_struck,
    }
}

impl Client<'_> {
    /// Lets Redis forget everything once the answer is there; whether there was one.
    async fn flush(&mut self, first: &Function) -> bool {
        let answer = first.send(&self.order).await;
        let is_answered = answer.status == 201;
        self.hear(answer);
        self.ground.redis.command(&["FLUSHALL"]).await;
        is_answered
    }

    /// Lets something happen to the first process, or to its ways, while it works; whether it was at work, and where a reply is to
    /// be lost, whether one was.
    async fn strike_at_work(&mut self, first: &Function, fault: Fault) -> bool {
        let Ground {
            till,
            to_redis,
            to_mongo,
            ..
        } = self.ground;
        till.close();
        let call = first.begin(&self.order).await;
        let mut has_struck = till.has_heard_of(&self.order.key).await;
        match fault {
            Fault::Freeze => {
                first.freeze();
                till.open();
                self.insist(PATIENCE).await;
                first.thaw();
                // Whatever it says now, its client has gone on.
                function::answer(call, TIMEOUT + GRACE).await;
            }
            Fault::Kill => {
                first.kill();
                till.open();
            }
            Fault::LostReply | Fault::LostCompletion | Fault::Flush => {
                let decides = match self.contestant.store {
                    Store::Tiered => to_mongo,
                    _ => to_redis,
                };
                to_redis.reset_counters();
                to_mongo.reset_counters();
                if fault == Fault::LostReply {
                    decides.drop_next_reply();
                } else {
                    to_redis.black_hole();
                    to_mongo.black_hole();
                }
                till.open();
                if let Some(answer) = function::answer(call, TIMEOUT + GRACE).await {
                    self.hear(answer);
                }
                has_struck &= match (self.contestant.store, fault) {
                    // It has no store to lose.
                    (Store::Nothing, _) => true,
                    // The reply that was swallowed came from the server.
                    (_, Fault::LostReply) => decides.bytes_from_server() > 0,
                    _ => decides.bytes_from_clients() > 0,
                };
            }
        }
        // If it has not answered by now, this is what Lambda does with it.
        first.kill();
        to_redis.heal();
        to_mongo.heal();
        has_struck
    }

    /// Sends the request until it is answered with a result, or patience is over.
    async fn insist(&mut self, patience: Duration) -> bool {
        // A language that starts slowly has no less time.
        self.start_next().await;
        let began = Instant::now();
        loop {
            if self.attempt().await == Some(201) {
                return true;
            }
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self) -> Option<u16> {
        self.start_next().await;
        let function = self.function.take()?;
        let call = function.begin(&self.order).await;
        // Without an answer the process is dropped, and so killed.
        let answer = function::answer(call, TIMEOUT + GRACE).await?;
        self.function = Some(function);
        let status = answer.status;
        self.hear(answer);
        Some(status)
    }

    fn hear(&mut self, answer: Answer) {
        if answer.status == 201 {
            self.told.insert(answer.body);
        }
    }

    /// The process that the fault strikes.
    async fn start_first(&self) -> Function {
        let Ground {
            to_redis, to_mongo, ..
        } = self.ground;
        self.start(to_redis.address(), Some(to_mongo)).await
    }

    /// A process to repeat the request with, if there is none.
    async fn start_next(&mut self) {
        if self.function.is_none() {
            let redis = self.ground.redis.address();
            self.function = Some(self.start(redis, None).await);
        }
    }

    async fn start(&self, redis: SocketAddr, mongo: Option<&FaultProxy>) -> Function {
        let around = Around {
            redis: Some(redis),
            mongo,
            till: Some(&self.ground.till),
            timeout: TIMEOUT,
            ..Around::default()
        };
        let started = self.stage.start(self.contestant, around).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }
}
