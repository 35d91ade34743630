//! How a connection is treated.

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    Forward,
    /// Everything waits.
    Stall,
    /// Everything is swallowed, for ever.
    Silent,
    /// The connection ends with a FIN.
    Close,
    /// The connection ends with a RST.
    Reset,
}
