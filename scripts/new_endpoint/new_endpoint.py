"""Creates a new endpoint, and adds it to every file that lists endpoints: new_endpoint.py <name> <method> <path>

docs/adding-an-endpoint.md lists the places, and the tasks of the developer. All changes are computed before the first change is written.
If an argument is invalid or a place is missing, the script prints one line to standard error, and writes nothing.
"""

import json
import re
import sys

import other_files
import rust_files
from clone import ROOT, Clone, missing
from endpoint import Endpoint, Refused

sys.path.insert(0, str(ROOT / "scripts"))
import api_page  # noqa: E402

ROUTER = "[workspace.metadata.lambda.watch.router]\n"
POLICIES = "  # --- Policies. A function's role "
COSTS = ("<!-- make costs -->\n\n", "\n\n<!-- -->")


def main(name, method, path):
    try:
        endpoint = Endpoint.parse(name, method, path)
        clone = changed(Clone(), endpoint)
        clone.write()
    except Refused as refusal:
        sys.exit(f"error: {refusal}; nothing is written")
    report(clone, endpoint)


def changed(clone, endpoint):
    """Adds the endpoint to every place of the clone, in memory, and returns the clone."""
    for edit in EDITS:
        edit(clone, endpoint)
    return clone


def package(clone, endpoint):
    folder = f"functions/{endpoint.name}"
    if clone.exists(folder):
        raise Refused(f"NAME is `{endpoint.name}`, and {folder} exists; accepted: a name without a function")
    clone.find("Cargo.toml", '"functions/*"')
    clone.create(f"{folder}/Cargo.toml", rust_files.cargo_toml(endpoint))
    clone.create(f"{folder}/src/main.rs", rust_files.main_rs(endpoint))


def local_route(clone, endpoint):
    """Adds the route for `make run` at the end of the table."""
    whole = clone.read("Cargo.toml")
    start = clone.find("Cargo.toml", ROUTER) + len(ROUTER)
    table = re.match(r'(?:"[^"\n]+" = "[^"\n]+"\n)+', whole[start:])
    if not table:
        raise missing("Cargo.toml", ROUTER + '"/api/…" = "…"')
    for path in re.findall(r'^"([^"]+)"', table[0], re.MULTILINE):
        refuse_the_same(endpoint.path, path)
    at = start + table.end()
    clone.change("Cargo.toml", f'{whole[:at]}"{endpoint.path}" = "{endpoint.name}"\n{whole[at:]}', "the route on a laptop")


def refuse_the_same(path, other):
    """Refuses a path that the router has already. The router also accepts only one parameter name at each position of a path."""
    for mine, its in zip(path.split("/")[1:], other.split("/")[1:]):
        if mine != its and mine.startswith("{") and its.startswith("{"):
            raise Refused(f"PATH is `{path}`, and `{other}` exists; accepted: `{its}` in place of `{mine}`, because both name the same part")
        if mine != its:
            return
    if path.count("/") == other.count("/"):
        raise Refused(f"PATH is `{path}`, which has a function; accepted: a path without a function")


def lock(clone, endpoint):
    """Adds the package to Cargo.lock in the form that cargo writes."""
    whole = clone.read("Cargo.lock")
    names = re.findall(r'^\[\[package\]\]\nname = "(.+)"$', whole, re.MULTILINE)
    if endpoint.name in names:
        raise Refused(f"NAME is `{endpoint.name}`, and Cargo.lock has a package of that name; accepted: another name, for example `{endpoint.name}-show`")
    after = next((name for name in names if name > endpoint.name), None)
    entry = "".join(f' "{name}",\n' for name in rust_files.DEPENDENCIES)
    for name in rust_files.DEPENDENCIES:
        # If there were two versions of the package, cargo would write the version after the name.
        if names.count(name) != 1:
            raise Refused(f"Cargo.lock has {names.count(name)} packages `{name}`; accepted: one, on which the function can depend")
    entry = f'[[package]]\nname = "{endpoint.name}"\nversion = "{version(clone)}"\ndependencies = [\n{entry}]\n'
    at = len(whole) if after is None else clone.find("Cargo.lock", f'[[package]]\nname = "{after}"\n')
    text = f"{whole}\n{entry}" if after is None else f"{whole[:at]}{entry}\n{whole[at:]}"
    clone.change("Cargo.lock", text, "the package")


