"""A payment Lambda that charges at most once, with the function `idempotency`. Python 3.9 or later, standard library."""

import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request

ENDPOINT = os.environ.get("IDEMPOTENCY_ENDPOINT", "http://127.0.0.1:9000")
PROVIDER = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8080/charges")


def invoke(FunctionName, Payload):
    """On AWS: boto3.client("lambda").invoke(FunctionName=…, Payload=…)["Payload"].read()."""
    url = f"{ENDPOINT}/2015-03-31/functions/{FunctionName}/invocations"
    with urllib.request.urlopen(urllib.request.Request(url, Payload, method="POST"), timeout=10) as reply:
        return reply.read()


def ask(operation, **members):
    """Retries until there is a reply. Each try sends the same request with the same owner, so nothing is done twice."""
    request = json.dumps({"operation": operation, **members}).encode()
    for pause in (0.1, 0.5, 1, None):
        try:
            answer = json.loads(invoke(FunctionName="idempotency", Payload=request))
            outcome = answer["outcome"]
        except Exception:  # the reply was lost or is invalid
            answer, outcome = {}, "unavailable"
        if outcome == "invalid":
            raise ValueError(answer["errors"])
        if outcome != "unavailable" or pause is None:
            return outcome, answer
        time.sleep(pause)


def charge(order, idempotency_key):
    headers = {"content-type": "application/json", "idempotency-key": idempotency_key}
    request = urllib.request.Request(PROVIDER, json.dumps(order).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return {"status": 201, "charge": json.load(reply)}
    except urllib.error.HTTPError as refusal:
        if refusal.code != 402:
            raise
        return {"status": 402, "reason": "declined"}  # a refusal is a result too


def handler(event, context=None):
    order = event["order"]
    # The owner is random for each `begin`. It must not be the event's id, because a second delivery would
    # then count as the same attempt.
    owner = secrets.token_hex(16)
    outcome, begun = ask("begin", scope="orders", key=order["id"], payload=order, owner=owner, lease_ms=30000)
    if outcome == "replay":
        return begun["response"]
    if outcome != "started":
        return {"status": 409, "reason": outcome}
    lease = begun["lease"]
    noted, saved = ask("checkpoint", lease=lease, data={"charging": order["amount"]})
    # The lease may have ended if replies were late. If the checkpoint is not stored, another attempt may have taken over.
    if noted != "saved" or lease["expires_in_ms"] == 0:
        ask("release", lease=lease)
        return {"status": 503, "reason": "nothing happened"}
    lease["rev"] = saved["rev"]  # the next `checkpoint` or `renew` follows this revision
    try:
        result = charge(order, begun["derived_key"])
    except Exception as error:
        if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
            ask("release", lease=lease)
            return {"status": 503, "reason": "nothing happened"}
        ask("mark_unknown", lease=lease)
        return {"status": 502, "reason": "unknown"}
    _, stored = ask("complete", lease=lease, response=result)
    # The charge has happened, even if its result is not stored. If another result was stored first, that result counts.
    return stored.get("response", result)


if __name__ == "__main__":
    print(json.dumps(handler(json.loads(sys.argv[1]))))
