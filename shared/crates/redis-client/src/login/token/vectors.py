"""Signs tokens with AWS's library for Python and prints the content of vectors.json.

    python3 -m venv venv && venv/bin/pip install botocore==1.43.0 && venv/bin/python vectors.py > vectors.json
"""

import datetime
import itertools
import json
import urllib.parse

import botocore
import botocore.auth
import botocore.session
from botocore.credentials import Credentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SESSION_TOKENS = [None, "IQoJb3JpZ2luX2VjEJr//////////wEaDGV1LWNlbnRyYWwtMSJHMEUCIQ+a/b==&c d~e"]
CACHES = ["serverless", "replication_group"]
REGIONS = ["eu-central-1", "us-gov-west-1"]
USERS = ["payments", "health-redis-2"]
TIMES = [0, 1_700_000_000, 1_709_251_199, 4_102_444_799]


def token(time, session_token, cache_type, region, user, cache_name):
    now = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: now.replace(tzinfo=None)
    query = {"Action": "connect", "User": user}
    if cache_type == "serverless":
        query["ResourceType"] = "ServerlessCache"
    url = urllib.parse.urlunparse(("http", cache_name, "/", "", urllib.parse.urlencode(query), ""))
    signer = RequestSigner(
        ServiceId("elasticache"),
        region,
        "elasticache",
        "v4",
        Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, session_token),
        botocore.session.get_session().get_component("event_emitter"),
    )
    signed = signer.generate_presigned_url(
        {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}},
        operation_name="connect",
        expires_in=900,
        region_name=region,
    )
    return signed.removeprefix("http://")


def main():
    vectors = []
    choices = itertools.product(TIMES, SESSION_TOKENS, CACHES, REGIONS, USERS)
    for time, session_token, cache_type, region, user in choices:
        cache_name = f"truebond-{cache_type.replace('_', '-')}"
        vectors.append({
            "time": time,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
            "session_token": session_token,
            "cache_type": cache_type,
            "cache_name": cache_name,
            "region": region,
            "user": user,
            "token": token(time, session_token, cache_type, region, user, cache_name),
        })
    print(json.dumps({"botocore": botocore.__version__, "vectors": vectors}, indent=1))


main()
