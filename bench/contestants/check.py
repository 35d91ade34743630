#!/usr/bin/env python3
"""Checks each contestant of this folder against the benchmark's contract and against README.md.

Each contestant runs as a process under a Runtime API of this script, with its own Redis, on loopback. The checks cover statuses,
executions and commands, but no times.

    python3 bench/contestants/check.py [contestant…]
"""

import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 60
TTL_SECONDS = 3600
# The commands of one call, as Redis counts them.
COMMANDS = {
    "powertools-python": {"fresh": ["set", "set"], "replay": ["get", "get", "set"], "mismatch": ["get", "get", "set"]},
    "powertools-typescript": {"fresh": ["set", "set"], "replay": ["get", "set"], "mismatch": ["get", "set"]},
}


class Server(http.server.ThreadingHTTPServer):
    """A server on a free port of loopback that keeps connections open."""

    daemon_threads = True

    def __init__(self, respond):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                status, headers, answer = respond(self.path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        # Ignores broken connections of killed processes.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"


class Work:
    """The server to which functions send their charges. It counts charges by key and answers when the gate is open."""

    def __init__(self):
        self.charges = {}
        self.gate = threading.Event()
        self.gate.set()
        self.server = Server(self.charge)

    def charge(self, _path, body):
        key = json.loads(body)["key"]
        self.charges[key] = self.charges.get(key, 0) + 1
        self.gate.wait(PATIENCE_SECONDS)
        return 200, {}, b"{}"

    def until_charged(self, key, times):
        until(lambda: self.charges.get(key, 0) >= times, f"charge {times} of {key}")


class Redis:
    """A redis-server without persistence."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.directory = tempfile.mkdtemp()
        self.start()

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.directory]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        until(lambda: self.command("PING") == "PONG", "Redis")

    def command(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True)
        return done.stdout.strip()

    def commands(self, call):
        """Returns the result of `call`, and the commands that Redis got meanwhile."""
        self.command("CONFIG", "RESETSTAT")
        returned = call()
        names = []
        for line in self.command("INFO", "commandstats").splitlines():
            name, _, counts = line.removeprefix("cmdstat_").partition(":calls=")
            if name in ("set", "get", "del", "eval", "evalsha"):
                names += [name] * int(counts.split(",")[0])
        return returned, sorted(names)

    def end(self):
        """Ends the server and loses its data."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.end()
        shutil.rmtree(self.directory)


class LossyPath:
    """A proxy in front of Redis that can close the connection instead of sending the next reply."""

    def __init__(self, redis):
        self.redis = redis
        self.losing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.redis.port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, target, source is server), daemon=True).start()

    def pump(self, source, target, replies):
        try:
            while data := source.recv(65536):
                if replies and self.losing.is_set():
                    self.losing.clear()
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Function:
    """One process of a contestant, and its Runtime API."""

    def __init__(self, name, redis, **settings):
        self.events = queue.Queue()
        self.answers = {}
        self.server = Server(self.respond)
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": self.server.address,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "us-east-1",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
            **settings,
        }
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([HERE / name / "run"], env=environment, stdout=self.log, stderr=self.log)

    def respond(self, path, body):
        _, _, _, action, *rest = path.strip("/").split("/") + [""]
        if action == "next":
            invocation, event, deadline = self.events.get()
            headers = {
                # AWS's runtime client for Python crashes without a content type.
                "content-type": "application/json",
                "lambda-runtime-aws-request-id": invocation,
                "lambda-runtime-deadline-ms": str(int(deadline * 1000)),
                "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:123456789012:function:bench",
            }
            return 200, headers, json.dumps(event).encode()
        answer = json.loads(body)
        self.answers[action].put({"failed": answer["errorType"]} if rest[0] == "error" else answer)
        return 202, {}, b"{}"

    def send(self, event, seconds):
        """Sends the function an event with a timeout in seconds. Returns a function that waits for the answer."""
        invocation = str(uuid.uuid4())
        answers = self.answers[invocation] = queue.Queue()
        self.events.put((invocation, event, time.time() + seconds))

        def wait():
            try:
                return answers.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                self.log.seek(0)
                raise Failure(f"no answer after {PATIENCE_SECONDS} s; the function said: {self.log.read()}") from None

        return wait

    def call(self, key, seconds=30, **changes):
        return self.send(event(key, **changes), seconds)()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Failure(Exception):
    pass


