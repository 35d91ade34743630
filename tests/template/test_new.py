"""Tests that `make new` writes an endpoint which the checks accept, and that it writes nothing after an error."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cloudformation import ROOT, toml

sys.path.insert(0, str(ROOT / "scripts/new_endpoint"))
import rust_files  # noqa: E402
import new_endpoint  # noqa: E402
from clone import Clone  # noqa: E402
from endpoint import METHODS, Endpoint, Refused  # noqa: E402

# Endpoints with names that no real endpoint has. The long names show whether `make new` breaks each line as rustfmt does.
WANTED = [
    Endpoint.parse("example-of-new", "GET", "/api/example-of-new"),
    Endpoint.parse("example-of-new-with-a-name-that-is-long1", "PUT", "/api/example-of-new/{owner}/parts-of-a-path-that-is-long/{id}/x1"),
]

# Runs the checks in the copy. Applies each spoiler, to check that it can still change the templates. The check of unsafe
# parameters is left out, because it takes longer than all others together.
CHECKS = """
import unittest
from test_template import CHECKS, TEMPLATES, Template
for _, spoilers in CHECKS:
    for spoiler in spoilers:
        spoiler(TEMPLATES.copy())
del Template.test_unsafe_parameters_are_refused
unittest.main(module=None, argv=["checks", "test_template.Template", "test_shape", "test_docs", "test_api_page"])
"""


def copy_into(folder):
    """Copies into the folder the files that git tracks or could add."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_new(folder, *variables):
    """Runs `make new`, without the variables of a `make` command that runs this test."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "NAME", "METHOD", "ENDPOINT_PATH")}
    return subprocess.run(["make", "new", *variables], cwd=folder, env=environment, capture_output=True, text=True)


def rustfmt(*files):
    return subprocess.run(["rustfmt", "--check", "--edition", "2024", *files], cwd=ROOT, capture_output=True, text=True)


class Written(unittest.TestCase):
    """A copy of the repository with two endpoints of `make new`."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = Path(cls.temporary.name)
        copy_into(cls.folder)
        cls.runs = [make_new(cls.folder, f"NAME={wanted.name}", f"METHOD={wanted.method}", f"PATH={wanted.path}") for wanted in WANTED]

    def read(self, path):
        return (self.folder / path).read_text(encoding="utf-8")

    def test_it_prints_what_it_wrote(self):
        for wanted, run in zip(WANTED, self.runs):
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            for path in (f"functions/{wanted.name}/src/main.rs", f"tests/integration/{wanted.snake}.rs", "template.yaml", "openapi.json", "README.md"):
                self.assertIn(f"    {path} ", run.stdout)

    def test_the_checks_accept_it(self):
        """Runs the checks of the templates, of their shape and of the documents. The checks run in the copy, because they read the files beside them."""
        run = subprocess.run([sys.executable, "-c", CHECKS], cwd=self.folder / "tests/template", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_every_list_of_routes_has_it(self):
        """Compares the lists that tests/integration/parity.rs and openapi.rs compare, but needs no build."""
        template, openapi = self.read("template.yaml"), json.loads(self.read("openapi.json"))
        for wanted in WANTED:
            self.assertIn(f'\n"{wanted.path}" = "{wanted.name}"\n', self.read("Cargo.toml"))
            methods = ", ".join(f"`{method}`" for method in wanted.methods)
            self.assertIn(f"\n| {methods} | `{wanted.path}` | `{wanted.name}` | ", self.read("README.md"))
            self.assertEqual({method.upper() for method in openapi["paths"][wanted.path]} - {"PARAMETERS"}, set(wanted.methods))
            for method in wanted.methods:
                self.assertRegex(template, rf"Method: {method}, Path: \"?{re.escape(wanted.path)}\"?,")
                self.assertRegex(template, rf"allowMethods: \[.*\b{method}\b.*\]")

    def test_cargo_changes_nothing_in_the_lock(self):
        run = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        names = {package["name"] for package in json.loads(run.stdout)["packages"]}
        self.assertLessEqual({wanted.name for wanted in WANTED}, names)

    def test_rustfmt_changes_nothing(self):
        files = [self.folder / f"functions/{wanted.name}/src/main.rs" for wanted in WANTED]
        run = rustfmt(*files, self.folder / "tests/integration/main.rs", self.folder / "bench/src/main.rs")
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))

    def test_a_failed_write_leaves_everything_as_it_was(self):
        """A folder is in the place of the last file, so the write fails even for root. The earlier changes are undone."""
        before = contents(self.folder)
        clone = Clone(self.folder)
        clone.create("functions/example-of-failure/src/main.rs", "fn main() {}")
        clone.change("README.md", "", "emptied")
        clone.create("docs", "")
        with self.assertRaisesRegex(Refused, "docs cannot be written: .*; all files are as before"):
            clone.write()
        self.assertEqual(contents(self.folder), before)
        self.assertFalse((self.folder / "functions/example-of-failure").exists())

    def test_a_second_time_it_is_refused_and_nothing_is_written(self):
        before = contents(self.folder)
        for wanted in WANTED:
            run = make_new(self.folder, f"NAME={wanted.name}", f"METHOD={wanted.method}", f"PATH={wanted.path}")
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(f"error: NAME is `{wanted.name}`, and functions/{wanted.name} exists; accepted: ", run.stderr)
            self.assertIn("nothing is written", run.stderr)
        for variable in ("NAME", "METHOD", "PATH"):
            arguments = {"NAME": "example-of-more", "METHOD": "GET", "PATH": "/api/example-of-more"}
            del arguments[variable]
            self.assertIn(f"error: {variable} is not set", make_new(self.folder, *(f"{name}={value}" for name, value in arguments.items())).stderr)
        self.assertEqual(contents(self.folder), before)


