//! The environment of a process: development on a laptop, deployed development, or another environment.
//!
//! Some settings are safe only in development. Every such check uses this type.

/// The environment of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    name: String,
    is_deployed: bool,
}

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// On Lambda, or in a container with a Lambda image.
    Deployed,
    /// On a developer's computer.
    Laptop,
}

/// The minimum length of a secret outside development, in bytes. A shorter secret could be guessed.
pub const SHORTEST_SECRET: usize = 16;

impl Environment {
    /// Creates the environment with this name.
    pub fn new(name: impl Into<String>, host: Host) -> Self {
        Self {
            name: name.into(),
            is_deployed: host == Host::Deployed,
        }
    }

    /// Creates the environment for development on a laptop. It needs no configuration.
    pub fn laptop() -> Self {
        Self::new("development", Host::Laptop)
    }

    /// The name of the environment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the environment is development, on a laptop or deployed. Every other environment counts as production.
    pub fn is_development(&self) -> bool {
        self.name == "development"
    }

    /// Whether the process runs on Lambda or in a container with a Lambda image.
    pub fn is_deployed(&self) -> bool {
        self.is_deployed
    }

    /// Whether the environment is development, and the process is not deployed. Then no API Gateway is in front of the
    /// functions.
    pub fn is_laptop(&self) -> bool {
        self.is_development() && !self.is_deployed
    }

    /// The minimum length of a secret in this environment, in bytes.
    pub fn shortest_secret(&self) -> usize {
        if self.is_development() {
            1
        } else {
            SHORTEST_SECRET
        }
    }
}