def event(key, amount=1999, pad="x"):
    return {
        "version": "2.0",
        "routeKey": "POST /bench",
        "rawPath": "/bench",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "idempotency-key": key},
        "requestContext": {"http": {"method": "POST", "path": "/bench", "sourceIp": "127.0.0.1"}, "stage": "$default"},
        "body": json.dumps({"amount": amount, "currency": "EUR", "pad": pad}),
        "isBase64Encoded": False,
    }


def until(true, what):
    deadline = time.time() + PATIENCE_SECONDS
    while not true():
        if time.time() > deadline:
            raise Failure(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.02)


def equal(found, wanted, what):
    if found != wanted:
        raise Failure(f"{what}: found {str(found)[:300]}, wanted {str(wanted)[:300]}")


def status(answer):
    return answer.get("statusCode", answer.get("failed"))


class Stage:
    """The parameters of a check: a contestant with Redis, and the server that counts its charges."""

    def __init__(self, name):
        self.name = name
        self.redis = Redis()
        self.work = Work()
        self.functions = []

    def function(self, **settings):
        function = Function(self.name, self.redis, **settings)
        self.functions.append(function)
        return function

    def charging(self, **settings):
        return self.function(BENCH_WORK_URL=f"http://{self.work.server.address}/", **settings)

    def stop(self):
        self.work.gate.set()
        for function in self.functions:
            function.stop()
        self.redis.stop()


def a_fresh_key_is_answered_with_the_request(stage):
    answer = stage.function().call("k", pad="läng€r")
    equal(status(answer), 201, "status")
    equal(answer["headers"]["content-type"], "application/json", "content type")
    body = json.loads(answer["body"])
    equal((sorted(body), body["amount"], body["pad"]), (["amount", "pad", "run"], 1999, "läng€r"), "body")
    int(body["run"], 16)


def each_key_is_executed(stage):
    function = stage.charging()
    runs = {json.loads(function.call(key)["body"])["run"] for key in "abc"}
    equal((len(runs), stage.work.charges), (3, {"a": 1, "b": 1, "c": 1}), "executions")


def a_repeated_key_is_answered_with_the_first_body(stage):
    first = stage.charging().call("k")
    # Another process gets the retry, so that only Redis can have the result.
    second = stage.charging().call("k")
    equal((status(second), second["body"]), (201, first["body"]), "replay")
    equal(stage.work.charges, {"k": 1}, "executions")


def a_repeated_key_with_another_body_is_refused(stage):
    function = stage.charging()
    function.call("k")
    equal(status(function.call("k", amount=2000)), 422, "status")
    equal(stage.work.charges, {"k": 1}, "executions")


def a_key_in_progress_is_refused(stage):
    first, second = stage.charging(), stage.charging()
    stage.work.gate.clear()
    first_answer = first.send(event("k"), 30)
    stage.work.until_charged("k", 1)
    equal(status(second.call("k")), 409, "status meanwhile")
    equal(status(second.call("k", amount=2000)), 422, "status meanwhile, with another body")
    stage.work.gate.set()
    first_body = first_answer()["body"]
    equal(second.call("k")["body"], first_body, "replay afterwards")
    equal(stage.work.charges, {"k": 1}, "executions")


def without_idempotency_each_call_runs(stage):
    function = stage.charging(BENCH_IDEMPOTENCY="off")
    (first, second), commands = stage.redis.commands(lambda: (function.call("k"), function.call("k")))
    equal([status(first), status(second)], [201, 201], "statuses")
    equal(first["body"] != second["body"], True, "two executions")
    equal((stage.work.charges, commands), ({"k": 2}, []), "executions and commands")


def a_record_lives_an_hour(stage):
    stage.function().call("k")
    keys = stage.redis.command("KEYS", "*").splitlines()
    equal(len(keys), 1, "records")
    ttl = int(stage.redis.command("TTL", keys[0]))
    # The lifetime can be a second too long, because Powertools computes it from two readings of a clock with whole seconds.
    equal(TTL_SECONDS - PATIENCE_SECONDS < ttl <= TTL_SECONDS + 1, True, f"lifetime {ttl} s")


def redis_gets_the_commands_that_the_readme_lists(stage):
    function, redis = stage.function(), stage.redis
    function.call("connect")
    found = {
        "fresh": redis.commands(lambda: function.call("k"))[1],
        "replay": redis.commands(lambda: function.call("k"))[1],
        "mismatch": redis.commands(lambda: function.call("k", amount=2000))[1],
    }
    equal(found, COMMANDS[stage.name], "commands")


