"""Signs bodies with Stripe's own library, and prints the content of vectors.json.

    python3 -m venv venv && venv/bin/pip install stripe && venv/bin/python vectors.py > vectors.json
"""

import json

import stripe

SECRETS = ["whsec_first", "whsec_second"]
BODIES = [
    b"{}",
    b'{"id":"evt_1","object":"event"}\n',
    '{"description":"Größe – 東京"}'.encode(),
]
TIMES = [0, 1_700_000_000, 4_102_444_800]


def main():
    vectors = []
    for secret in SECRETS:
        for body in BODIES:
            for time in TIMES:
                signed = f"{time}.{body.decode()}"
                signature = stripe.WebhookSignature._compute_signature(signed, secret)
                stripe.WebhookSignature.verify_header(body.decode(), f"t={time},v1={signature}", secret)
                vectors.append({
                    "secret": secret,
                    "time": time,
                    "body": body.decode(),
                    "signature": signature,
                })
    print(json.dumps({"stripe": stripe.VERSION, "vectors": vectors}, indent=1))


main()
