// What the function needs of its packages, for esbuild to make one file of: a function on Lambda is deployed in that way, and
// a start that reads hundreds of files would be held against Powertools.
export { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
export { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';
export { createClient } from '@redis/client';