def version(clone):
    found = re.search(r'^\[workspace\.package\]\nversion = "(.+)"$', clone.read("Cargo.toml"), re.MULTILINE)
    if not found:
        raise missing("Cargo.toml", "[workspace.package]\nversion = ")
    return found[1]


def template(clone, endpoint):
    whole = clone.read("template.yaml")
    taken = set(re.findall(r"^  (\w+):$", whole[clone.find("template.yaml", "\nResources:\n") :], re.MULTILINE))
    for part in ("Function", "Role", "LogGroup", "Alarms"):
        if f"{endpoint.camel}{part}" in taken:
            raise Refused(f"NAME is `{endpoint.name}`, and template.yaml has a resource `{endpoint.camel}{part}`; accepted: a name that gives new resources")
    for anchor in other_files.anchors(endpoint):
        if not re.search(rf"&{anchor}\b(?!-)", whole):
            raise missing("template.yaml", f"&{anchor}")
    clone.insert_before("template.yaml", POLICIES, other_files.block(endpoint), "function, role, log group and alarms")
    cors(clone, endpoint)


def cors(clone, endpoint):
    """Adds the endpoint's methods to the list of methods that web pages may use."""
    found = re.search(r"^ +allowMethods: \[(.+)\]$", clone.read("template.yaml"), re.MULTILINE)
    if not found:
        raise missing("template.yaml", "allowMethods: [")
    lacking = [method for method in endpoint.methods if method not in found[1].split(", ")]
    whole = clone.read("template.yaml")
    clone.change("template.yaml", whole[: found.end(1)] + "".join(f", {method}" for method in lacking) + whole[found.end(1) :], clone.reasons["template.yaml"])


def access(clone, endpoint):
    row = f'    "{endpoint.name}": "it opens no connection",\n'
    clone.insert_before("tests/template/check_access.py", "}\n", row, "why it is outside the network", after="OUTSIDE_THE_NETWORK = {\n")


def dashboard(clone, endpoint):
    path = "deploy/monitoring.yaml"
    for title, row in other_files.rows(endpoint):
        start = clone.find(path, f'"title":"{title}"')
        last = clone.find(path, "]]}}", start)
        whole = clone.read(path)
        line = whole[whole.rindex("\n", 0, last) + 1 : last]
        indent = " " * (len(line) - len(line.lstrip(" ")))
        clone.change(path, f"{whole[: last + 1]},\n{indent}{row}{whole[last + 1 :]}", "its lines in the dashboard")


def openapi(clone, endpoint):
    whole = clone.read("openapi.json")
    document = json.loads(whole)
    if written(document) != whole:
        raise Refused("openapi.json is not indented by two spaces as Python's json writes it; accepted: that form, because the file is written anew")
    if endpoint.path in document["paths"]:
        raise Refused(f"PATH is `{endpoint.path}`, which openapi.json has; accepted: a path without a function")
    added = other_files.operations(endpoint)
    ids = {operation["operationId"] for path in document["paths"].values() for method, operation in path.items() if method != "parameters"}
    for operation in added.values():
        if isinstance(operation, dict) and operation["operationId"] in ids:
            raise Refused(f"NAME is `{endpoint.name}`, and openapi.json has an operation `{operation['operationId']}`; accepted: another name")
    document["paths"][endpoint.path] = added
    if endpoint.tag not in [tag["name"] for tag in document["tags"]]:
        document["tags"].append({"name": endpoint.tag})
    clone.change("openapi.json", written(document), "its methods, statuses, headers and members")
    clone.change("docs/api.md", api_page.page(document), "the same for readers")


def written(document):
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def readme(clone, endpoint):
    methods = ", ".join(f"`{method}`" for method in endpoint.methods)
    what = "answers with its name and the parameters of its path" if endpoint.parameters else "answers with its name"
    row = f"| {methods} | `{endpoint.path}` | `{endpoint.name}` | {what} |\n"
    clone.insert_before("README.md", "| `lambda:Invoke` |", row, "a row in the table of endpoints", after="| methods | path | function |")


