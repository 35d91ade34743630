//! Tests of the whole system from outside: built functions under a Runtime API, real Redis and MongoDB servers, and
//! network faults between them. All tests are in one binary, so that cargo has to link only one binary.

mod architecture;
mod connections;
mod elsewhere;
mod events;
mod function;
mod given;
mod health_detailed;
mod health_limits;
mod health_redis;
mod hunt;
mod iam;
mod idempotency;
mod invoke;
mod liveness;
mod majority;
mod mongo;
mod openapi;
mod ops;
mod parity;
mod payments;
mod redis_client;
mod redis_cluster;
mod redis_cluster_faults;
mod redis_doubt;
mod redis_memory;
mod redis_refusals;
mod redis_situations;
mod redis_topology;
mod rotation;
mod secrets;
mod stored_secrets;
mod storms;
mod thaw;
