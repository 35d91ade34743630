//! The flow of a connection: the proxy forwards, holds or discards the connection's bytes, or ends the connection.

/// What the proxy does with a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    Forward,
    /// The proxy holds all bytes until the flow changes.
    Stall,
    /// All bytes are discarded, permanently.
    Silent,
    /// The connection ends with a FIN.
    Close,
    /// The connection ends with a RST.
    Reset,
}
