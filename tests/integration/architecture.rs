//! The structure of the workspace: which crate may depend on which, and that no two files of a crate need each other.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use self::imports::Sources;
use super::parity::root;

/// What each crate behind `shared` may depend on, of ours. Capabilities never depend on each other, but that payments are kept
/// idempotent.
const CRATES: [(&str, &[&str]); 8] = [
    ("foundation", &[]),
    ("telemetry", &["foundation"]),
    ("http-api", &["foundation"]),
    ("aws-client", &["foundation"]),
    ("mongo-client", &["foundation"]),
    ("redis-client", &["aws-client", "foundation"]),
    (
        "idempotency",
        &[
            "foundation",
            "http-api",
            "mongo-client",
            "redis-client",
            "telemetry",
        ],
    ),
    (
        "payments",
        &[
            "foundation",
            "http-api",
            "idempotency",
            "mongo-client",
            "telemetry",
        ],
    ),
];

/// Each package of ours, and which of ours it depends on: to be built, and to be tested.
struct Packages(BTreeMap<String, [BTreeSet<String>; 2]>);

impl Packages {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--offline",
            ])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let packages = metadata["packages"].as_array().expect("packages");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let packages = packages.iter().map(|package| {
            let mut needs = [BTreeSet::new(), BTreeSet::new()];
            for dependency in package["dependencies"].as_array().expect("dependencies") {
                if !dependency["path"].is_null() {
                    let is_of_tests = dependency["kind"] == "dev";
                    needs[usize::from(is_of_tests)].insert(text(&dependency["name"]));
                }
            }
            (text(&package["name"]), needs)
        });
        Self(packages.collect())
    }

    fn needs(&self, package: &str) -> &BTreeSet<String> {
        &self.0[package][0]
    }
}

#[test]
fn arrows_between_crates_point_one_way() {
    let packages = Packages::read();
    let mut known: BTreeSet<_> = CRATES.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in CRATES {
        let allowed: BTreeSet<_> = allowed.iter().copied().map(str::to_owned).collect();
        let others: Vec<_> = packages.needs(name).difference(&allowed).collect();
        assert_eq!(others, [""; 0], "{name}");
    }
    known.extend([
        "shared",
        "harness",
        "hunt",
        "tests",
        "bench",
        "truebond-ops",
    ]);
    for name in packages.0.keys() {
        if !known.contains(name.as_str()) {
            let needs = packages.needs(name);
            assert_eq!(
                needs,
                &BTreeSet::from(["shared".to_owned()]),
                "the function {name}"
            );
        }
    }
}

/// A crate that its own tests' harness depends on is built twice for them, and its types differ from the harness's.
#[test]
fn the_harness_depends_on_nothing_that_it_tests() {
    let packages = Packages::read();
    assert_eq!(packages.needs("harness"), &BTreeSet::new());
    for (name, [needed, of_tests]) in &packages.0 {
        if CRATES.iter().any(|(known, _)| known == name) {
            // Tests may ask for more features of the crate itself, and of what it needs.
            let is_known = |other: &String| other == name || needed.contains(other);
            let others: Vec<_> = of_tests
                .iter()
                .filter(|other| *other != "harness" && !is_known(other))
                .collect();
            assert_eq!(others, [""; 0], "{name}");
        }
    }
}

/// The log shows lines below WARN of these crates alone.
#[test]
fn every_crate_of_ours_is_heard_in_the_log() {
    let lambda = std::fs::read_to_string(root().join("shared/src/lambda.rs")).expect("text");
    let (_, rest) = lambda.split_once("const CRATES").expect("the list");
    let (list, _) = rest.split_once("];").expect("its end");
    for (name, _) in CRATES {
        let target = format!("\"{}\"", name.replace('-', "_"));
        assert!(list.contains(&target), "{target}");
    }
}

#[test]
fn no_files_need_each_other() {
    let mut folders: Vec<_> = CRATES
        .iter()
        .map(|(name, _)| format!("shared/crates/{name}/src"))
        .collect();
    folders.extend(
        [
            "shared/src",
            "ops/src",
            "tests/harness/src",
            "tests/hunt/src",
            "bench/src",
        ]
        .map(str::to_owned),
    );
    let circles: Vec<_> = folders
        .iter()
        .flat_map(|folder| Sources::read(&root().join(folder)).circles())
        .collect();
    assert_eq!(circles, Vec::<Vec<String>>::new());
}
