// A payment Lambda that charges at most once, with the function `idempotency`. Node 18 or later, no dependency.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ENDPOINT = process.env.IDEMPOTENCY_ENDPOINT ?? 'http://127.0.0.1:9000';
const PROVIDER = process.env.PROVIDER_URL ?? 'http://127.0.0.1:8080/charges';

// On AWS: (await new Lambda().invoke({ FunctionName, Payload })).Payload.transformToString().
async function invoke({ FunctionName, Payload }) {
  const url = `${ENDPOINT}/2015-03-31/functions/${FunctionName}/invocations`;
  const reply = await fetch(url, { method: 'POST', body: Payload, signal: AbortSignal.timeout(10_000) });
  return reply.text();
}

// Retries until there is a reply. Each try sends the same request with the same owner, so nothing is done twice.
async function ask(operation, members) {
  const request = { FunctionName: 'idempotency', Payload: JSON.stringify({ operation, ...members }) };
  for (const pause of [100, 500, 1000, undefined]) {
    // A lost or invalid reply counts as `unavailable`.
    const { outcome = 'unavailable', ...answer } = await invoke(request).then(JSON.parse).catch(() => ({}));
    if (outcome === 'invalid') throw new Error(JSON.stringify(answer.errors));
    if (outcome !== 'unavailable' || pause === undefined) return { outcome, ...answer };
    await sleep(pause);
  }
}

async function charge(order, idempotencyKey) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey };
  const signal = AbortSignal.timeout(10_000);
  const reply = await fetch(PROVIDER, { method: 'POST', headers, body: JSON.stringify(order), signal });
  if (reply.status === 402) return { status: 402, reason: 'declined' }; // a refusal is a result too
  if (!reply.ok) throw new Error(`provider responded with ${reply.status}`);
  return { status: 201, charge: await reply.json() };
}

export async function handler({ order }) {
  // The owner is random for each `begin`. It must not be the event's id, because a second delivery would
  // then count as the same attempt.
  const owner = randomBytes(16).toString('hex');
  const begun = await ask('begin', { scope: 'orders', key: order.id, payload: order, owner, lease_ms: 30_000 });
  if (begun.outcome === 'replay') return begun.response;
  if (begun.outcome !== 'started') return { status: 409, reason: begun.outcome };
  const { lease } = begun;
  const noted = await ask('checkpoint', { lease, data: { charging: order.amount } });
  // The lease may have ended if replies were late. If the checkpoint is not stored, another attempt may have taken over.
  if (noted.outcome !== 'saved' || lease.expires_in_ms === 0) {
    await ask('release', { lease });
    return { status: 503, reason: 'nothing happened' };
  }
  lease.rev = noted.rev; // the next `checkpoint` or `renew` follows this revision
  let result;
  try {
    result = await charge(order, begun.derived_key);
  } catch (error) {
    if (error.cause?.code === 'ECONNREFUSED') {
      await ask('release', { lease });
      return { status: 503, reason: 'nothing happened' };
    }
    await ask('mark_unknown', { lease });
    return { status: 502, reason: 'unknown' };
  }
  const stored = await ask('complete', { lease, response: result });
  // The charge has happened, even if its result is not stored. If another result was stored first, that result counts.
  return 'response' in stored ? stored.response : result;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(JSON.stringify(await handler(JSON.parse(process.argv[2]))));
}
