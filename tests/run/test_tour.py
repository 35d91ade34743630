"""Runs the commands in the README and docs/other-languages.md unchanged, and compares their output with the text."""

import io
import os
import re
import subprocess
import sys
import types
import unittest
import urllib.request

from test_run import ROOT, SETTINGS, Run

README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHER_LANGUAGES = (ROOT / "docs/other-languages.md").read_text(encoding="utf-8")
TARGET = os.environ.get("CARGO_TARGET_DIR", "target")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(page, heading):
    """The commands of a section, and the output that the section shows."""
    text = page.split(f"\n## {heading}")[1].split("\n## ")[0]
    return "".join(blocks(text, "bash")), "".join(blocks(text, "text"))


def paste(commands, run):
    """The output of the commands, run in a shell beside `make run`."""
    commands = commands.replace("localhost:9000", f"127.0.0.1:{run.port}").replace("target/", f"{TARGET}/")
    environment = {**os.environ, **SETTINGS, "LEDGER_DIR": f"{run.folder.name}/ledger"}
    done = subprocess.run(["bash", "-c", commands], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout


def start():
    """The output of `make run` that the README shows."""
    (shown,) = (block for block in blocks(README, "console") if block.startswith("$ make run\n"))
    return shown.removeprefix("$ make run\n").replace("9000", "PORT")


def matches(shown, output):
    """Whether `output` is the shown text, in which `…` matches any text, and a blank matches any number of blanks."""
    parts = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in shown.split("…")]
    return re.fullmatch(".*?".join(parts), output, re.DOTALL) is not None


class Tour(unittest.TestCase):
    def assert_shown(self, shown, printed):
        self.assertTrue(matches(shown, printed), f"shown:\n{shown}\nprinted:\n{printed}")

    def test_the_tour_prints_what_the_readme_shows(self):
        commands, shown = section(README, "A tour")
        with Run() as run:
            run.until("serving", lambda: "MongoDB is not used" in run.output())
            self.assert_shown(f"…{start()}…", run.output().replace(str(run.port), "PORT"))
            printed = paste(commands, run)
        first, again = printed.splitlines()[:2]
        self.assertEqual(first, again)
        self.assert_shown(shown, printed)

    def test_a_key_is_resolved_as_the_docs_show(self):
        commands, shown = section(OTHER_LANGUAGES, "My function crashed")
        with Run() as run:
            run.until("serving", lambda: "==> serving" in run.output())
            self.assert_shown(shown, paste(commands, run))

    def test_the_function_in_python_charges_once(self):
        (code,) = blocks(README, "python")
        self.assertLessEqual(len([line for line in code.splitlines() if line.strip()]), 12)
        charged = []

        def charge(order, key):
            charged.append(key)
            return {"charge": len(charged), "amount": order["amount"]}

        with Run() as run:
            run.until("serving", lambda: "==> serving" in run.output())

            class Client:
                def invoke(self, FunctionName, Payload):
                    url = f"http://127.0.0.1:{run.port}/2015-03-31/functions/{FunctionName}/invocations"
                    with urllib.request.urlopen(url, Payload.encode(), timeout=30) as answer:
                        return {"Payload": io.BytesIO(answer.read())}

            os.environ["IDEMPOTENCY_FUNCTION"] = "idempotency"
            self.addCleanup(os.environ.pop, "IDEMPOTENCY_FUNCTION")
            boto3 = types.ModuleType("boto3")
            boto3.client = lambda service: Client()
            names = {"charge": charge}
            sys.modules["boto3"] = boto3
            self.addCleanup(sys.modules.pop, "boto3")
            exec(code, names)

            order = {"id": "order-1", "amount": 1999}
            first, again = names["handler"](order, None), names["handler"](order, None)
            other = names["handler"]({"id": "order-1", "amount": 2000}, None)

        self.assertEqual(first, {"charge": 1, "amount": 1999})
        self.assertEqual(again, first)
        self.assertEqual(other, {"outcome": "mismatch"})
        self.assertEqual(len(charged), 1)


class Matching(unittest.TestCase):
    def test_another_output_is_noticed(self):
        shown = "HTTP/1.1 201 Created\n{…\"a\":1…}\n"
        self.assertTrue(matches(shown, "HTTP/1.1 201 Created\n{\"b\":2,\"a\":1,\"c\":3}\n"))
        for other in ["HTTP/1.1 202 Accepted\n{\"a\":1}\n", "HTTP/1.1 201 Created\n{\"a\":2}\n", "HTTP/1.1 201 Created\n{\"a\":1}\nmore\n", ""]:
            self.assertFalse(matches(shown, other), other)


if __name__ == "__main__":
    unittest.main()
