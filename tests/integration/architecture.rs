//! The structure of the workspace: the allowed dependencies between crates, and no cycles between files.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use self::imports::Sources;
use super::parity::root;

/// The crates that `shared` uses. Each crate has the list of crates of this workspace on which it is allowed to depend.
/// For example, `payments` is allowed to depend on `idempotency`, but `idempotency` is not allowed to depend on
/// `payments`.
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

/// The packages of this workspace. Each package has two sets of dependencies on other packages of the workspace: normal
/// dependencies, then dependencies of tests.
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
fn crates_depend_only_on_allowed_crates() {
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

/// If the harness depended on a crate under test, that crate would be built twice, with different types.
#[test]
fn the_harness_depends_on_no_crate_under_test() {
    let packages = Packages::read();
    assert_eq!(packages.needs("harness"), &BTreeSet::new());
    for (name, [needed, of_tests]) in &packages.0 {
        if CRATES.iter().any(|(known, _)| known == name) {
            // The tests of a crate are allowed to depend on the crate and on its normal dependencies, to enable more
            // features of these packages.
            let is_known = |other: &String| other == name || needed.contains(other);
            let others: Vec<_> = of_tests
                .iter()
                .filter(|other| *other != "harness" && !is_known(other))
                .collect();
            assert_eq!(others, [""; 0], "{name}");
        }
    }
}

/// `shared/src/lambda.rs` lists the crates whose log lines below the level WARN are written. Every crate of `CRATES`
/// must be in that list.
#[test]
fn the_log_level_applies_to_every_crate_of_ours() {
    let lambda = std::fs::read_to_string(root().join("shared/src/lambda.rs")).expect("text");
    let (_, rest) = lambda.split_once("const CRATES").expect("the list");
    let (list, _) = rest.split_once("];").expect("its end");
    for (name, _) in CRATES {
        let target = format!("\"{}\"", name.replace('-', "_"));
        assert!(list.contains(&target), "{target}");
    }
}

#[test]
fn files_of_a_crate_have_no_cycles() {
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
    let cycles: Vec<_> = folders
        .iter()
        .flat_map(|folder| Sources::read(&root().join(folder)).cycles())
        .collect();
    assert_eq!(cycles, Vec::<Vec<String>>::new());
}
