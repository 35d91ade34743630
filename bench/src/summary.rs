//! A table with one line per contestant and the main number of each measure. docs/testing.md shows this table.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contestant::{ALL, Contestant};
use crate::samples::{Spread, number};
use crate::section::Section;

/// The columns.
const HEAD: &str = "\
|  | start to first answer ms (× bare) | added to a fresh call, p50 µs (least–most) | p99 µs | round trips fresh, replay \
| Redis's time fresh µs | calls/s, most in flight (× bare) | RSS MB in the end (× bare) | struck by a fault: ran twice, never answered |
|---|---|---|---|---|---|---|---|---|
";

/// The numbers of all measures, by JSON pointer: `/memory/bare/last_mb`.
struct Found(Value);

/// The table as Markdown. A cell without a measurement is empty.
pub(crate) fn table(sections: &[Section]) -> String {
    let data = |section: &Section| (section.name.to_owned(), section.data.clone().into());
    let found = Found(sections.iter().map(data).collect::<Map<_, _>>().into());
    let mut text = HEAD.to_owned();
    for contestant in &ALL {
        let takes_part = sections.iter().any(|section| {
            let pointer = match section.data.contains_key("contestants") {
                true => format!("/{}/contestants/{}", section.name, contestant.name),
                false => format!("/{}/{}", section.name, contestant.name),
            };
            found.0.pointer(&pointer).is_some()
        });
        // Among the baselines, only bare has a line. The numbers of contestants are already compared with their baselines.
        if takes_part && (contestant.name == ALL[0].name || !contestant.is_baseline()) {
            text += &found.line(contestant);
        }
    }
    text
}

impl Found {
    fn line(&self, contestant: &Contestant) -> String {
        let name = contestant.name;
        let added = |what| format!("/latency/contestants/{name}/added_to_fresh/{what}");
        let most = self.most_in_flight();
        let cells = [
            Some(contestant.title.to_owned()),
            self.beside_bare(
                format!("/cold_start/{name}/answer_ms/median"),
                format!("/cold_start/{name}/answer_times_bare/median"),
            ),
            self.0
                .pointer(&added("p50_us"))
                .and_then(|added| Spread::deserialize(added).ok())
                .map(|added| added.to_string()),
            self.number(added("p99_us")).map(number),
            self.round_trips(name),
            self.number(format!("/traffic/{name}/fresh/server_us/median"))
                .map(number),
            self.beside_bare(
                format!("/load/{name}/{most}/calls_per_second/median"),
                format!("/load/{name}/{most}/times_beside/median"),
            ),
            self.beside_bare(
                format!("/memory/{name}/last_mb"),
                format!("/memory/{name}/last_times_bare"),
            ),
            self.faults(name),
        ]
        .map(Option::unwrap_or_default);
        format!("| {} |\n", cells.join(" | "))
    }

    fn number(&self, pointer: String) -> Option<f64> {
        self.0.pointer(&pointer)?.as_f64()
    }

    fn beside_bare(&self, measured: String, times: String) -> Option<String> {
        let [measured, times] = [measured, times].map(|pointer| self.number(pointer));
        Some(format!("{} ({})", number(measured?), number(times?)))
    }

    fn round_trips(&self, name: &str) -> Option<String> {
        let in_words = |situation: &str| {
            let trips = |what| self.number(format!("/traffic/{name}/{situation}/{what}/median"));
            let redis = trips("round_trips")?;
            Some(match trips("mongo_round_trips") {
                Some(mongo) if mongo > 0.0 => format!("{redis} and {mongo} to MongoDB"),
                _ => redis.to_string(),
            })
        };
        Some(format!("{}, {}", in_words("fresh")?, in_words("replay")?))
    }

    fn most_in_flight(&self) -> u32 {
        let bare = self.0.pointer("/load/bare").and_then(Value::as_object);
        let counts = bare.into_iter().flat_map(Map::keys);
        counts
            .filter_map(|count| count.parse().ok())
            .max()
            .unwrap_or_default()
    }

    fn faults(&self, name: &str) -> Option<String> {
        let faults = self.0.pointer(&format!("/faults/{name}"))?.as_object()?;
        let [doubles, open, trials] = ["doubles", "open", "trials"].map(|what| {
            let counts = faults.values().filter_map(|fault| fault[what].as_f64());
            counts.sum::<f64>()
        });
        Some(format!("{doubles}, {open} of {trials}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_only_measured_numbers() {
        let mut faults = Section::new("faults", "Faults");
        let mut add_faults = |name: &str, doubles: &[u32]| {
            let fault = |doubles: &u32| json!({ "doubles": doubles, "open": 2, "trials": 5 });
            let all = doubles
                .iter()
                .map(|doubles| (doubles.to_string(), fault(doubles)));
            let all = all.collect::<Map<_, _>>().into();
            faults.row((name, name), "a cell", all);
        };
        add_faults("bare", &[5, 4]);
        add_faults("ours-redis", &[1, 0]);
        add_faults("ours-off", &[5]);
        let mut load = Section::new("load", "Load");
        let calls = |calls: u32, times: f64| json!({ "calls_per_second": { "median": calls }, "times_beside": { "median": times } });
        for (name, most) in [("bare", calls(100, 1.0)), ("ours-redis", calls(80, 0.75))] {
            let numbers = json!({ "8": calls(50, 1.0), "64": most });
            load.row((name, name), "a cell", numbers);
        }

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
    fn the_docs_show_the_run_that_is_kept() {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| fs::read_to_string(bench.join(file)).expect(file);
        let kept = read("results/summary.md");
        assert!(read("../docs/testing.md").contains(&kept), "{kept}");
    }
}
