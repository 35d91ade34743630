//! Names and values that are written in several places agree. They are binaries, routes, variables and versions in the
//! code, the template, the docs and the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, YamlOwned};
use serde_json::Value;

/// A route: method, path and name of the function.
pub(crate) type Route = (String, String, String);

/// The functions without a route, which are invoked directly or by a schedule.
const INVOKED_DIRECTLY: [&str; 2] = ["idempotency", "payments-reconcile"];

fn read(path: &str) -> String {
    let file = root().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
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
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The binaries of the functions. Each binary has its package and the folder of that package.
fn binaries() -> Vec<[String; 3]> {
    let metadata = metadata();
    let mut binaries = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let folder = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
        let folder = folder.parent().expect("a folder");
        if !folder
            .parent()
            .is_some_and(|parent| parent.ends_with("functions"))
        {
            continue;
        }
        let name = folder.file_name().expect("a name");
        let folder = name.to_string_lossy().into_owned();
        for target in package["targets"].as_array().expect("targets") {
            if target["kind"] == serde_json::json!(["bin"]) {
                let text = |value: &Value| value.as_str().expect("a name").to_owned();
                binaries.push([
                    text(&target["name"]),
                    text(&package["name"]),
                    folder.clone(),
                ]);
            }
        }
    }
    binaries
}

pub(crate) fn names() -> BTreeSet<String> {
    binaries().into_iter().map(|[name, ..]| name).collect()
}

fn invoked_directly() -> BTreeSet<String> {
    INVOKED_DIRECTLY.map(str::to_owned).into()
}

/// The routes of `cargo lambda watch`, each with its path and its function. `cargo lambda watch` passes requests with
/// any method to the function.
fn local_routes() -> BTreeSet<(String, String)> {
    let metadata = metadata();
    let router = &metadata["metadata"]["lambda"]["watch"]["router"];
    router
        .as_object()
        .expect("a router")
        .iter()
        .map(|(path, function)| (path.clone(), function.as_str().expect("a name").to_owned()))
        .collect()
}

struct TemplateFunction {
    resource: String,
    binary: String,
    /// The method and the path of each route in the function's `Events`.
    events: Vec<(String, String)>,
}

fn template() -> YamlOwned {
    let mut documents = YamlOwned::load_from_str(&read("template.yaml")).expect("YAML");
    documents.pop().expect("a document")
}

fn template_functions() -> Vec<TemplateFunction> {
    let template = template();
    let text = |value: &YamlOwned| value.as_str().expect("a text").to_owned();
    let resources = template["Resources"].as_mapping().expect("resources");
    let functions = resources
        .iter()
        .filter(|(_, resource)| resource["Type"].as_str() == Some("AWS::Serverless::Function"));
    let events = |function: &YamlOwned| {
        let events = function["Properties"].as_mapping_get("Events")?;
        let routes = events
            .as_mapping()?
            .values()
            .map(|event| &event["Properties"])
            .filter(|event| event.contains_mapping_key("Path"))
            .map(|event| (text(&event["Method"]), text(&event["Path"])));
        Some(routes.collect())
    };
    functions
        .map(|(name, function)| TemplateFunction {
            resource: text(name),
            binary: text(&function["Metadata"]["BuildProperties"]["Binary"]),
            events: events(function).unwrap_or_default(),
        })
        .collect()
}

pub(crate) fn template_routes() -> BTreeSet<Route> {
    let mut routes = BTreeSet::new();
    for TemplateFunction { binary, events, .. } in template_functions() {
        routes.extend(
            events
                .into_iter()
                .map(|(method, path)| (method, path, binary.clone())),
        );
    }
    routes
}

/// The rows of tables in `markdown`, each as a list of its cells. A row is included if `is_first` accepts its first
/// cell.
fn rows(markdown: &str, is_first: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    markdown
        .lines()
        .map(|line| line.trim_start_matches("//! "))
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|cells| is_first(&cells[0]))
        .collect()
}

fn unquoted(cell: &str) -> String {
    cell.replace('`', "")
}

