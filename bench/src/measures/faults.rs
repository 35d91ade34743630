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
    /// The process stands still while it works, for longer than its claim lasts, and then goes on.
    Freeze,
    /// The result is stored, and the reply that says so is lost.
    LostReply,
    /// Redis cannot be reached when the result is to be stored.
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
}

/// The time of an invocation, and so how long a claim lasts; ours last two seconds longer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A process that is about to answer is not cut off for the machine's slowness.
const GRACE: Duration = Duration::from_secs(1);
/// For how long a client repeats itself: longer than the longest claim, and again when all claims are over.
const PATIENCE: Duration = Duration::from_secs(8);
const LAST_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);
/// How many contestants are struck at a time: all their processes wait most of the time.
const AT_A_TIME: usize = 2;

/// What each says of itself, where it bears on the table.
const PROMISES: [&str; 4] = [
    "Ours, under `AtMostOnce`: at most one execution whatever fails where MongoDB decides; with Redis alone, as long as Redis keeps its \
     data, so a flush is outside of what it promises. An attempt that ends without a word leaves its key *unknown* until somebody \
     settles it: that is not a double, and it is not an answer either (\"open\").",
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
            Self::LostCompletion => "Redis unreachable at completion",
            Self::Kill => "killed while it works",
        }
    }
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let trials = stage.settings.trials;
    let mut section = Section::new("faults", "What runs twice");
    section.notes.push(format!(
        "Keys whose work ran more than once, of {trials} for each fault. In brackets what else went wrong: two different results told for \
         one key, or no result for anybody within {} s (open).",
        PATIENCE.as_secs()
    ));
    section
        .notes
        .extend(PROMISES.map(|promise| format!("- {promise}")));
    section.columns = vec![String::new()];
    section
        .columns
        .extend(Fault::ALL.map(|fault| fault.name().to_owned()));
    // Processes that share nothing cannot stand in for one another.
    let struck = stage.present.iter().copied();
    let struck =
        struck.filter(|contestant| contestant.store.is_shared() || contestant.name == "bare");
    let struck: Vec<_> = struck.collect();
    let mut found = BTreeMap::<_, Vec<Trial>>::new();
    for number in 1..=trials {
        for some in struck.chunks(AT_A_TIME) {
            let names: Vec<_> = some.iter().map(|contestant| contestant.name).collect();
            progress(&format!("{number} of {trials}: {}", names.join(", ")));
            let pairs = some
                .iter()
                .flat_map(|contestant| Fault::ALL.map(|fault| (*contestant, fault)));
            let trials = pairs.map(async |(contestant, fault)| {
                let trial = strike(stage, contestant, fault).await;
                ((contestant.name, fault), trial)
            });
            for (key, trial) in join_all(trials).await {
                found.entry(key).or_default().push(trial);
            }
        }
    }
    let mut data = Map::new();
    for contestant in struck {
        let mut cells = vec![contestant.title.to_owned()];
        let mut faults = Map::new();
        for fault in Fault::ALL {
            let all = &found[&(contestant.name, fault)];
            let doubles = all.iter().filter(|trial| trial.executions > 1).count();
            let contradictions = all.iter().filter(|trial| trial.answers > 1).count();
            let open = all.iter().filter(|trial| !trial.is_settled).count();
            let mut cell = format!("{doubles}");
            let beside = [(contradictions, "two results"), (open, "open")];
            let beside = beside.into_iter().filter(|(count, _)| *count > 0);
            let beside: Vec<_> = beside
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            if !beside.is_empty() {
                cell += &format!(" ({})", beside.join(", "));
            }
            cells.push(cell);
            let never_ran = all.iter().any(|trial| trial.executions == 0);
            let what = format!("{}, {}", contestant.name, fault.name());
            section.hold_that(!never_ran, &format!("{what}: the work ran"));
            if let Some(expected) = expected(contestant, fault, trials) {
                section.hold(&format!("{what}: doubles"), doubles as f64, expected as f64);
            }
            let executions: Value = all.iter().map(|trial| trial.executions).collect();
            let numbers = json!({
                "trials": trials,
                "executions": executions,
                "doubles": doubles,
                "two_results": contradictions,
                "open": open,
            });
            faults.insert(fault.name().to_owned(), numbers);
        }
        section.rows.push(cells);
        data.insert(contestant.name.to_owned(), faults.into());
    }
    section.data = data.into();
    section
}

/// How many doubles there have to be: none of ours where it promises that, all of bare's.
fn expected(contestant: &Contestant, fault: Fault, trials: usize) -> Option<usize> {
    match (contestant.name, contestant.store) {
        ("bare", _) => Some(trials),
        ("ours-tiered", _) => Some(0),
        ("ours-redis", Store::Redis) if fault != Fault::Flush => Some(0),
        _ => None,
    }
}

/// Lets one client want one thing while something goes wrong.
async fn strike(stage: &Stage, contestant: &Contestant, fault: Fault) -> Trial {
    let ground = Ground {
        redis: RedisServer::start().await,
        till: Till::start().await,
    };
    let proxy = FaultProxy::in_front_of(ground.redis.address());
    let mut client = Client {
        stage,
        contestant,
        ground: &ground,
        order: Order::fresh(USUAL_PAD_BYTES),
        function: None,
        told: BTreeSet::new(),
    };
    let first = client.start(proxy.address()).await;
    if fault == Fault::Flush {
        client.hear(first.send(&client.order).await);
        ground.redis.command(&["FLUSHALL"]).await;
    } else {
        ground.till.close();
        let call = first.begin(&client.order).await;
        ground.till.has_heard_of(&client.order.key).await;
        match fault {
            Fault::Freeze => first.freeze(),
            Fault::LostReply => proxy.drop_next_reply(),
            Fault::LostCompletion => proxy.black_hole(),
            // A flush comes behind the answer, not while it works.
            Fault::Kill | Fault::Flush => first.kill(),
        }
        ground.till.open();
        if fault == Fault::Freeze {
            client.insist(PATIENCE).await;
            first.thaw();
        }
        if fault != Fault::Kill
            && let Some(answer) = function::answer(call, TIMEOUT + GRACE).await
        {
            client.hear(answer);
        }
        // If it has not answered by now, this is what Lambda does with it.
        first.kill();
        proxy.heal();
    }
    // Whatever it was told, if anything: a client whose answer was lost cannot know.
    let patience = match fault {
        Fault::Freeze => LAST_PATIENCE,
        _ => PATIENCE,
    };
    let is_settled = client.insist(patience).await;
    Trial {
        executions: ground.till.executions(&client.order.key),
        answers: client.told.len(),
        is_settled,
    }
}

impl Client<'_> {
    /// Sends the request until it is answered with a result, or patience is over.
    async fn insist(&mut self, patience: Duration) -> bool {
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
        let function = match self.function.take() {
            Some(function) => function,
            None => self.start(self.ground.redis.address()).await,
        };
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

    async fn start(&self, redis: SocketAddr) -> Function {
        let around = Around {
            redis: Some(redis),
            till: Some(&self.ground.till),
            timeout: TIMEOUT,
            ..Around::default()
        };
        let started = self.stage.start(self.contestant, around).await;
        started.unwrap_or_else(|why| panic!("{why}"))
    }
}
