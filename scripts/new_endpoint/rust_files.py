"""The Rust files of a new endpoint: its package and its integration tests. `cargo fmt` does not change these files."""

CARGO_TOML = """[package]
name = "{name}"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
{dependencies}
[lints]
workspace = true
"""

# The packages that a function depends on.
DEPENDENCIES = ("serde", "shared")

MAIN = """//! `{route}`: answers with its name{and_parameters}. It does no I/O.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use shared::lambda::{{self, Invocation}};
use shared::web::{{self, Refusal, Response}};

/// The body of the answer.
#[derive(Serialize)]
struct Answer{lifetime} {{
    /// The name of this function.
    function: &'static str,{fields}
}}

fn main() -> ExitCode {{
    // Replace `()` by a service of `App`, for example `App::payment_view`.
    lambda::serve(|_| (), handle)
}}

async fn handle(_service: Arc<()>, invocation: Invocation) -> Result<Response, Refusal> {{
    let request = &invocation.request;
    web::require_{method}(request.method())?;
    Ok(web::ok({answer}))
}}
{of_path}"""

# The additional code for a path with parameters.
OF_PATH = """
impl<'a> Answer<'a> {{
    fn of(path: &'a str) -> Self {{
        // The path begins with a slash, so part 0 is empty.
        let part = |index| path.split('/').nth(index).unwrap_or_default();
        Self {{
            function: env!("CARGO_PKG_NAME"),
{values}
        }}
    }}
}}
"""

OF_PATH_TESTS = """
#[cfg(test)]
mod tests {{
    use super::*;

    #[test]
    fn the_parameters_are_the_parts_of_the_path() {{
        const PATH: &str = "{example}";
        let answer = Answer::of(PATH);
{assertions}
    }}
}}
"""

TESTS = """//! `{route}`.

use harness::{{Lambda, TestRequest}};

use crate::openapi;

const FUNCTION: &str = "{name}";
const ROUTE: &str = "{path}";
{path_constant}
fn request(method: &str) -> TestRequest {{
{request}
}}

#[tokio::test]
async fn it_answers_with_its_name{and_parameters} {{
    let lambda = Lambda::function(FUNCTION).start().await;

    let answer = lambda.request(request("{method}")).await;

    assert_eq!(answer.status, 200);
    openapi::check(ROUTE, "{lower}", &answer);
    insta::assert_snapshot!(answer.text(), @r#"{body}"#);
}}
{head}
#[tokio::test]
async fn it_refuses_other_methods() {{
    let lambda = Lambda::function(FUNCTION).start().await;

    let answer = lambda.request(request("PATCH")).await;

    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("{allow}"));
    openapi::check(ROUTE, "{lower}", &answer);
}}
"""

HEAD = """
#[tokio::test]
async fn it_answers_head_without_a_body() {
    let lambda = Lambda::function(FUNCTION).start().await;

    let answer = lambda.request(request("HEAD")).await;

    assert_eq!(answer.status, 200);
    openapi::check(ROUTE, "head", &answer);
}
"""


def cargo_toml(endpoint):
    return CARGO_TOML.format(name=endpoint.name, dependencies="".join(f"{name}.workspace = true\n" for name in DEPENDENCIES))


def main_rs(endpoint):
    parameters = endpoint.parameters
    parts = endpoint.path.split("/")
    text = MAIN.format(
        route=endpoint.route,
        and_parameters=" and the parameters of its path" if parameters else "",
        lifetime="<'a>" if parameters else "",
        fields="".join(f"\n    /// The parameter of the path as the client sent it, percent-encoded where a URL requires it.\n    {name}: &'a str," for name in parameters),
        method=endpoint.method.lower(),
        answer="&Answer::of(request.uri().path())" if parameters else '&Answer {\n        function: env!("CARGO_PKG_NAME"),\n    }',
        of_path=OF_PATH.format(values="\n".join(f"            {name}: part({parts.index(f'{{{name}}}')})," for name in parameters)) if parameters else "",
    )
    if parameters:
        assertions = "\n".join(f'        assert_eq!(answer.{name}, "{name}-1");' for name in parameters)
        text += OF_PATH_TESTS.format(example=endpoint.example, assertions=assertions)
    return text


def integration_tests(endpoint):
    parameters = endpoint.parameters
    request = "    TestRequest::new(method, ROUTE)"
    if parameters:
        request = "    TestRequest::new(method, PATH)\n        .route(ROUTE)" + "".join(f'\n        .path_parameter("{name}", "{name}-1")' for name in parameters)
    members = ",".join(f'"{name}":"{value}"' for name, value in [("function", endpoint.name), *((name, f"{name}-1") for name in parameters)])
    return TESTS.format(
        route=endpoint.route,
        name=endpoint.name,
        path=endpoint.path,
        path_constant=f'const PATH: &str = "{endpoint.example}";\n' if parameters else "",
        request=request,
        and_parameters="_and_the_parameters_of_its_path()" if parameters else "()",
        method=endpoint.method,
        lower=endpoint.method.lower(),
        body=f"{{{members}}}",
        head=HEAD if endpoint.method == "GET" else "",
        allow=", ".join(endpoint.methods),
    )
