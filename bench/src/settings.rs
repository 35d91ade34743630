//! The command line and the variables of `make bench`, and the size of each measure.

use std::time::Duration;

/// The size of each measure.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) scale: Scale,
    /// The number of rounds. In each round all contestants take turns.
    pub(crate) rounds: usize,
    /// The number of rounds of the measure `latency`.
    pub(crate) latency_rounds: usize,
    /// The number of calls of a contestant in one round and situation.
    pub(crate) calls: usize,
    /// The number of starts of each process.
    pub(crate) starts: usize,
    /// The number of calls whose traffic is counted. It is less than `CALLS_OF_A_HOLD`.
    pub(crate) counted_calls: usize,
    /// The numbers of calls in flight. Each number is measured separately.
    pub(crate) in_flight: Vec<usize>,
    /// The number of calls of a contestant in one round under load. All its processes together get this number.
    pub(crate) load_calls: usize,
    /// The number of rounds under load.
    pub(crate) load_rounds: usize,
    /// The number of calls after which a process's memory is measured.
    pub(crate) memory_calls: usize,
    /// The lengths of the filler text in the body, in bytes.
    pub(crate) sizes: Vec<usize>,
    /// The numbers of keys in Redis. Each number is measured separately.
    pub(crate) keys: Vec<usize>,
    /// Whether `keys` differs from the numbers in the runs that `bench/results` keeps.
    pub(crate) has_other_keys: bool,
    /// The delays of Redis's replies.
    pub(crate) delays: Vec<Duration>,
    /// The number of trials of each fault and contestant.
    pub(crate) trials: usize,
    /// The number of rounds in which the engine is compared with a bare client.
    pub(crate) claim_rounds: usize,
    /// Two numbers of calls: the calls in each of the `claim_rounds`, and the calls of each concurrent task.
    pub(crate) claim_calls: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The measures are large enough for reliable numbers.
    Full,
    /// The measures are small: they only check that everything works, and their times mean nothing.
    Smoke,
}

impl Settings {
    /// Reads the settings: the argument `smoke` or `full`, and the variable `KEYS`.
    ///
    /// # Errors
    ///
    /// Fails with the expected values.
    pub(crate) fn read() -> Result<Self, String> {
        let scale = match std::env::args().nth(1).as_deref() {
            Some("full") => Scale::Full,
            Some("smoke") => Scale::Smoke,
            _ => {
                return Err("missing argument: expected `smoke` or `full`, as `make bench-smoke` and `make bench` pass".into());
            }
        };
        let mut settings = Self::of(scale);
        if let Some(most) = variable("KEYS") {
            let most: usize = most
                .parse()
                .map_err(|_| format!("KEYS is `{most}`; expected a whole number"))?;
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
            latency_rounds: amount(9, 2),
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

/// The measures in the comma-separated list `ONLY`; `None` for all.
pub(crate) fn only() -> Option<Vec<String>> {
    let names = variable("ONLY")?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// The environment variables by which the programs of other languages find their interpreters and tools.
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
