"""Protects a function by Powertools' idempotency decorator with Redis."""

import json
import os
import time
from urllib.parse import urlsplit

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer


class ValidatingLayer(CachePersistenceLayer):
    """Keeps the hash of the payload in the completed record.

    The original layer drops the hash, and then refuses every retry as a request with another payload, although the documentation promises
    the first answer. Redis gets the same commands.
    """

    def _update_record(self, data_record):
        record = {
            self.data_attr: data_record.response_data,
            self.status_attr: data_record.status,
            self.expiry_attr: data_record.expiry_timestamp,
            self.validation_key_attr: data_record.payload_hash,
        }
        seconds = data_record.expiry_timestamp - int(time.time())
        self.client.set(name=data_record.idempotency_key, value=json.dumps(record), ex=seconds)


def at_most_once(work, answer):
    """Returns a handler that runs `work` once per idempotency key and converts the exceptions of Powertools into statuses."""
    shipped = os.environ.get("BENCH_POWERTOOLS") == "as-shipped"
    redis = urlsplit(os.environ["REDIS_URL"])
    # The layer gets host and port, as in the documentation's first example, because a client made from a URL does not retry.
    layer = (CachePersistenceLayer if shipped else ValidatingLayer)(host=redis.hostname, port=redis.port, ssl=False)
    config = IdempotencyConfig(
        event_key_jmespath='headers."idempotency-key"',
        payload_validation_jmespath="powertools_json(body)",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=3600,
    )
    once = idempotent(persistence_store=layer, config=config)(work)

    def handle(event, context):
        try:
            return once(event, context)
        except IdempotencyAlreadyInProgressError:
            return answer(409, {"error": "in progress"})
        except IdempotencyValidationError:
            return answer(422, {"error": "the key belongs to another request"})

    return handle