def cost(clone, endpoint):
    """Adds the price of the function's alarms to the cost of an idle month."""
    more = clone.read("deploy/function-alarms.yaml").count(" MetricName: ")
    whole = clone.read("scripts/costs.py")
    found = re.search(r'^    "alarm_metrics": (\d+),$', whole, re.MULTILINE)
    if not found:
        raise missing("scripts/costs.py", '"alarm_metrics": ')
    script = f"{whole[: found.start(1)]}{int(found[1]) + more}{whole[found.end(1) :]}"
    clone.change("scripts/costs.py", script, "its alarms")
    changed_costs = {"__name__": "costs"}
    exec(script, changed_costs)
    start = clone.find("docs/cost.md", COSTS[0]) + len(COSTS[0])
    end = clone.find("docs/cost.md", COSTS[1], start)
    page = clone.read("docs/cost.md")
    clone.change("docs/cost.md", page[:start] + changed_costs["tables"]() + page[end:], "what its alarms cost in an idle month")


def tests(clone, endpoint):
    folder = "tests/integration"
    for taken in (f"{endpoint.snake}.rs", endpoint.snake):
        if clone.exists(f"{folder}/{taken}"):
            raise Refused(f"NAME is `{endpoint.name}`, and {folder}/{taken} exists; accepted: a name without tests, for example `{endpoint.name}-show`")
    clone.create(f"{folder}/{endpoint.snake}.rs", rust_files.integration_tests(endpoint))
    path = f"{folder}/main.rs"
    modules = re.search(r"^(?:mod \w+;\n)+", clone.read(path), re.MULTILINE)
    if not modules:
        raise missing(path, "mod …;")
    lines = sorted([*modules[0].splitlines(keepends=True), f"mod {endpoint.snake};\n"], key=lambda line: line.rstrip(";\n"))
    whole = clone.read(path)
    clone.change(path, whole[: modules.start()] + "".join(lines) + whole[modules.end() :], "the module of its tests")
    row = tuple_of([f'"{endpoint.name}"', f'"{endpoint.path}"', f'"{endpoint.method.lower()}"'])
    clone.insert_before(f"{folder}/events.rs", "    ];\n", row, "it rejects unreadable events", after="async fn every_endpoint_rejects_an_unreadable_event() {\n    let endpoints = [\n")
    row = tuple_of([f'"{endpoint.name}"', "[false, false, false, false]"])
    clone.insert_before(f"{folder}/function.rs", "    ];\n", row, "it links no client", after="fn a_function_links_only_the_clients_that_it_uses() {\n    let cases = [\n")


def tuple_of(members):
    """Returns a tuple in a list, formatted as rustfmt does: on one line if it has at most 60 characters."""
    line = ", ".join(members)
    if len(line) <= 60:
        return f"        ({line}),\n"
    return "        (\n" + "".join(f"            {member},\n" for member in members) + "        ),\n"


def benchmark(clone, endpoint):
    """Adds the function to the benchmark of start times."""
    path = "bench/src/measures/functions.rs"
    whole = clone.read(path)
    found = re.search(r'^const FUNCTIONS: \[&str; (\d+)\] = \[\n(?:    .+,\n)+', whole, re.MULTILINE)
    if not found:
        raise missing(path, "const FUNCTIONS: [&str; ")
    text = f'{whole[: found.start(1)]}{int(found[1]) + 1}{whole[found.end(1) : found.end()]}    "{endpoint.name}",\n{whole[found.end() :]}'
    clone.change(path, text, "the benchmark of its start")


EDITS = (package, local_route, lock, template, access, dashboard, openapi, readme, cost, tests, benchmark)


def report(clone, endpoint):
    width = max(map(len, clone.reasons))
    print(f"==> wrote {endpoint.route}, function {endpoint.name}")
    for path, reason in clone.reasons.items():
        print(f"    {path:<{width}}  {reason}")
    method = "" if endpoint.method == "GET" else f"-X {endpoint.method} "
    print("==> next")
    print(f"    try it: make run, then curl {method}http://127.0.0.1:9000{endpoint.example}")
    print(f"    write what it does: functions/{endpoint.name}/src/main.rs, tests/integration/{endpoint.snake}.rs")
    print(f"    then the same in: openapi.json, README.md (the row of {endpoint.name})")
    print("    decide who may call it, how often, and its rights: template.yaml (docs/adding-an-endpoint.md)")
    print(f"    test: cargo test --package tests --test integration -- {endpoint.snake}:: parity:: openapi::; then make check")


if __name__ == "__main__":
    main(*sys.argv[1:])
