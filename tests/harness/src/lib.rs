//! The test harness: real servers, a proxy that injects network faults between them, and Lambda's Runtime API around the built
//! binaries.
//!
//! A test drives the deployed artefact (a process with its environment and sockets). The statements of a test follow the order
//! of events. Every server and process is a value of this crate. Dropping the value ends the server or the process. Tests use
//! only the loopback interface and free ports. A missing program fails the test with a message about what to install; no test
//! is skipped.
//!
//! | a test needs | module |
//! |---|---|
//! | a function, its requests and its logs | [`lambda`], [`test_request`], [`answer`] |
//! | Redis: standalone, TLS, ACL, full, read-only, cluster | [`redis_server`], [`redis_cluster`] |
//! | ElastiCache users that log in with IAM tokens | [`iam_gate`] |
//! | MongoDB | [`mongo_server`] |
//! | Stripe and its events | [`stripe_server`], [`stripe_event`] |
//! | AWS Secrets Manager | [`secrets_manager`] |
//! | a server that is not Redis, or a Redis that is too old to run here | [`scripted_server`] |
//! | an outage between client and server | [`fault_proxy`] |
//! | an HTTP server around a function of the harness | [`http_server`] |
//! | any other process, with its signals | [`owned_process`] |
//! | an SVG picture | [`drawing`] |
//! | to wait until a condition holds | [`mod@eventually`] |
//! | to check that a future ends in time | [`mod@within`] |

pub mod answer;
pub mod drawing;
pub mod eventually;
pub mod fault_proxy;
pub mod http_server;
pub mod iam_gate;
pub mod lambda;
pub mod mongo_server;
pub mod owned_process;
pub mod redis_cluster;
pub mod redis_server;
pub mod scripted_server;
pub mod secrets_manager;
mod stand_in;
pub mod stripe_event;
pub mod stripe_server;
pub mod test_request;
pub mod within;

pub mod background_runtime;
mod binaries;
mod cache_user;
mod environment;
mod loopback_port;
mod percent_encoded;
mod request_id;
mod secrets;
mod watchdog;

pub use answer::Answer;
pub use cache_user::CacheUser;
pub use drawing::Drawing;
pub use environment::wanted_payments;
pub use eventually::eventually;
pub use fault_proxy::{FaultProxy, MongoCommand};
pub use iam_gate::{CacheKind, IamGate, IamUser};
pub use lambda::{FailedStart, Lambda, LambdaBuilder, Outcome, Settled};
pub use mongo_server::MongoServer;
pub use owned_process::OwnedProcess;
pub use redis_cluster::RedisCluster;
pub use redis_server::RedisServer;
pub use scripted_server::ScriptedServer;
pub use secrets_manager::SecretsManager;
pub use stripe_event::StripeEvent;
pub use stripe_server::{STRIPE_TEST_KEY, StripeServer};
pub use test_request::{TENANT, TestRequest};
pub use within::within;
