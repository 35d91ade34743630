"""Tests that scripts/advisories.py distinguishes a vulnerability from an unreachable OSV."""

import contextlib
import datetime
import http.server
import io
import json
import os
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from cloudformation import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import advisories  # noqa: E402
from advisories import Package  # noqa: E402

CARGO_LOCK = """version = 4

[[package]]
name = "ours"
version = "1.0.0"

[[package]]
name = "time"
version = "0.1.42"
source = "registry+https://github.com/rust-lang/crates.io-index"
"""
PACKAGE_LOCK = json.dumps({"packages": {"": {"name": "ours"}, "node_modules/a/node_modules/@b/c": {"version": "1.0.0"}}})
REQUIREMENTS = """# A comment
jinja2[i18n]==2.4.1 ; python_version < '3.11' \\
    --hash=sha256:00
    # via nothing
"""
JARS = f"{'0' * 64}  netty-codec-base-4.2.2.Final.jar\n"
NETTY = Package("Maven", "io.netty:netty-codec-base", "4.2.2.Final")
TIME, SCOPED, JINJA2 = Package("crates.io", "time", "0.1.42"), Package("npm", "@b/c", "1.0.0"), Package("PyPI", "jinja2", "2.4.1")


class Osv(http.server.BaseHTTPRequestHandler):
    """Simulates OSV: the reply for a package is the package's entry in `answers`. A number is a status, bytes are a body."""

    answers: dict = {}

    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        status, text = 200, None
        results = []
        for query in queries:
            answer = self.answers.get(Package(query["package"]["ecosystem"], query["package"]["name"], query["version"]), {})
            if isinstance(answer, int):
                status, text = answer, b"no"
            elif isinstance(answer, bytes):
                text = answer
            elif callable(answer):
                results.append(answer(query))
            else:
                results.append(answer)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"results": results}).encode() if text is None else text)

    def log_message(self, *_):
        pass


def vulnerable(*ids):
    return {"vulns": [{"id": name, "modified": "2026-01-01T00:00:00Z"} for name in ids]}


