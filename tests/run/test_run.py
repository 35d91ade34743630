"""Tests the output and the behaviour of `make run`."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Empty variables override the developer's `.env`.
SETTINGS = {name: "" for name in re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)}
LIMIT = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def session(pid):
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


class Run:
    """Runs scripts/run in its own session and records its output."""

    def __init__(self, **variables):
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        # Shortens the script's pauses, so that the minute between two schedule runs takes seconds.
        sleep = folder / "sleep"
        sleep.write_text('#!/bin/sh\n[ "$1" = 1 ] && exec /bin/sleep 0.05\nexec /bin/sleep "$1"\n', encoding="utf-8")
        sleep.chmod(0o755)
        self.port = free_port()
        self.path = folder / "output"
        given = {**SETTINGS, "LEDGER_DIR": str(folder / "ledger"), "PORT": str(self.port), **variables}
        environment = {**os.environ, **given, "PATH": f"{folder}:{os.environ['PATH']}"}
        with self.path.open("wb") as file:
            self.process = subprocess.Popen(["scripts/run"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.folder.cleanup()

    def output(self):
        return self.path.read_text(encoding="utf-8")

    def until(self, what, holds):
        deadline = time.monotonic() + LIMIT
        while not holds():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"timed out waiting for: {what}\n{self.output()}")
            time.sleep(0.1)

    def request(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        if data:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    def processes(self):
        """The processes of the session. Each function has a separate process group, but stays in the session."""
        listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, check=True, text=True)
        return [pid for pid in map(int, listed.stdout.split()) if session(pid) == self.process.pid]


class MakeRun(unittest.TestCase):
    def test_the_last_line_names_an_invalid_variable(self):
        with Run(HEALTH_SLOW_MS="many", REDIS_URL="redis://:planted@localhost") as run:
            self.assertEqual(run.process.wait(LIMIT), 1, run.output())
            last = run.output().splitlines()[-1]
            self.assertEqual(last, "error: HEALTH_SLOW_MS is `many`; accepted: whole milliseconds from 1 to 29000")
            self.assertNotIn("planted", run.output())

    def test_the_reason_why_redis_does_not_work_is_printed_without_its_password(self):
        with Run(REDIS_URL="redis://:planted@127.0.0.1:1") as run:
            run.until("serving", lambda: "==> serving" in run.output() and "MongoDB is not used" in run.output())
            self.assertRegex(run.output(), r"\n    Redis does not work: .+ \(connect_\w+\)\n    MongoDB is not used: MONGODB_URI is not set")
            self.assertNotIn("planted", run.output())

    def test_payments_are_reconciled_and_each_request_logs_a_line(self):
        with Run(PAYMENT_RECONCILE_AFTER_SECONDS="1") as run:
            run.until("serving", lambda: "==> serving" in run.output() and "payments-reconcile: invoked" in run.output())
            self.assertRegex(run.output(), r"\n    Redis is not used: REDIS_URL is not set .+\n    MongoDB is not used: MONGODB_URI is not set")

            # The customer authenticates at once, and no client retries.
            order = {"amount": 1999, "currency": "EUR", "payment_method": "pm_sandbox_requires_action"}
            status, payment = run.request("/api/payments", order, **{"Idempotency-Key": "A-1"})
            self.assertEqual((status, payment["status"]), (202, "requires_action"))
            shown = f"/api/payments/{payment['id']}"
            run.until("settled", lambda: run.request(shown)[1]["status"] == "succeeded")

            line = re.compile(r"^\d\d:\d\d:\d\dZ health: GET /api/health 200, [\d.]+ ms$", re.MULTILINE)
            before = len(line.findall(run.output()))
            for _ in range(3):
                run.request("/api/health")
            run.until("three lines more", lambda: len(line.findall(run.output())) == before + 3)
            self.assertNotRegex(run.output(), r"(?m)^\s*\{")

            os.killpg(run.process.pid, signal.SIGINT)
            self.assertEqual(run.process.wait(15), 0)
            deadline = time.monotonic() + 10
            while left := run.processes():
                self.assertLess(time.monotonic(), deadline, f"left: {left}")
                time.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