def large_bodies_are_saved_whole(stage):
    function, plain = stage.charging(), stage.function(BENCH_IDEMPOTENCY="off")
    pads = {"1 MB": "p" * 1_000_000, "5 MB": "p" * 5_000_000, "1 MB of quotes": '"' * 1_000_000}
    notes = []
    for key, pad in pads.items():
        equal(json.loads(plain.call(key, pad=pad)["body"])["pad"] == pad, True, f"{key} without idempotency")
        first, second = function.call(key, pad=pad), function.call(key, pad=pad)
        equal((status(first), json.loads(first["body"])["pad"] == pad), (201, True), f"{key} fresh")
        equal(second["body"] == first["body"], True, f"{key} replayed")
        equal(status(function.call(key, pad=pad + "q")), 422, f"{key} mismatch")
        record = stage.redis.command("STRLEN", stage.redis.command("KEYS", "*"))
        notes.append(f"{key}: a record of {record} bytes for an answer of {len(json.dumps(first))}")
        stage.redis.command("FLUSHALL")
    equal(stage.work.charges, {key: 1 for key in pads}, "executions")
    return "; ".join(notes)


def as_shipped_every_retry_is_refused(stage):
    """When this check fails, the library is fixed, and the override in once.* can be removed."""
    function = stage.function(BENCH_POWERTOOLS="as-shipped")
    equal([status(function.call("k")), status(function.call("k"))], [201, 422], "the same request twice")


def a_failed_handler_releases_the_key(stage):
    function = stage.function(BENCH_WORK_URL="http://127.0.0.1:1/")
    equal("failed" in function.call("k"), True, "refused charge")
    equal(stage.redis.command("KEYS", "*"), "", "records")


# The results of faults. README.md lists what the libraries' documentation promises.


def after_a_flush_the_work_runs_again(stage):
    function = stage.charging()
    function.call("k")
    stage.redis.command("FLUSHALL")
    equal(status(function.call("k")), 201, "status")
    equal(stage.work.charges, {"k": 2}, "executions")


def after_a_kill_the_work_runs_again_after_the_first_timeout(stage):
    first, second = stage.charging(), stage.charging()
    stage.work.gate.clear()
    first.send(event("k"), 4)
    over = time.time() + 4
    stage.work.until_charged("k", 1)
    first.stop()
    stage.work.gate.set()
    equal(status(second.call("k")), 409, "status before")
    until(lambda: time.time() > over, "the deadline")
    equal(status(second.call("k")), 201, "status after")
    equal(stage.work.charges, {"k": 2}, "executions")


def after_two_kills_the_key_is_blocked_until_the_lock_expires(stage):
    functions = [stage.charging() for _ in range(3)]
    stage.work.gate.clear()
    for times, function in enumerate(functions[:2], start=1):
        function.send(event("k"), 2)
        over = time.time() + 2
        stage.work.until_charged("k", times)
        function.stop()
        until(lambda: time.time() > over, "the deadline")
    stage.work.gate.set()
    # The lock's ten seconds began at the takeover by the second process.
    equal(":lock" in stage.redis.command("KEYS", "*"), True, "lock")
    wanted = {"powertools-python": "IdempotencyInconsistentStateError", "powertools-typescript": 409}
    equal(status(functions[2].call("k")), wanted[stage.name], "status with the lock")
    until(lambda: ":lock" not in stage.redis.command("KEYS", "*"), "the lock's end")
    equal(status(functions[2].call("k")), 201, "status without the lock")
    equal(stage.work.charges, {"k": 3}, "executions")


def after_a_freeze_the_work_runs_twice_and_the_late_answer_is_kept(stage):
    first, second = stage.charging(), stage.charging()
    stage.work.gate.clear()
    first_answer = first.send(event("k"), 2)
    over = time.time() + 2
    stage.work.until_charged("k", 1)
    first.signal(signal.SIGSTOP)
    stage.work.gate.set()
    until(lambda: time.time() > over, "the deadline")
    second_answer = second.call("k")
    first.signal(signal.SIGCONT)
    late = first_answer()
    equal((status(second_answer), status(late)), (201, 201), "statuses")
    equal(late["body"] != second_answer["body"], True, "two answers")
    equal(second.call("k")["body"], late["body"], "replay")
    equal(stage.work.charges, {"k": 2}, "executions")


