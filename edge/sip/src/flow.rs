//! Flows (RFC 5626 §3): the network path that a message came over, and that everything for its sender goes back over.

use std::net::SocketAddr;

/// One path between us and a peer. Small and `Copy`: it is a key everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// Datagrams between one of our listening sockets and a remote address.
    Udp {
        /// Our listening socket's own address (which names the socket to send with).
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
    },
    /// One stream connection, accepted or opened by us.
    Tcp {
        /// Number of the connection, never used twice in one process.
        connection: u64,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
}

impl Flow {
    /// The peer's address.
    pub fn remote(&self) -> SocketAddr {
        match self {
            Flow::Udp { remote, .. } | Flow::Tcp { remote, .. } => *remote,
        }
    }

    /// Our address.
    pub fn local(&self) -> SocketAddr {
        match self {
            Flow::Udp { local, .. } | Flow::Tcp { local, .. } => *local,
        }
    }

    /// Whether the transport keeps order and retransmits by itself (RFC 3261 §17: timers A, E, G off).
    pub fn is_reliable(&self) -> bool {
        matches!(self, Flow::Tcp { .. })
    }
}

/// Something to put on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where.
    pub flow: Flow,
    /// A whole SIP message, or the bytes of a keep-alive.
    pub payload: bytes::Bytes,
}
