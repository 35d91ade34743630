"""The function of every contestant: a charge, and an answer.

With BENCH_IDEMPOTENCY=off the function does not import Powertools. The difference between the two is the added cost.
"""

import http.client
import json
import os
import secrets
from urllib.parse import urlsplit

CHARGE_SECONDS = 20


def work(event, _context):
    """Charges at BENCH_WORK_URL if it is set, and answers with a random `run` that is different for each execution."""
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
