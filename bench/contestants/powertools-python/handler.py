"""The function that every contestant is: a charge, and an answer about it.

With BENCH_IDEMPOTENCY=off it is the same function without Powertools, none of which is imported then: what Powertools adds
is the difference between the two.
"""

import http.client
import json
import os
import secrets
from urllib.parse import urlsplit

CHARGE_SECONDS = 20


def work(event, _context):
    """Charges where there is somebody to charge at, and answers with a `run` that no other execution has."""
    request = json.loads(event["body"])
    if url := os.environ.get("BENCH_WORK_URL"):
        charge(url, event["headers"]["idempotency-key"])
    return answer(201, {"run": secrets.token_hex(16), "amount": request["amount"], "pad": request["pad"]})


def charge(url, key):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=CHARGE_SECONDS)
    try:
        connection.request("POST", address.path or "/", json.dumps({"key": key}), {"content-type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 200:
        raise RuntimeError(f"the charge was answered with {status}")


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


if os.environ.get("BENCH_IDEMPOTENCY") == "off":
    handle = work
else:
    from once import at_most_once

    handle = at_most_once(work, answer)
