'use strict';
// The function of every contestant: a charge, and an answer.
//
// With BENCH_IDEMPOTENCY=off the function does not load Powertools. The added cost is the time of a call with
// Powertools minus the time of a call without it.

const { randomBytes } = require('node:crypto');
const http = require('node:http');

const CHARGE_MS = 20_000;

/** Charges at BENCH_WORK_URL if it is set, and answers with a `run` that no other execution has. */
async function work(event, _context) {
  const { amount, pad } = JSON.parse(event.body);
  const url = process.env.BENCH_WORK_URL;
  if (url) await charge(url, event.headers['idempotency-key']);
  return answer(201, { run: randomBytes(16).toString('hex'), amount, pad });
}

function charge(url, key) {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', headers: { 'content-type': 'application/json' }, signal: AbortSignal.timeout(CHARGE_MS) };
    const request = http.request(url, options, (response) => {
      response.on('error', reject).resume();
      response.on('end', () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`the charge was answered with ${response.statusCode}`)),
      );
    });
    request.on('error', reject);
    request.end(JSON.stringify({ key }));
  });
}

function answer(statusCode, body) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** Returns the handler. With Powertools, the function first connects to Redis. */
exports.handler = async () => {
  if (process.env.BENCH_IDEMPOTENCY === 'off') return work;
  const { atMostOnce } = require('./once.js');
  return atMostOnce(work, answer);
};