class Code(unittest.TestCase):
    def test_rustfmt_changes_nothing_for_any_method(self):
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for method in METHODS:
                for name, path in (("a", "/api/a"), ("a", "/api/{a}"), ("example-list", "/api/examples/{a_long_name}/{other}")):
                    endpoint = Endpoint.parse(name, method, path)
                    for number, text in enumerate((rust_files.main_rs(endpoint), rust_files.integration_tests(endpoint))):
                        files.append(Path(folder) / f"{method}{len(files)}_{number}.rs")
                        files[-1].write_text(text, encoding="utf-8")
            run = rustfmt(*files)
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))


class Rejected(unittest.TestCase):
    """The changes are made in memory, so these tests write nothing."""

    def refusal(self, name="example-of-new", method="GET", path="/api/example-of-new", clone=None):
        with self.assertRaises(Refused) as raised:
            new_endpoint.changed(clone or Clone(), Endpoint.parse(name, method, path))
        return str(raised.exception)

    def test_an_invalid_value_is_named_with_what_is_accepted(self):
        for name in ("Ping", "ping_pong", "-ping", "ping-", "a--b", "1a", "a/b", "../a", "a b", "a\n", "x" * 41, "fn", "test", "main"):
            with self.subTest(name=name):
                self.assertRegex(self.refusal(name=name), r"(?s)^NAME is `.*`.* accepted: ")
        for method in ("get", "HEAD", "PATCH", "GET "):
            with self.subTest(method=method):
                self.assertEqual(self.refusal(method=method), f"METHOD is `{method}`; accepted: GET, POST, PUT, DELETE")
        paths = ("ping", "/ping", "/api", "/api/", "/api/a/", "/api//a", "/api/A", "/api/{Id}", "/api/{id", "/api/{a__b}", "/api/{a+}", "/api/x{id}", "/api/a?b", '/api/a"', "/api/a\n", "/api/..")
        for path in (*paths, "/api/" + "x" * 60, "/api/{type}", "/api/{function}", "/api/{id}/a/{id}"):
            with self.subTest(path=path):
                self.assertRegex(self.refusal(path=path), r"(?s)^PATH is `.*`; accepted: ")

    def test_a_name_that_is_taken_is_refused(self):
        cases = {
            "health": "functions/health exists",
            "redis": "Cargo.lock has a package",
            "access": "template.yaml has a resource `AccessLogGroup`",
            "health-redis-head": "openapi.json has an operation `health-redis-head`",
            "openapi": "tests/integration/openapi.rs exists",
        }
        for name, found in cases.items():
            with self.subTest(name):
                self.assertRegex(self.refusal(name=name), f"^NAME is `{name}`, and {re.escape(found)}.*; accepted: ")

    def test_a_path_that_is_taken_is_refused(self):
        router = toml("Cargo.toml")["workspace"]["metadata"]["lambda"]["watch"]["router"]
        for path in router:
            self.assertEqual(self.refusal(path=path), f"PATH is `{path}`, which has a function; accepted: a path without a function")
        for path in ("/api/payments/{payment}", "/api/payments/{payment}/refund"):
            self.assertIn("accepted: `{id}` in place of `{payment}`", self.refusal(path=path))
        for path in ("/api/payments/{id}/refund", "/api/payment/{payment}", "/api/{area}"):
            new_endpoint.changed(Clone(), Endpoint.parse("example-of-new", "POST", path))

    def test_a_missing_place_is_named(self):
        places = {
            "Cargo.toml": '"functions/*"',
            "template.yaml": "  # --- Policies. A function's role ",
            "tests/template/check_access.py": "OUTSIDE_THE_NETWORK = {",
            "deploy/monitoring.yaml": '"title":"Function throttles"',
            "README.md": "| `lambda:Invoke` |",
            "scripts/costs.py": '"alarm_metrics": ',
            "docs/cost.md": "<!-- make costs -->",
            "tests/integration/main.rs": "mod ",
            "tests/integration/events.rs": "async fn every_endpoint_rejects_an_unreadable_event() {",
            "tests/integration/function.rs": "fn a_function_links_only_the_clients_that_it_uses() {",
            "bench/src/measures/functions.rs": "const FUNCTIONS: [&str; ",
        }
        for path, anchor in places.items():
            with self.subTest(path):
                clone = Clone()
                self.assertIn(anchor, clone.read(path))
                clone.texts[path] = clone.texts[path].replace(anchor, "")
                self.assertIn(f"{path} has no `{' '.join(anchor.split())}", self.refusal(clone=clone))
        for anchor in ("&read-limit", "&route-with-token", "&trace"):
            clone = Clone()
            clone.texts["template.yaml"] = clone.read("template.yaml").replace(f"{anchor} ", "&another ").replace(f"{anchor}\n", "&another\n")
            self.assertIn(f"template.yaml has no `{anchor}`", self.refusal(clone=clone))

    def test_a_failed_write_restores_every_file(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "kept").write_text("before")
            before = contents(Path(folder))
            clone = Clone(Path(folder))
            clone.create("functions/new/src/main.rs", "new")
            clone.change("kept", "after", "a change")
            clone.create("kept/in-a-file", "not possible")
            with self.assertRaisesRegex(Refused, "all files are as before"):
                clone.write()
            self.assertEqual(contents(Path(folder)), before)
            self.assertEqual(os.listdir(folder), ["kept"])


if __name__ == "__main__":
    unittest.main()
