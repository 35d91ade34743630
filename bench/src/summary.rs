//! One line for each contestant: of each measure the number that is looked for first. The repository's README shows it.

use serde_json::Value;

use crate::contestant::{ALL, Contestant};
use crate::report::{Section, row};
use crate::sample::{Spread, number};

/// What a line has, behind the name.
const COLUMNS: [&str; 9] = [
    "",
    "start to first answer ms (× bare)",
    "added to a fresh call, p50 µs (least–most)",
    "p99 µs",
    "round trips fresh, replay",
    "Redis's time fresh µs",
    "calls/s, most in flight (× bare)",
    "RSS MB in the end (× bare)",
    "struck by a fault: ran twice, never answered",
];

/// What has been measured, by the sections' own data.
struct Found<'a>(&'a [Section]);

/// The table, as Markdown; what was not measured stays empty.
pub(crate) fn table(sections: &[Section]) -> String {
    let found = Found(sections);
    let takes_part = |contestant: &&Contestant| {
        let in_any = |section: &Section| {
            let data = section.data.get("contestants").unwrap_or(&section.data);
            data.get(contestant.name).is_some()
        };
        // A baseline is what the others' numbers are counted from.
        (contestant.name == ALL[0].name || !contestant.is_baseline()) && sections.iter().any(in_any)
    };
    let mut text = row(&COLUMNS.map(str::to_owned)) + &"|---".repeat(COLUMNS.len()) + "|\n";
    for contestant in ALL.iter().filter(takes_part) {
        text += &row(&found.line(contestant));
    }
    text
}

impl Found<'_> {
    fn line(&self, contestant: &Contestant) -> [String; COLUMNS.len()] {
        let name = contestant.name;
        let added = |which| {
            let path = ["contestants", name, "added_to_fresh", which];
            self.value("latency", &path)
        };
        [
            Some(contestant.title.to_owned()),
            beside_bare(
                self.number("cold_start", &[name, "answer_ms", "median"]),
                self.number("cold_start", &[name, "answer_times_bare", "median"]),
            ),
            added("p50_us")
                .and_then(Spread::from_json)
                .map(Spread::in_words),
            added("p99_us").and_then(Value::as_f64).map(number),
            self.round_trips(name),
            self.number("traffic", &[name, "fresh", "server_us", "median"])
                .map(number),
            self.calls_per_second(name),
            beside_bare(
                self.number("memory", &[name, "last_mb"]),
                self.number("memory", &[name, "last_times_bare"]),
            ),
            self.faults(name),
        ]
        .map(Option::unwrap_or_default)
    }

    fn round_trips(&self, name: &str) -> Option<String> {
        let trips = |situation: &str, store: &str| {
            self.number("traffic", &[name, situation, store, "median"])
        };
        let in_words = |situation: &str| {
            let redis = trips(situation, "round_trips")?;
            Some(match trips(situation, "mongo_round_trips") {
                Some(mongo) if mongo > 0.0 => format!("{redis} and {mongo} to MongoDB"),
                _ => redis.to_string(),
            })
        };
        Some(format!("{}, {}", in_words("fresh")?, in_words("replay")?))
    }

    fn calls_per_second(&self, name: &str) -> Option<String> {
        let bare = self.value("load", &[ALL[0].name])?.as_object()?;
        let counts = bare.keys().filter_map(|count| count.parse::<u32>().ok());
        let most = counts.max()?.to_string();
        beside_bare(
            self.number("load", &[name, &most, "calls_per_second", "median"]),
            self.number("load", &[name, &most, "times_beside", "median"]),
        )
    }

    fn faults(&self, name: &str) -> Option<String> {
        let faults = self.value("faults", &[name])?.as_object()?.values();
        let sum = |what| {
            faults
                .clone()
                .filter_map(|fault| fault[what].as_f64())
                .sum()
        };
        let [doubles, open, trials]: [f64; 3] = ["doubles", "open", "trials"].map(sum);
        Some(format!("{doubles}, {open} of {trials}"))
    }

    fn number(&self, section: &str, path: &[&str]) -> Option<f64> {
        self.value(section, path)?.as_f64()
    }

    fn value(&self, section: &str, path: &[&str]) -> Option<&Value> {
        let section = self.0.iter().find(|found| found.name == section)?;
        path.iter()
            .try_fold(&section.data, |value, name| value.get(name))
    }
}

fn beside_bare(measured: Option<f64>, times: Option<f64>) -> Option<String> {
    Some(format!("{} ({})", number(measured?), number(times?)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_what_was_measured_and_nothing_else() {
        let mut faults = Section::new("faults", "Faults");
        let fault = |doubles: u32| json!({ "doubles": doubles, "open": 2, "trials": 5 });
        faults.data = json!({
            "bare": { "a flush": fault(5), "a freeze": fault(4) },
            "ours-redis": { "a flush": fault(1), "a freeze": fault(0) },
            "ours-off": { "a flush": fault(5) },
        });
        let mut load = Section::new("load", "Load");
        let calls = |calls: u32, times: f64| json!({ "calls_per_second": { "median": calls }, "times_beside": { "median": times } });
        load.data = json!({
            "bare": { "8": calls(50, 1.0), "64": calls(100, 1.0) },
            "ours-redis": { "8": calls(50, 1.0), "64": calls(80, 0.75) },
        });

        let table = table(&[faults, load]);

        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| bare `lambda_http` |  |  |  |  |  | 100 (1.00) |  | 9, 4 of 10 |",
                "| **ours, Redis** |  |  |  |  |  | 80.0 (0.75) |  | 1, 4 of 10 |",
            ]
        );
    }

    #[test]
    fn the_readme_shows_the_run_that_is_kept() {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| fs::read_to_string(bench.join(file)).expect(file);
        let kept = read("results/summary.md");
        assert!(read("../README.md").contains(&kept), "{kept}");
    }
}
