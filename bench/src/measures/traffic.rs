//! Measures the cost of a call outside its process: round trips, bytes and Redis's time.

use harness::FaultProxy;
use serde_json::{Map, json};

use super::progress;
use crate::calls::{CALLS_OF_A_HOLD, Member, Situation, turns};
use crate::contestant::Store;
use crate::plot::{self, Named};
use crate::samples::{Samples, Spread, number};
use crate::section::{Limit, Section};
use crate::stage::{Around, Stage};

/// The counted quantities of a call.
const COUNTS: [&str; 5] = [
    "round_trips",
    "bytes_to_redis",
    "bytes_from_redis",
    "server_us",
    "mongo_round_trips",
];
const ROUND_TRIPS: &str = COUNTS[0];
const SERVER_US: &str = COUNTS[3];
/// The number of round trips to Redis for one call of ours, for each situation in the order of [`Situation::ALL`]. The numbers
/// do not depend on the machine.
const EXPECTED: [f64; 4] = [2.0, 1.0, 1.0, 1.0];

/// The libraries with which Redis's time for a fresh call of ours is compared.
const PEERS: [&str; 2] = ["powertools-python", "powertools-typescript"];
/// The maximum of Redis's time for a fresh call of ours, divided by the time for a fresh call of a peer. Ours stores a result
/// with `SET` and `IFEQ`.
const MOST_TIMES_PEER: f64 = 1.5;
/// The same maximum on servers without `IFEQ`, where ours stores a result with a short script.
const MOST_TIMES_PEER_WITHOUT_IFEQ: f64 = 3.6;

/// The quantities of a call, by the name of the contestant, the situation and the name of the quantity.
type Costs = Samples<(&'static str, Situation, &'static str)>;

/// The proxies that count traffic.
struct CountingProxies<'a> {
    stage: &'a Stage,
    to_redis: FaultProxy,
    to_mongo: FaultProxy,
}

pub(super) async fn measure(stage: &Stage) -> Section {
    let proxies = CountingProxies {
        stage,
        to_redis: FaultProxy::in_front_of(stage.redis.address()),
        to_mongo: match &stage.mongo {
            Some(mongo) => FaultProxy::in_front_of(mongo.server.address()),
            None => FaultProxy::silent(),
        },
    };
    let around = Around {
        redis: Some(proxies.to_redis.address()),
        mongo: Some(&proxies.to_mongo),
        ..Around::default()
    };
    let members = Member::start_all(stage, around, |contestant| contestant.store.is_shared()).await;
    let mut costs = Costs::default();
    let (rounds, calls) = (stage.settings.rounds, stage.settings.counted_calls);
    assert!(calls < CALLS_OF_A_HOLD, "a key is held for all of them");
    for round in 1..=rounds {
        progress(&format!("counting, round {round} of {rounds}"));
        for (member, situation) in turns(&members, &Situation::ALL, 0) {
            // The work of a block before its calls (the first call of a replay, the claim of a holder) is counted separately and
            // subtracted.
            let before = proxies.count(member, situation, 1).await;
            let with_calls = proxies.count(member, situation, calls + 1).await;
            for (number, what) in COUNTS.into_iter().enumerate() {
                let each = (with_calls[number] - before[number]) / calls as f64;
                costs.add((member.contestant.name, situation, what), each);
            }
        }
    }

    let mut section = Section::new("traffic", "Round trips, bytes, and the time of Redis");
    section.notes.push(format!(
        "Per call, counted between function and Redis, which a bare function does not use; median of {rounds} rounds of \
         {calls} calls. The time is from Redis's statistics (`INFO commandstats`) of the commands. Between two commands the \
         function, the proxy and the benchmark run on the same core; back to back, a claim takes far less (\"A claim beside a \
         bare round trip\")."
    ));
    let names = Situation::ALL.map(Situation::name);
    let groups = ["round trips", "bytes there and back", "Redis µs"];
    let columns = groups.map(|group| format!("{group} {}", names.join(" | ")));
    let mongo = format!("MongoDB round trips {}, {}", names[0], names[1]);
    section.columns(&format!(" | {} | {mongo}", columns.join(" | ")));
    let mut bars = Vec::new();
    for member in &members {
        bars.push(add_row(&mut section, member, &costs));
    }
    add_goals(&mut section, stage, &costs);
    let picture = plot::bars("Round trips to Redis for one call", &names, "", &bars);
    section.pictures.push(("round_trips", picture));
    section
}