fn readme_routes() -> BTreeSet<Route> {
    const METHODS: [&str; 5] = ["`GET`", "`HEAD`", "`POST`", "`PUT`", "`DELETE`"];
    let is_methods = |cell: &str| cell.split(", ").all(|method| METHODS.contains(&method));
    rows(&read("README.md"), is_methods)
        .into_iter()
        .flat_map(|cells| {
            let methods: Vec<_> = cells[0].split(", ").map(unquoted).collect();
            methods
                .into_iter()
                .map(move |method| (method, unquoted(&cells[1]), unquoted(&cells[2])))
        })
        .collect()
}

/// The problems in docs/problems.md: the `type` of each problem, with its HTTP statuses.
pub(crate) fn problems_in_docs() -> BTreeMap<String, BTreeSet<String>> {
    rows(&read("docs/problems.md"), |cell| {
        cell.starts_with("`urn:truebond:problem:")
    })
    .into_iter()
    .map(|cells| (unquoted(&cells[0]), BTreeSet::from([cells[1].clone()])))
    .collect()
}

/// The last part of the `type` of each problem in the code.
pub(crate) fn slugs() -> BTreeSet<String> {
    fn of(folder: &Path, slugs: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                of(&path, slugs);
                continue;
            }
            // Other files, such as the README of a crate, define problems only as examples.
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let found = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("slug: \"")?.strip_suffix("\","));
            slugs.extend(found.map(str::to_owned));
        }
    }
    let mut slugs = BTreeSet::new();
    of(&root().join("shared"), &mut slugs);
    of(&root().join("functions"), &mut slugs);
    slugs
}

/// The error codes in a file, between the first occurrence of `from` and the next blank line after it.
fn codes(file: &str, from: &str) -> BTreeSet<String> {
    let text = read(file);
    let (_, rest) = text.split_once(from).expect("it is there");
    let (function, _) = rest.split_once("\n\n").expect("an end");
    let codes = function.lines().filter_map(|line| {
        let (_, code) = line.split_once("=> \"")?;
        code.strip_suffix("\",")
    });
    codes.map(str::to_owned).collect()
}

