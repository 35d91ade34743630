//! Where does this process run: on a laptop, in a deployment of development, or anywhere else?
//!
//! What is unsafe elsewhere is allowed in development only, and this type is the one predicate that decides it.

/// The environment of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    name: String,
    is_deployed: bool,
}

/// Where a process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// On Lambda, or in a container with an image of Lambda's.
    Deployed,
    /// By hand, on a laptop.
    Laptop,
}

/// The least length of a secret outside development, in bytes, so that it cannot be guessed.
pub const SHORTEST_SECRET: usize = 16;

impl Environment {
    /// The environment of this name.
    pub fn new(name: impl Into<String>, host: Host) -> Self {
        Self {
            name: name.into(),
            is_deployed: host == Host::Deployed,
        }
    }

    /// Development on a laptop, which needs no configuration.
    pub fn laptop() -> Self {
        Self::new("development", Host::Laptop)
    }

    /// The environment's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is development, on a laptop or deployed. Everything else is treated as production.
    pub fn is_development(&self) -> bool {
        self.name == "development"
    }

    /// Whether Lambda runs this, or a container with an image of Lambda's, and not a server on a laptop.
    pub fn is_deployed(&self) -> bool {
        self.is_deployed
    }

    /// Whether this is development and not deployed, so that no gateway stands before the functions.
    pub fn is_laptop(&self) -> bool {
        self.is_development() && !self.is_deployed
    }

    /// The least length of a secret here, in bytes.
    pub fn shortest_secret(&self) -> usize {
        if self.is_development() {
            1
        } else {
            SHORTEST_SECRET
        }
    }
}
