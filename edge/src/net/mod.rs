//! The network shell: SIP over UDP and TCP, on IPv4 and IPv6. Everything here lives on the core's thread.

mod addresses;
mod bind;
mod tcp;
mod udp;

pub use addresses::local_addresses;
pub use bind::{BindError, Bound, bind_all};
pub use tcp::{SILENCE, SILENCE_WHEN_FULL, StreamEvent, Streams};
pub use udp::{DATAGRAM, Sent, UdpPort, kernel_drops};

/// Name of a metric of this shell; `ringfork_` is put in front where it is shown.
pub mod metric {
    /// Datagrams that the kernel did not take, by reason.
    pub const UDP_UNSENT: &str = "udp_unsent_total";
    /// Stream connections refused or ended by us, by reason.
    pub const STREAM_REFUSED: &str = "stream_refused_total";
}
