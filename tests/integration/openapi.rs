//! `openapi.json` agrees with the functions: their routes, their problems, and the answers to all payment requests of the
//! tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use boon::{Compiler, Schemas};
use harness::{Answer, Lambda};
use serde_json::{Value, json};

use crate::parity::{problems_in_docs, template_routes};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../openapi.json");
    serde_json::from_str(text).expect("JSON")
});

const ID: &str = "urn:truebond:openapi";

/// Checks an answer against the description of its path and method in the document.
pub(crate) fn check(path: &str, method: &str, answer: &Answer) {
    let status = answer.status.to_string();
    let response = &DOCUMENT["paths"][path][method]["responses"][&status];
    assert!(
        response.is_object(),
        "undocumented: {method} {path} {answer:?}"
    );
    for (name, value) in &answer.headers {
        if [
            "content-type",
            "content-length",
            "cache-control",
            "x-request-id",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        let documented = response["headers"].as_object().expect("headers");
        let documented = documented
            .keys()
            .find(|known| known.eq_ignore_ascii_case(name));
        let documented = documented
            .unwrap_or_else(|| panic!("undocumented: {name} of {method} {path} {status}"));
        holds(
            &format!("/components/headers/{documented}/schema"),
            &json!(value),
        );
    }
    if method == "head" {
        return;
    }
    let media_type = answer.header("content-type").expect("a type");
    assert!(
        response["content"][media_type].is_object(),
        "undocumented: {media_type} of {status}"
    );
    let at = [path, media_type].map(|text| text.replace('~', "~0").replace('/', "~1"));
    let schema = format!(
        "/paths/{}/{method}/responses/{status}/content/{}/schema",
        at[0], at[1]
    );
    holds(&schema, &answer.json());
}

/// Checks a value against the schema at the JSON pointer `schema` in the document.
fn holds(schema: &str, value: &Value) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler
        .add_resource(ID, DOCUMENT.clone())
        .expect("a document");
    let place = format!("{ID}#{}", schema.replace('{', "%7B").replace('}', "%7D"));
    let index = compiler.compile(&place, &mut schemas).expect("a schema");
    if let Err(error) = schemas.validate(value, index) {
        panic!("{schema}: {error:#}\n{value:#}");
    }
}

#[test]
fn its_routes_are_those_that_are_deployed() {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods
                .filter(|name| *name != "parameters")
                .map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let deployed: BTreeSet<_> = template_routes()
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    assert_eq!(documented, deployed);
}

/// The problems in the document: the `type` of each problem, with its HTTP statuses.
fn documented_problems() -> BTreeMap<String, BTreeSet<String>> {
    let mut problems = BTreeMap::<_, BTreeSet<_>>::new();
    for operation in DOCUMENT["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|path| path.as_object().expect("methods").values())
    {
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let schema = &response["content"]["application/problem+json"]["schema"];
            let types = schema["allOf"][1]["properties"]["type"]["enum"].as_array();
            for kind in types.into_iter().flatten() {
                let kind = kind.as_str().expect("a type").to_owned();
                problems.entry(kind).or_default().insert(status.clone());
            }
        }
    }
    problems
}

#[test]
fn its_problems_are_those_of_the_code_and_of_the_docs() {
    let documented = documented_problems();
    let in_docs = problems_in_docs();
    let slugs = crate::parity::slugs();
    assert!(slugs.len() > 10, "{slugs:?}");
    let types: BTreeSet<_> = slugs
        .iter()
        .map(|slug| format!("urn:truebond:problem:{slug}"))
        .collect();
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), types);
    assert_eq!(documented, in_docs);
}

#[tokio::test]
async fn health_answers_as_it_says() {
    for (function, path) in [
        ("health", "/api/health"),
        ("health-redis", "/api/health/redis"),
        ("health-detailed", "/api/health/detailed"),
    ] {
        let lambda = Lambda::function(function).start().await;
        check(path, "get", &lambda.get(path).await);
        check(path, "head", &lambda.head(path).await);
    }
}
