//! The test harness: real servers, a proxy that breaks the network between them, and Lambda's Runtime API in front
//! of the built binaries.
//!
//! A test drives what is deployed (a process, its environment, its sockets) and tells its story in the order in
//! which it happens; whatever the story needs is a value of this crate that ends what it started when it is
//! dropped. Nothing leaves the loopback interface, every port is picked free, and a missing program is a failure
//! that says what to install, never a skipped test.
//!
//! | a test needs | module |
//! |---|---|
//! | a function, its requests and its logs | [`lambda`], [`test_request`], [`answer`] |
//! | Redis: standalone, TLS, ACL, full, read-only, cluster | [`redis_server`], [`redis_cluster`] |
//! | ElastiCache's users, who log in with tokens | [`iam_gate`] |
//! | MongoDB | [`mongo_server`] |
//! | Stripe, and what it tells | [`stripe_server`], [`stripe_event`] |
//! | AWS Secrets Manager | [`secrets_manager`] |
//! | a server that is no Redis, or one too old to run here | [`scripted_server`] |
//! | an outage between the two | [`fault_proxy`] |
//! | HTTP that is answered by a function | [`http_server`] |
//! | any other process, with its signals | [`owned_process`] |
//! | a picture | [`drawing`] |
//! | to wait until something holds | [`mod@eventually`] |
//! | to hold that something ends in time | [`mod@within`] |

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