def a_completion_that_redis_refuses_is_an_error_and_then_a_second_run(stage):
    function = stage.charging()
    stage.work.gate.clear()
    answer = function.send(event("k"), 4)
    over = time.time() + 4
    stage.work.until_charged("k", 1)
    stage.redis.command("CONFIG", "SET", "maxmemory", "1")
    stage.work.gate.set()
    equal(status(answer()), "IdempotencyPersistenceLayerError", "answer")
    stage.redis.command("CONFIG", "SET", "maxmemory", "0")
    equal(status(function.call("k")), 409, "status before")
    until(lambda: time.time() > over, "the deadline")
    equal(status(function.call("k")), 201, "status after")
    equal(stage.work.charges, {"k": 2}, "executions")


def a_lost_reply_to_the_claim_blocks_the_key_until_the_timeout(stage):
    path = LossyPath(stage.redis)
    function = stage.charging(REDIS_URL=f"redis://127.0.0.1:{path.port}")
    function.call("connect")
    path.losing.set()
    over = time.time() + 4
    # Python's client resends the command and finds its own record; TypeScript's client gives up.
    wanted = {"powertools-python": 409, "powertools-typescript": "IdempotencyPersistenceLayerError"}
    equal(status(function.call("k", seconds=4)), wanted[stage.name], "answer")
    equal(status(function.call("k")), 409, "status before")
    until(lambda: time.time() > over, "the deadline")
    equal(status(function.call("k")), 201, "status after")
    equal(stage.work.charges, {"connect": 1, "k": 1}, "executions")


def a_completion_whose_reply_is_lost_is_replayed(stage):
    path = LossyPath(stage.redis)
    function = stage.charging(REDIS_URL=f"redis://127.0.0.1:{path.port}")
    stage.work.gate.clear()
    answer = function.send(event("k"), 30)
    stage.work.until_charged("k", 1)
    path.losing.set()
    stage.work.gate.set()
    wanted = {"powertools-python": 201, "powertools-typescript": "IdempotencyPersistenceLayerError"}
    equal(status(answer()), wanted[stage.name], "answer")
    equal(status(function.call("k")), 201, "replay")
    equal(stage.work.charges, {"k": 1}, "executions")


def a_completion_without_redis_is_an_error_and_then_a_second_run(stage):
    function = stage.charging()
    stage.work.gate.clear()
    answer = function.send(event("k"), 30)
    stage.work.until_charged("k", 1)
    stage.redis.end()
    stage.work.gate.set()
    equal(status(answer()), "IdempotencyPersistenceLayerError", "answer")
    stage.redis.start()
    equal(status(function.call("k")), 201, "status afterwards")
    equal(stage.work.charges, {"k": 2}, "executions")


def a_connection_lost_midway_is_opened_again(stage):
    function = stage.charging()
    stage.work.gate.clear()
    answer = function.send(event("k"), 30)
    stage.work.until_charged("k", 1)
    stage.redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    stage.work.gate.set()
    first = answer()
    equal((status(first), function.call("k")["body"]), (201, first["body"]), "answers")
    equal(stage.work.charges, {"k": 1}, "executions")


CHECKS = [
    a_fresh_key_is_answered_with_what_was_sent,
    each_key_is_an_execution_of_its_own,
    a_repeated_key_is_answered_with_the_first_body,
    a_repeated_key_with_another_body_is_refused,
    a_key_in_progress_is_refused,
    without_idempotency_each_call_runs,
    a_record_lives_an_hour,
    redis_is_given_the_commands_that_the_readme_counts,
    large_bodies_are_saved_whole,
    as_shipped_every_repetition_is_refused,
    a_handler_that_fails_lets_the_key_go,
    after_a_flush_the_work_runs_again,
    killed_midway_it_runs_again_once_the_time_of_the_first_is_over,
    killed_twice_the_key_is_blocked_until_the_lock_is_gone,
    frozen_past_its_time_it_runs_twice_and_the_late_answer_is_kept,
    a_completion_that_redis_refuses_is_an_error_and_then_a_second_run,
    a_claim_whose_reply_is_lost_blocks_the_key_for_the_time_that_was_left,
    a_completion_whose_reply_is_lost_is_replayed,
    a_completion_without_redis_is_an_error_and_then_a_second_run,
    a_connection_lost_midway_is_opened_again,
]


def main(names):
    failed = 0
    for name in names:
        for check in CHECKS:
            stage = Stage(name)
            try:
                note = check(stage)
                outcome = f"ok ({note})" if note else "ok"
            except Exception as failure:
                failed += 1
                outcome = f"FAILED: {failure!r}"
            finally:
                stage.stop()
            print(f"{name}: {check.__name__}: {outcome}", flush=True)
    print(f"{len(names) * len(CHECKS) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or sorted(COMMANDS)))
