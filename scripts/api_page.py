"""Writes docs/api.md, the page that describes the HTTP API, from openapi.json: python3 scripts/api_page.py

The page is plain Markdown, so that you can read it on GitHub and in an editor. openapi.json is the source: change openapi.json, then run this
script. A test compares the page with the output of the script.
"""

import json
import re
import shlex
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "openapi.json"
PAGE = ROOT / "docs/api.md"
WIDTH = 120
PROBLEM = "urn:truebond:problem:"
CREDENTIALS = {"bearer": "a JSON Web Token", "details": "the details token"}


def read():
    return json.loads(SOURCE.read_text(encoding="utf-8"))


def paragraph(text):
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def code(value):
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def table(head, rows):
    first, *others = [f"| {' | '.join(map(cell, row))} |" for row in [head, *rows]]
    return "\n".join([first, "|" + "---|" * len(head), *others])


def cell(text):
    """Returns the text of a table cell. Line breaks and bars would end the cell, so they are replaced. Paths of docs pages become links."""
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", " ".join(text.split()).replace("|", "\\|"))


def block(language, text):
    return f"```{language}\n{text}\n```"


def anchor(heading):
    """Returns the anchor that GitHub creates for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def link(heading):
    return f"[{heading}](#{anchor(heading)})"


def name_of(reference):
    return reference["$ref"].rpartition("/")[2]


def problem_link(kind):
    return f"[`{kind.removeprefix(PROBLEM)}`](problems.md#problems)"


def number(value):
    return f"{value:,}".replace(",", " ")


def bounds(low, high, unit=""):
    """Returns a list with the limits of a value as one text. If the value has no limits, the list is empty."""
    if low is None and high is None:
        return []
    limits = f"at most {number(high)}" if low is None else f"at least {number(low)}" if high is None else f"{number(low)} to {number(high)}"
    return [f"{limits}{unit}"]


def limits(schema):
    """Returns the type of a value and its limits, as short texts."""
    if "$ref" in schema:
        return [link(name_of(schema))]
    if "const" in schema:
        return [code(schema["const"])]
    if "enum" in schema:
        return [", ".join(map(code, schema["enum"]))]
    kinds = schema.get("type", "any JSON")
    found = [" or ".join([kinds] if isinstance(kinds, str) else kinds)]
    if "items" in schema:
        found[0] += f" of {', '.join(limits(schema['items']))}"
    found += bounds(schema.get("minimum"), schema.get("maximum"))
    found += bounds(schema.get("minLength"), schema.get("maxLength"), " characters")
    found += bounds(schema.get("minProperties"), schema.get("maxProperties"), " members")
    if "format" in schema:
        found.append(schema["format"].upper())
    if "pattern" in schema:
        found.append(f"pattern {code(schema['pattern'])}")
    if "propertyNames" in schema:
        names = schema["propertyNames"]
        allowed = [*limits({"type": "string", **names})[1:]] if "enum" not in names else limits(names)
        found.append("names: " + ", ".join(allowed + [f"not {code(name)}" for name in names.get("not", {}).get("enum", [])]))
    return found


def example_of(schema):
    return code(schema["example"]) if "example" in schema else ""


def members(schema, before=""):
    """Yields the members of an object and of its nested objects, each as (name, schema, whether the member is required)."""
    for name, member in schema.get("properties", {}).items():
        yield f"{before}{name}", member, name in schema.get("required", [])
        yield from nested(member, f"{before}{name}")
    extra = schema.get("additionalProperties")
    if before and isinstance(extra, dict):
        yield f"{before}*", extra, False
        yield from members(extra, f"{before}*.")


def nested(member, name):
    if "items" in member:
        yield from members(member["items"], f"{name}[].")
    yield from members(member, f"{name}.")


def members_table(schema, required_before=()):
    rows = []
    for name, member, is_required in members(schema):
        always = "yes" if is_required or name in required_before else ""
        rows.append([code(name), always, ", ".join(limits(member)), member.get("description", ""), example_of(member)])
    return table(["member", "always", "type and limits", "meaning", "example"], rows)


def object_section(name, schemas):
    """Yields the section of a schema. A schema with `allOf` adds members to another schema, or restricts the members of that schema."""
    schema = schemas[name]
    yield f"### {name}"
    yield paragraph(cell(schema["description"]))
    if "allOf" in schema:
        base, own = schema["allOf"]
        yield f"It has the members of {link(name_of(base))}. These members differ or are new:"
        yield members_table(own, schemas[name_of(base)]["required"])
    elif "properties" in schema:
        yield members_table(schema)
    else:
        yield paragraph("Type: " + ", ".join(limits(schema) + ([f"for example {example_of(schema)}"] if "example" in schema else [])) + ".")


def body_of(schema):
    """Returns the table cell for a response's body: the type of the body, and the problem types that the body can have."""
    if "$ref" in schema:
        return link(name_of(schema))
    if "allOf" in schema:
        base, own = schema["allOf"]
        kinds = own["properties"]["type"]["enum"]
        return f"{link(name_of(base))}: " + ", ".join(map(problem_link, kinds))
    return ", ".join(f"{code(name)}: {', '.join(limits(member))}" for name, member, _ in members(schema))


def media(content):
    """Returns the schema and the example of a body. Each body has exactly one media type."""
    ((_, found),) = content.items()
    return found["schema"], found.get("example")


