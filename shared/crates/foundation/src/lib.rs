#![doc = include_str!("../README.md")]

pub mod deadline;
pub mod environment;
pub mod json;
pub mod secret;
pub mod text;
pub mod transport;
pub mod wall_clock;

pub use deadline::Deadline;
pub use environment::Environment;
