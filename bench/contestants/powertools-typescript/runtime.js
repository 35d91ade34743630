'use strict';
// Lambda's runtime in a few lines: fetches an event, calls the handler and sends its answer. It replaces AWS's runtime client, whose
// package must be compiled on the machine. This loop does less work than AWS's client, so it does not slow Powertools down.

const http = require('node:http');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host, port, method, path: `/2018-06-01/runtime/${path}` }, async (response) => {
      const parts = [];
      for await (const part of response) parts.push(part);
      resolve({ headers: response.headers, body: Buffer.concat(parts).toString() });
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function serve() {
  const { handler } = require('./handler.js');
  const handle = await handler();
  for (;;) {
    const { headers, body } = await call('GET', 'invocation/next');
    const id = headers['lambda-runtime-aws-request-id'];
    const deadline = Number(headers['lambda-runtime-deadline-ms']);
    const context = { awsRequestId: id, getRemainingTimeInMillis: () => deadline - Date.now() };
    try {
      await call('POST', `invocation/${id}/response`, JSON.stringify(await handle(JSON.parse(body), context)));
    } catch (error) {
      console.error(error);
      await call('POST', `invocation/${id}/error`, JSON.stringify({ errorType: error.name, errorMessage: error.message }));
    }
  }
}

serve().catch((error) => {
  console.error(error);
  process.exit(1);
});
