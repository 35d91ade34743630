//! What was typed before and behind `make bench`, and how much is measured at each scale.

use std::time::Duration;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) scale: Scale,
    /// Rounds in which all contestants take their turns.
    pub(crate) rounds: usize,
    /// Calls of a contestant in one round and situation.
    pub(crate) calls: usize,
    /// Starts of each process.
    pub(crate) starts: usize,
    /// Calls at which traffic is counted: fewer than a key is held for at a time.
    pub(crate) counted_calls: usize,
    /// How many calls are on their way at a time.
    pub(crate) in_flight: Vec<usize>,
    /// Calls of a contestant in one round under load, all processes together.
    pub(crate) load_calls: usize,
    /// Rounds under load.
    pub(crate) load_rounds: usize,
    /// Calls after which a process's memory is looked at.
    pub(crate) memory_calls: usize,
    /// Lengths of the pad, in bytes.
    pub(crate) sizes: Vec<usize>,
    /// How many keys Redis has, step by step.
    pub(crate) keys: Vec<usize>,
    /// Whether they are others than a run that is kept has.
    pub(crate) has_other_keys: bool,
    pub(crate) delays: Vec<Duration>,
    /// How often each fault strikes each contestant.
    pub(crate) trials: usize,
    /// Rounds in which the engine is compared with a bare client.
    pub(crate) claim_rounds: usize,
    /// Calls in one of them, and of each of many tasks.
    pub(crate) claim_calls: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As much as numbers need.
    Full,
    /// As much as shows that everything works; its times say nothing.
    Smoke,
}

impl Settings {
    /// Reads them: `smoke` or `full` behind the program's name, `KEYS` before it.
    ///
    /// # Errors
    ///
    /// What is accepted.
    pub(crate) fn read() -> Result<Self, String> {
        let mut settings = match std::env::args().nth(1).as_deref() {
            Some("full") => Self::full(),
            Some("smoke") => Self::smoke(),
            _ => {
                return Err("say `smoke` or `full`; `make bench-smoke` and `make bench` do".into());
            }
        };
        if let Some(most) = variable("KEYS") {
            let most: usize = most
                .parse()
                .map_err(|_| format!("KEYS is `{most}`; accepted: a whole number"))?;
            settings.keys.retain(|keys| *keys < most);
            settings.keys.push(most);
            settings.has_other_keys = true;
        }
        Ok(settings)
    }

    fn full() -> Self {
        let millis = |millis: f64| Duration::from_secs_f64(millis / 1e3);
        Self {
            scale: Scale::Full,
            rounds: 7,
            calls: 1_000,
            starts: 30,
            counted_calls: 150,
            in_flight: vec![1, 8, 64],
            load_calls: 6_400,
            load_rounds: 3,
            memory_calls: 100_000,
            sizes: vec![100, 1_000, 10_000, 100_000, 1_000_000, 5_000_000],
            keys: vec![1_000, 10_000, 100_000, 1_000_000],
            has_other_keys: false,
            delays: [0.0, 0.5, 1.0, 2.0].map(millis).into(),
            trials: 5,
            claim_rounds: 15,
            claim_calls: (400, 600),
        }
    }

    fn smoke() -> Self {
        Self {
            scale: Scale::Smoke,
            rounds: 2,
            calls: 10,
            starts: 2,
            counted_calls: 10,
            in_flight: vec![1, 2],
            load_calls: 40,
            load_rounds: 1,
            memory_calls: 100,
            sizes: vec![100, 20_000],
            keys: vec![1_000, 10_000],
            has_other_keys: false,
            delays: vec![Duration::ZERO, Duration::from_millis(1)],
            trials: 1,
            claim_rounds: 2,
            claim_calls: (20, 2),
        }
    }
}

/// The measures that `ONLY` names, with commas; `None`: all.
pub(crate) fn only() -> Option<Vec<String>> {
    let names = variable("ONLY")?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// What programs of other languages need to be found, as it is here.
pub(crate) fn surroundings() -> Vec<(&'static str, String)> {
    let names = ["PATH", "HOME", "XDG_CACHE_HOME"];
    let set = names.into_iter().map(|name| Some((name, variable(name)?)));
    set.flatten().collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