def responses_table(responses, everywhere):
    rows = []
    for status, response in sorted(responses.items()):
        headers = [code(name) for name in response.get("headers", {}) if name not in everywhere]
        body = body_of(media(response["content"])[0]) if "content" in response else ""
        rows.append([status, response["description"], body, ", ".join(headers)])
    return table(["status", "meaning", "body", "headers"], rows)


def parameters_table(parameters):
    rows = []
    for each in parameters:
        required = "yes" if each.get("required") else ""
        rows.append([code(each["name"]), each["in"], required, ", ".join(limits(each["schema"])), each.get("description", ""), example_of(each)])
    return table(["parameter", "in", "required", "type and limits", "meaning", "example"], rows)


def curl(server, path, method, operation, parameters):
    """Returns a command that sends the examples of the document."""
    url = server + path
    options = []
    if [] != operation.get("security", []) and {} not in operation["security"]:
        options.append('-H "Authorization: Bearer $TOKEN"')
    for each in parameters:
        if each["in"] == "path":
            url = url.replace(f"{{{each['name']}}}", each["example"])
        elif each.get("required"):
            options.append("-H " + shlex.quote(f"{each['name']}: {each['example']}"))
    if "requestBody" in operation:
        _, example = media(operation["requestBody"]["content"])
        options.append("--json " + shlex.quote(json.dumps(example, indent=2)))
    verb = "" if method == "get" or "requestBody" in operation else f"-X {method.upper()} "
    return block("bash", " \\\n  ".join([f"curl -i {verb}{url}", *options]))


def credentials(operation):
    asked = operation.get("security", [])
    names = " or ".join(CREDENTIALS[name] for choice in asked for name in choice)
    if not names:
        return "none"
    return f"{names}, optional" if {} in asked else names


def heading(path, method):
    return f"{method.upper()} {path}"


def operations(document):
    """Returns the operations in the order of their tags, each as (path, method, operation, parameters, whether the path also has HEAD)."""
    order = [tag["name"] for tag in document["tags"]]
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in ("parameters", "head"):
                continue
            parameters = item.get("parameters", []) + operation.get("parameters", [])
            found.append((path, method, operation, parameters, method == "get" and "head" in item))
    return sorted(found, key=lambda each: order.index(each[2]["tags"][0]))


def operation_section(server, path, method, operation, parameters, has_head, everywhere):
    yield f"## {heading(path, method)}"
    yield paragraph(f"{operation['summary']}.")
    yield paragraph(operation["description"])
    yield paragraph(f"Credentials: {credentials(operation)}." + (" `HEAD` answers like `GET`, without a body." if has_head else ""))
    yield curl(server, path, method, operation, parameters)
    if parameters:
        yield parameters_table(parameters)
    if "requestBody" in operation:
        schema, _ = media(operation["requestBody"]["content"])
        body = f" Its members: {link(name_of(schema))}." if "$ref" in schema else ""
        yield paragraph(f"The body is JSON. {operation['requestBody']['description']}{body}")
    yield responses_table(operation["responses"], everywhere)
    for status, response in sorted(operation["responses"].items()):
        example = media(response["content"])[1] if "content" in response else None
        if example is not None:
            yield f"For example {status}:"
            yield block("json", json.dumps(example, indent=2))


def common_headers(document):
    """Returns the names of the headers that every response has."""
    found = [set(response.get("headers", {})) for _, _, operation, _, _ in operations(document) for response in operation["responses"].values()]
    return set.intersection(*found)


def page(document):
    everywhere = common_headers(document)
    (server,) = document["servers"]
    headers, schemas, schemes = (document["components"][name] for name in ("headers", "schemas", "securitySchemes"))
    parts = [
        "# API",
        "<!-- Written by scripts/api_page.py from openapi.json. Change that file, then run: python3 scripts/api_page.py -->",
        paragraph(document["info"]["description"]),
        paragraph(
            "This page has the content of [openapi.json](../openapi.json). [payments.md](payments.md) explains payments to developers of clients, "
            "[problems.md](problems.md) explains what to do after each problem, and [health.md](health.md) explains health."
        ),
        table(
            ["endpoint", "what it does", "credentials"],
            [[link(heading(path, method)), operation["summary"], credentials(operation)] for path, method, operation, _, _ in operations(document)],
        ),
        paragraph(
            f"The commands below send requests to {server['description']}. For a deployment, replace {code(server['url'])}, and set `TOKEN` to "
            f"a JSON Web Token. {server['description']} accepts any token. `--json` needs curl 7.82 or newer."
        ),
        table(["credentials", "sent as `Authorization: Bearer …`"], [[CREDENTIALS[name], scheme["description"]] for name, scheme in schemes.items()]),
        paragraph(f"Each problem type begins with {code(PROBLEM)}. The tables omit this beginning."),
    ]
    for path, method, operation, parameters, has_head in operations(document):
        parts += operation_section(server["url"], path, method, operation, parameters, has_head, everywhere)
    parts += [
        "## Response headers",
        paragraph("Every response has " + " and ".join(code(name) for name in headers if name in everywhere) + ". The tables above list the other headers."),
        table(
            ["header", "type and limits", "meaning"],
            [[code(name), ", ".join(limits(header["schema"])), header["description"]] for name, header in headers.items()],
        ),
        "## Objects",
        paragraph("If `always` is `yes`, the member is required in a request, and every response has the member."),
    ]
    for name in schemas:
        parts += object_section(name, schemas)
    return "\n\n".join(parts) + "\n"


def main():
    PAGE.write_text(page(read()), encoding="utf-8")


if __name__ == "__main__":
    main()