/// The error codes in the health module. Each is the second argument of a call of `Assessment::new`.
fn codes_of_health() -> BTreeSet<String> {
    let files = ["assessment.rs", "redis_check/rules.rs", "mongo_check.rs"];
    let texts = files.map(|file| read(&format!("shared/src/health/{file}")));
    let calls = texts.iter().flat_map(|text| {
        text.split("Assessment::new(")
            .chain(text.split("Self::new("))
    });
    let codes = calls.filter_map(|call| {
        let (_status, rest) = call.split_once(',')?;
        let (code, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        let is_code = code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_code.then(|| code.to_owned())
    });
    codes.collect()
}

#[test]
fn the_health_page_has_a_remedy_for_every_error_code() {
    let mut codes = codes(
        "shared/crates/redis-client/src/reason.rs",
        "pub fn code(self)",
    );
    assert!(codes.len() > 20, "{codes:?}");
    let own = codes_of_health();
    assert!(
        own.contains("evicting_policy") && own.contains("internal_error"),
        "{own:?}"
    );
    codes.extend(own);
    codes.insert("skipped".to_owned());
    let page = read("docs/health.md");
    let (_, table) = page
        .split_once("| `error_code` | status | meaning | what to do |")
        .expect("a table");
    let (table, _) = table.split_once("\n\n").expect("an end");

    let rows = rows(table, |cell| cell.starts_with('`'));

    let documented: BTreeSet<_> = rows.iter().map(|cells| unquoted(&cells[0])).collect();
    assert_eq!(documented, codes);
    for cells in rows {
        assert!(cells.len() == 4 && cells[3].len() > 3, "{cells:?}");
    }
}

/// Whether a cell of a table is the name of a variable. All variables except `ENVIRONMENT` contain an underscore. Other
/// names in capitals, such as `GET`, do not contain an underscore.
fn is_variable(cell: &str) -> bool {
    let name = cell.trim_matches('`');
    name.len() + 2 == cell.len()
        && (name.contains('_') || name == "ENVIRONMENT")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn variables(markdown: &str) -> BTreeSet<String> {
    rows(markdown, is_variable)
        .iter()
        .map(|cells| unquoted(&cells[0]))
        .collect()
}

/// The environment variables that the code reads: the string literals in `shared/src/config` that are names of
/// variables.
fn known_variables() -> BTreeSet<String> {
    let folder = root().join("shared/src/config");
    let files = fs::read_dir(folder).expect("a folder");
    let files = files.map(|file| file.expect("readable").path());
    let files = files.filter(|file| !file.ends_with("tests.rs"));
    let mut variables = BTreeSet::new();
    for file in files.chain([root().join("shared/src/config.rs")]) {
        let text = fs::read_to_string(file).expect("text");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            let quoted = line.split('"').skip(1).step_by(2);
            let names = quoted.filter(|text| is_variable(&format!("`{text}`")));
            variables.extend(names.map(str::to_owned));
        }
    }
    // The compiler reads this variable, not the function.
    variables.remove("CARGO_PKG_VERSION");
    variables
}

/// Whether Lambda or a test sets this variable. Developers never set such a variable, so they need no example of
/// it.
fn is_set_by_lambda(variable: &str) -> bool {
    ["AWS_LAMBDA_", "LAMBDA_", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|start| variable.starts_with(start))
}

/// Collects the keys of a mapping, and the keys of the mappings that `<<` merges into it.
fn merged_keys(mapping: &YamlOwned, keys: &mut BTreeSet<String>) {
    for (key, value) in mapping.as_mapping().expect("a mapping") {
        match (key.as_str().expect("a text"), value.as_sequence()) {
            ("<<", Some(several)) => several.iter().for_each(|one| merged_keys(one, keys)),
            ("<<", None) => merged_keys(value, keys),
            (key, _) => _ = keys.insert(key.to_owned()),
        }
    }
}

/// The names under every key `Variables` of the template.
fn template_variables() -> BTreeSet<String> {
    fn collect(node: &YamlOwned, variables: &mut BTreeSet<String>) {
        for value in node.as_sequence().into_iter().flatten() {
            collect(value, variables);
        }
        for (key, value) in node.as_mapping().into_iter().flatten() {
            if key.as_str() == Some("Variables") && value.is_mapping() {
                merged_keys(value, variables);
            } else {
                collect(value, variables);
            }
        }
        // The value of a tag can contain variables too, for example `!If [HasLogs, {…}, …]`.
        if let Some(tagged) = node.get_tagged_node() {
            collect(tagged, variables);
        }
    }
    let mut variables = BTreeSet::new();
    collect(&template(), &mut variables);
    variables
}

/// The version (digits and full stops) that follows the first `before` in a file.
fn version_after(path: &str, before: &str) -> String {
    let text = read(path);
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no `{before}` in {path}"));
    rest.chars()
        .take_while(|character| character.is_ascii_digit() || *character == '.')
        .collect()
}

#[test]
fn a_function_is_named_after_its_folder() {
    let binaries = binaries();
    assert!(binaries.len() >= 3, "{binaries:?}");
    for [binary, package, folder] in binaries {
        assert_eq!(binary, folder);
        // If a crate of `shared` already has the name, the package's name has the suffix `-function`.
        let package = package.strip_suffix("-function").unwrap_or(&package);
        assert_eq!(binary, package);
    }
}

#[test]
fn every_function_has_a_resource_named_after_it() {
    let functions = template_functions();
    for TemplateFunction {
        resource, binary, ..
    } in &functions
    {
        let camel: String = binary
            .split('-')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        assert_eq!(resource, &format!("{camel}Function"));
    }
    assert_eq!(
        functions
            .into_iter()
            .map(|function| function.binary)
            .collect::<BTreeSet<_>>(),
        names()
    );
}

#[test]
fn the_template_the_laptop_and_the_readme_have_the_same_routes() {
    let deployed = template_routes();
    assert_eq!(deployed, readme_routes());
    let without_method: BTreeSet<_> = deployed
        .into_iter()
        .map(|(_, path, function)| (path, function))
        .collect();
    assert_eq!(without_method, local_routes());
    let routed: BTreeSet<_> = local_routes()
        .into_iter()
        .map(|(_, function)| function)
        .collect();
    assert_eq!(routed, &names() - &invoked_directly());
}

#[test]
fn a_function_without_a_route_is_listed_as_one() {
    let without_events = template_functions()
        .into_iter()
        .filter(|function| function.events.is_empty())
        .map(|function| function.binary);
    assert_eq!(without_events.collect::<BTreeSet<_>>(), invoked_directly());
    let in_readme = rows(&read("README.md"), |cell| cell == "`lambda:Invoke`");
    let in_readme = in_readme.iter().map(|cells| unquoted(&cells[2]));
    assert_eq!(in_readme.collect::<BTreeSet<_>>(), invoked_directly());
}

#[test]
fn what_get_answers_head_answers() {
    let routes = template_routes();
    for (method, path, function) in routes.iter().filter(|(method, ..)| method == "GET") {
        assert!(
            routes.contains(&("HEAD".to_owned(), path.clone(), function.clone())),
            "{method} {path}"
        );
    }
}

#[test]
fn every_variable_is_in_the_code_the_docs_and_the_example() {
    let known = known_variables();
    assert!(known.len() > 50, "{known:?}");
    assert_eq!(variables(&read("docs/configuration.md")), known);

    let example = read(".env.example");
    let offered: BTreeSet<_> = example
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_variable(&format!("`{name}`")))
        .collect();
    let needs_no_example = known
        .iter()
        .filter(|name| is_set_by_lambda(name))
        .cloned()
        .collect();
    assert_eq!(offered, &known - &needs_no_example);
}

