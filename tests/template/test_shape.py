"""Tests that template.yaml stays readable with many functions: each function is one short block, and every anchor is used."""

import re
import unittest

from cloudformation import ROOT, Templates, binaries, camel

TEXT = (ROOT / "template.yaml").read_text()
MOST_LINES = 40
PARTS = ("Function", "Role", "LogGroup", "Alarms")


def resources(text):
    """The name and the lines of each resource, in file order, without blank lines and comments."""
    body = text.split("\nResources:\n")[1].split("\nOutputs:\n")[0]
    found = []
    for line in body.splitlines():
        name = re.fullmatch(r"  (\w+):", line)
        if name:
            found.append((name.group(1), []))
        if line.strip() and not line.strip().startswith("#"):
            found[-1][1].append(line)
    return found


def faults(text):
    """The functions whose block is too long or not contiguous."""
    found = resources(text)
    names = [name for name, _ in found]
    wrong = []
    for binary in binaries():
        parts = [camel(binary) + part for part in PARTS]
        first = names.index(parts[0])
        if names[first : first + len(parts)] != parts:
            wrong.append(f"{binary}: the block is {names[first : first + len(parts)]}")
        lines = sum(len(lines) for name, lines in found if name in parts)
        if lines > MOST_LINES:
            wrong.append(f"{binary}: {lines} lines")
    return wrong


def unused(text):
    """The anchors without a use."""
    return set(re.findall(r"[\s\[]&([a-z-]+)", text)) - set(re.findall(r"[\s\[]\*([a-z-]+)", text))


class Shape(unittest.TestCase):
    def test_a_function_is_one_short_block(self):
        self.assertEqual(faults(TEXT), [])

    def test_a_long_or_scattered_block_is_found(self):
        description = "      Description: Reports that the process is alive; does no I/O\n"
        (long,) = faults(TEXT.replace(description, description * MOST_LINES))
        self.assertRegex(long, r"^health: \d+ lines$")
        role = TEXT[TEXT.index("  HealthRole:\n") : TEXT.index("  HealthLogGroup:\n")]
        (scattered,) = faults(TEXT.replace(role, "").replace("\nOutputs:\n", f"{role}\nOutputs:\n"))
        self.assertIn("health: the block is", scattered)

    def test_every_anchor_is_used(self):
        self.assertEqual(unused(TEXT), set())
        self.assertEqual(unused(TEXT.replace("*mongodb-as-ping", "*mongodb-as-read")), {"mongodb-as-ping"})

    def test_a_change_for_one_function_changes_no_other(self):
        templates = Templates()
        others = {name: templates.copy().resource(f"{camel(name)}Function") for name in binaries()}
        templates.resource("PaymentsCreateFunction")["Environment"]["Variables"]["REDIS_URL"]["Fn::If"][0] = "Other"
        templates.resource("PaymentsCreateRole")["ManagedPolicyArns"][0]["Ref"] = "Other"
        for name in set(others) - {"payments-create"}:
            self.assertEqual(templates.resource(f"{camel(name)}Function"), others[name], name)
            self.assertNotIn({"Ref": "Other"}, templates.resource(f"{camel(name)}Role")["ManagedPolicyArns"], name)


if __name__ == "__main__":
    unittest.main()
