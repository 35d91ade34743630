'use strict';
// Protects a function by Powertools' idempotency wrapper with Redis.

// The bundle of packages that `scripts/install bench-contestants` creates (packages.mjs).
const { CachePersistenceLayer, IdempotencyConfig, createClient, makeIdempotent } = require('powertools-with-redis');

/**
 * Keeps the hash of the payload in the completed record.
 *
 * The original layer drops the hash, and then refuses every retry as a request with another payload, although the documentation promises
 * the first answer. Redis gets the same commands.
 */
class ValidatingLayer extends CachePersistenceLayer {
  #client;

  constructor(options) {
    super(options);
    this.#client = options.client;
  }

  async _updateRecord(record) {
    const value = JSON.stringify({
      status: record.getStatus(),
      expiration: record.expiryTimestamp,
      data: record.responseData,
      validation: record.payloadHash,
    });
    const seconds = record.expiryTimestamp - Math.floor(Date.now() / 1000);
    await this.#client.set(record.idempotencyKey, value, { EX: seconds });
  }
}

/** Returns a handler that runs `work` once per idempotency key and converts the errors of Powertools into statuses. */
exports.atMostOnce = async (work, answer) => {
  const client = createClient({ url: process.env.REDIS_URL });
  // Without a listener, the first lost connection ends the process.
  client.on('error', (error) => console.error(error));
  await client.connect();

  const Layer = process.env.BENCH_POWERTOOLS === 'as-shipped' ? CachePersistenceLayer : ValidatingLayer;
  const once = makeIdempotent(work, {
    persistenceStore: new Layer({ client }),
    config: new IdempotencyConfig({
      eventKeyJmesPath: 'headers."idempotency-key"',
      payloadValidationJmesPath: 'powertools_json(body)',
      throwOnNoIdempotencyKey: true,
      expiresAfterSeconds: 3600,
    }),
  });

  return async (event, context) => {
    try {
      return await once(event, context);
    } catch (error) {
      switch (error.name) {
        case 'IdempotencyAlreadyInProgressError':
          return answer(409, { error: 'in progress' });
        case 'IdempotencyValidationError':
          return answer(422, { error: 'the key belongs to another request' });
        default:
          throw error;
      }
    }
  };
};
