"""docs/api.md is the output of scripts/api_page.py, and openapi.json has a description of everything that the page shows."""

import copy
import shlex
import sys
import unittest

import jsonschema  # a package of the SAM CLI, whose interpreter runs these tests
from cloudformation import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import api_page  # noqa: E402

DOCUMENT = api_page.read()
WRITTEN = api_page.page(DOCUMENT)


def walk(node, way=()):
    """All parts of the document, each with its path in the document (`way`)."""
    yield way, node
    for name, part in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from walk(part, (*way, str(name)))


def unexplained(document):
    """The members, parameters, headers, bodies and endpoints without a description."""
    parts = document["components"]
    shown = {f"header {name}": header for name, header in parts["headers"].items()}
    shown |= {f"object {name}": schema for name, schema in parts["schemas"].items()}
    for name, schema in parts["schemas"].items():
        for part in schema.get("allOf", [schema]):
            shown |= {f"{name}.{member}": found for member, found, _ in api_page.members(part)}
    for path, method, operation, parameters, _ in api_page.operations(document):
        endpoint = api_page.heading(path, method)
        shown |= {endpoint: operation} | {f"{endpoint}, {each['name']}": each for each in parameters}
        shown |= {f"{endpoint}, body": operation["requestBody"]} if "requestBody" in operation else {}
    return [name for name, part in shown.items() if not part.get("description")]


def wrong_examples(document):
    """The paths of the examples that their schema rejects."""
    for way, part in walk(document):
        if not isinstance(part, dict) or "example" not in part or "example" in way:
            continue
        schema = part.get("schema", part)
        # `components` is at the top of the schema, so that references into the document resolve.
        validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
        if not validator.is_valid(part["example"]):
            yield "/".join(way)


class ApiPage(unittest.TestCase):
    def test_the_page_is_what_the_script_writes(self):
        self.assertEqual(api_page.PAGE.read_text(encoding="utf-8"), WRITTEN, "docs/api.md is old; run: python3 scripts/api_page.py")

    def test_everything_that_the_page_shows_is_explained(self):
        self.assertEqual(unexplained(DOCUMENT), [])
        spoiled = copy.deepcopy(DOCUMENT)
        del spoiled["components"]["schemas"]["Order"]["properties"]["amount"]["description"]
        del spoiled["paths"]["/api/payments/{id}"]["parameters"][0]["description"]
        self.assertEqual(unexplained(spoiled), ["Order.amount", "GET /api/payments/{id}, id"])

    def test_the_examples_are_valid(self):
        self.assertEqual(list(wrong_examples(DOCUMENT)), [])
        spoiled = copy.deepcopy(DOCUMENT)
        spoiled["components"]["schemas"]["Order"]["properties"]["amount"]["example"] = "1999"
        spoiled["paths"]["/api/payments"]["post"]["responses"]["201"]["content"]["application/json"]["example"]["status"] = "paid"
        expected = ["paths//api/payments/post/responses/201/content/application/json", "components/schemas/Order/properties/amount"]
        self.assertCountEqual(wrong_examples(spoiled), expected)

    def test_each_endpoint_has_a_command_that_a_shell_reads(self):
        commands = [text.split("\n```")[0] for text in WRITTEN.split("```bash\n")[1:]]
        found = [shlex.split(command) for command in commands]
        server = DOCUMENT["servers"][0]["url"]
        self.assertEqual(len(found), len(api_page.operations(DOCUMENT)))
        for command, (path, *_) in zip(found, api_page.operations(DOCUMENT)):
            prefix = path.partition("{")[0]
            self.assertTrue(command[0] == "curl" and any(part.startswith(f"{server}{prefix}") for part in command), command)
            self.assertNotIn("{", command[2])

    def test_a_bar_and_a_line_break_do_not_end_a_cell(self):
        self.assertEqual(api_page.table(["a"], [["x|y\nz docs/health.md"]]), "| a |\n|---|\n| x\\|y z [health.md](health.md) |")


if __name__ == "__main__":
    unittest.main()