/// Parses a whole number in the format of docs/configuration.md, which has a space between groups of three digits.
fn number(text: &str) -> Option<u64> {
    text.replace(' ', "").parse().ok()
}

#[test]
fn the_ranges_in_the_docs_are_those_that_the_code_accepts() {
    let mut checked = 0;
    for cells in rows(&read("docs/configuration.md"), is_variable) {
        let (variable, [accepted, default]) = match &cells[..] {
            [variable, accepted, default, _effect] => (unquoted(variable), [accepted, default]),
            _ => continue,
        };
        let Some((least, most)) = accepted.split_once('–') else {
            continue;
        };
        let (Some(least), Some(most)) = (number(least), number(most)) else {
            continue;
        };
        let is_accepted = |value: u64| {
            let lookup = |name: &str| (name == variable).then(|| value.to_string().into());
            shared::App::from_lookup(lookup).is_ok()
        };
        assert!(is_accepted(least), "{variable}={least}");
        assert!(is_accepted(most), "{variable}={most}");
        assert!(!is_accepted(most + 1), "{variable}={}", most + 1);
        assert!(
            least == 0 || !is_accepted(least - 1),
            "{variable}={}",
            least - 1
        );
        let default = number(default).expect("a number");
        assert!((least..=most).contains(&default), "{variable}={default}");
        let line = format!("# {variable}={default}\n");
        assert!(read(".env.example").contains(&line), "{line}");
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn every_variable_of_the_template_is_known_to_the_code() {
    let (set, known) = (template_variables(), known_variables());
    assert!(set.contains("REDIS_URL"), "{set:?}");
    assert_eq!(&set - &known, BTreeSet::new());
}

#[test]
fn the_mongodb_stand_in_has_one_version() {
    let installed = version_after("scripts/tools.sh", "MONGO_JAVA_SERVER_VERSION=");
    let artifact = "<artifactId>mongo-java-server</artifactId>\n      <version>";
    assert!(!installed.is_empty());
    assert_eq!(
        version_after("tests/harness/mongo/pom.xml", artifact),
        installed
    );
    let directory = "\"mongo-java-server-";
    let looked_for = version_after("tests/harness/src/environment.rs", directory);
    assert_eq!(looked_for, installed);
}
