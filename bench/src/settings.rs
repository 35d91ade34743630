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
        let scale = match std::env::args().nth(1).as_deref() {
            Some("full") => Scale::Full,
            Some("smoke") => Scale::Smoke,
            _ => {
                return Err("say `smoke` or `full`; `make bench-smoke` and `make bench` do".into());
            }
        };
        let mut settings = Self::of(scale);
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

    fn of(scale: Scale) -> Self {
        fn pick<T>(scale: Scale, full: T, smoke: T) -> T {
            match scale {
                Scale::Full => full,
                Scale::Smoke => smoke,
            }
        }
        let amount = |full, smoke| pick(scale, full, smoke);
        let amounts = |full: &[usize], smoke: &[usize]| pick(scale, full, smoke).to_vec();
        let micros = amounts(&[0, 500, 1_000, 2_000], &[0, 1_000]).into_iter();
        Self {
            scale,
            rounds: amount(7, 2),
            calls: amount(1_000, 10),
            starts: amount(30, 2),
            counted_calls: amount(150, 10),
            in_flight: amounts(&[1, 8, 64], &[1, 2]),
            load_calls: amount(6_400, 40),
            load_rounds: amount(3, 1),
            memory_calls: amount(100_000, 100),
            sizes: amounts(
                &[100, 1_000, 10_000, 100_000, 1_000_000, 5_000_000],
                &[100, 20_000],
            ),
            keys: amounts(&[1_000, 10_000, 100_000, 1_000_000], &[1_000, 10_000]),
            has_other_keys: false,
            delays: micros
                .map(|micros| Duration::from_micros(micros as u64))
                .collect(),
            trials: amount(5, 1),
            claim_rounds: amount(15, 2),
            claim_calls: (amount(400, 20), amount(600, 2)),
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