/// Adds the counts of a contestant, checks them, and returns the bars of its round trips.
fn add_row(section: &mut Section, member: &Member<'_>, costs: &Costs) -> Named<Spread> {
    let contestant = member.contestant;
    let spread = |situation, what| {
        let cost = costs.of((contestant.name, situation, what));
        Spread::of(cost)
    };
    let median = |situation, what| number(spread(situation, what).median);
    let mut cells = Vec::new();
    cells.extend(Situation::ALL.map(|situation| median(situation, ROUND_TRIPS)));
    cells.extend(Situation::ALL.map(|situation| {
        let [to, from] = ["bytes_to_redis", "bytes_from_redis"];
        format!("{} + {}", median(situation, to), median(situation, from))
    }));
    cells.extend(Situation::ALL.map(|situation| spread(situation, SERVER_US).to_string()));
    let mongo = Situation::ANSWERED.map(|situation| median(situation, "mongo_round_trips"));
    cells.push(match contestant.store {
        Store::Tiered => mongo.join(", "),
        _ => String::new(),
    });
    let numbers = Situation::ALL.map(|situation| {
        let counts = COUNTS.map(|what| (what.to_owned(), json!(spread(situation, what))));
        let counts = Map::from_iter(counts);
        (situation.name().to_owned(), counts.into())
    });
    let numbers = Map::from_iter(numbers);
    section.row(
        (contestant.title, contestant.name),
        &cells.join(" | "),
        numbers.into(),
    );

    for (situation, expected) in Situation::ALL.into_iter().zip(EXPECTED) {
        let counted = spread(situation, ROUND_TRIPS);
        let what = format!("{}, {}", contestant.name, situation.name());
        let goes_there = counted.median >= 1.0;
        section.hold_that(goes_there, &format!("{what}: each call goes to Redis"));
        if contestant.name.starts_with("ours-") {
            let what = format!("{what}, round trips to Redis");
            section.hold(&what, counted.median, expected);
            // The mean can be a little higher, because the check of an idle connection adds one round trip to one of many
            // calls.
            let is_so = counted.least >= expected && counted.most < expected + 0.1;
            section.hold_that(is_so, &format!("{what}: {expected} in each round"));
        }
    }
    Named {
        name: contestant.plain_title(),
        values: Situation::ALL
            .map(|situation| spread(situation, ROUND_TRIPS))
            .into(),
    }
}

/// Adds the goals: Redis's time for a fresh call of ours, compared with other libraries.
fn add_goals(section: &mut Section, stage: &Stage, costs: &Costs) {
    let limit = match stage.server.product.has_ifeq() {
        true => MOST_TIMES_PEER,
        false => MOST_TIMES_PEER_WITHOUT_IFEQ,
    };
    let fresh = |name| (name, Situation::Fresh, SERVER_US);
    for peer in stage
        .present
        .iter()
        .filter(|peer| PEERS.contains(&peer.name))
    {
        let title = peer.plain_title();
        let what = format!("Redis's time for a fresh call of ours / of {title}");
        let times = costs.times(fresh("ours-redis"), fresh(peer.name));
        section.goal(what, Limit::AtMost(limit), times);
    }
}

impl CountingProxies<'_> {
    /// Sends calls to a contestant and returns the [counts](COUNTS) of all these calls.
    async fn count(
        &self,
        member: &Member<'_>,
        situation: Situation,
        calls: usize,
    ) -> [f64; COUNTS.len()] {
        // A Redis client checks an idle connection before its next use. This call triggers the check before the count starts.
        member.calls(Situation::Fresh, 1).await;
        self.to_redis.reset_counters();
        self.to_mongo.reset_counters();
        self.stage.redis.command(&["CONFIG", "RESETSTAT"]).await;
        member.calls(situation, calls).await;
        [
            self.to_redis.round_trips() as f64,
            self.to_redis.bytes_from_clients() as f64,
            self.to_redis.bytes_from_server() as f64,
            self.server_micros().await,
            self.to_mongo.round_trips() as f64,
        ]
    }

    /// The microseconds that Redis spent on the commands that the proxy has seen. The time of a script includes the commands
    /// inside the script. A `SET` inside a script is also counted as a `SET` if clients send `SET` too.
    async fn server_micros(&self) -> f64 {
        let sent = self.to_redis.commands();
        let stats: String = self.stage.redis.query(&["INFO", "commandstats"]).await;
        let spent = stats.lines().filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let name = name.split('|').next()?.to_uppercase();
            let mut numbers = numbers.split(',');
            let spent = numbers.find_map(|pair| pair.strip_prefix("usec="))?;
            sent.contains(&name).then(|| spent.parse::<f64>().ok())?
        });
        spent.sum()
    }
}