class Advisories(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "bench").mkdir()
        (self.root / "Cargo.lock").write_text(CARGO_LOCK)
        (self.root / "bench/package-lock.json").write_text(PACKAGE_LOCK)
        (self.root / "bench/jars.sha256").write_text(JARS)
        (self.root / "bench/requirements.txt").write_text(REQUIREMENTS)
        # One package per request, and no proxy to the test server.
        for patch in (mock.patch.object(advisories, "BATCH", 1), mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1"})):
            patch.start()
            self.addCleanup(patch.stop)

    def run_with(self, answers, *arguments):
        """Runs the script. Returns whether it succeeded, and its output."""
        handler = type("Handler", (Osv,), {"answers": answers})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            return self.run_at(f"http://127.0.0.1:{server.server_port}", *arguments)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def run_at(self, osv, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = advisories.main(arguments, self.root, osv)
        return status == 0, output.getvalue()

    def nowhere(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Osv)
        server.server_close()
        return f"http://127.0.0.1:{server.server_port}"

    def test_packages_without_an_advisory_pass(self):
        self.assertEqual(self.run_with({}), (True, "no known vulnerability in 4 packages\n"))

    def test_a_vulnerable_package_of_any_lock_file_fails(self):
        for package, file in ((TIME, "Cargo.lock"), (SCOPED, "bench/package-lock.json"), (JINJA2, "bench/requirements.txt"), (NETTY, "bench/jars.sha256")):
            for arguments in ((), ("--if-reachable",)):
                with self.subTest(package, arguments=arguments):
                    passed, output = self.run_with({package: vulnerable("GHSA-1")}, *arguments)
                    self.assertFalse(passed)
                    self.assertIn(f"{package.name} {package.version} ({file}): https://osv.dev/vulnerability/GHSA-1", output)

    def test_an_unreachable_osv_fails_unless_if_reachable_is_given(self):
        self.assertFalse(self.run_at(self.nowhere())[0])
        passed, output = self.run_at(self.nowhere(), "--if-reachable")
        self.assertTrue(passed)
        self.assertEqual(len(output.splitlines()), 1, output)
        self.assertIn("advisories not looked up", output)
        for status in (429, 500, 503):
            with self.subTest(status):
                self.assertFalse(self.run_with({JINJA2: status})[0])
                self.assertTrue(self.run_with({JINJA2: status}, "--if-reachable")[0])

    def test_a_vulnerability_before_an_outage_fails(self):
        # The order of the queries is Maven, PyPI, crates.io, npm.
        for trouble in (503, 400, b"<html>"):
            with self.subTest(trouble):
                passed, output = self.run_with({JINJA2: vulnerable("GHSA-1"), SCOPED: trouble}, "--if-reachable")
                self.assertFalse(passed)
                self.assertIn("GHSA-1", output)

    def test_an_invalid_answer_fails(self):
        for answer in (400, 403, 404, b"<html>", b"{}", b"[]", b'{"results": []}', b'{"results": ["a"]}', b'{"results": [{"vulns": [{}]}]}'):
            with self.subTest(answer):
                self.assertFalse(self.run_with({TIME: answer}, "--if-reachable")[0])

    def test_all_pages_are_read(self):
        def pages(query):
            return vulnerable("GHSA-2") if query.get("page_token") == "next" else {"next_page_token": "next"}

        passed, output = self.run_with({TIME: pages})
        self.assertFalse(passed)
        self.assertIn("GHSA-2", output)

    def test_an_accepted_advisory_passes_until_its_last_day(self):
        today = datetime.date.today()
        for last_day, expected in ((today, True), (today - datetime.timedelta(days=1), False)):
            with mock.patch.object(advisories, "ACCEPTED", {"GHSA-1": (last_day, "never built")}):
                self.assertEqual(self.run_with({TIME: vulnerable("GHSA-1")})[0], expected)
                self.assertFalse(self.run_with({TIME: vulnerable("GHSA-1", "GHSA-2")})[0])

    def test_an_unreadable_lock_file_fails(self):
        for file, text in (("Cargo.lock", "version = 4"), ("bench/requirements.txt", "jinja2>=2"), ("bench/package-lock.json", '{"packages": {}}'), ("bench/jars.sha256", JARS.replace("netty", "log4j"))):
            with self.subTest(file):
                before = (self.root / file).read_text()
                (self.root / file).write_text(text)
                self.assertFalse(self.run_with({}, "--if-reachable")[0])
                (self.root / file).write_text(before)
        with tempfile.TemporaryDirectory() as empty:
            self.root = Path(empty)
            self.assertFalse(self.run_with({}, "--if-reachable")[0])

    def test_the_lock_files_of_this_repository_are_read(self):
        files = {file for files in advisories.locked(ROOT).values() for file in files}
        contestants = "bench/contestants"
        self.assertLessEqual(
            {"Cargo.lock", "examples/durable-payment/Cargo.lock", "examples/payment-lambda/Cargo.lock", "tests/harness/mongo/jars.sha256", f"{contestants}/idempotent-crate/Cargo.lock", f"{contestants}/powertools-python/requirements.txt", f"{contestants}/powertools-typescript/package-lock.json"},
            files,
        )
        self.assertLessEqual({f"scripts/locks/{lock.name}" for lock in (ROOT / "scripts/locks").iterdir()}, files)


class Callers(unittest.TestCase):
    def test_only_the_ci_command_passes_if_reachable(self):
        self.assertIn("scripts/advisories --if-reachable", (ROOT / ".ci/run").read_text())
        self.assertIn("run: make advisories\n", (ROOT / ".github/workflows/ci.yml").read_text())
        for caller in ("Makefile", ".github/workflows/ci.yml"):
            self.assertNotIn("--if-reachable", (ROOT / caller).read_text())


if __name__ == "__main__":
    unittest.main()
