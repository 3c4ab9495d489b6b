//! One UDP listener: batches in, and out on the same socket, so that answers come from where requests went to.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringfork_sip::flow::Flow;
use tokio::net::UdpSocket;

/// Datagrams waiting for room in the kernel; beyond it a datagram is dropped, as the network would drop it.
const QUEUE: usize = 4096;
/// Largest UDP payload (RFC 768 length field).
pub const DATAGRAM: usize = 65_535;

/// One listener.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    local: SocketAddr,
    waiting: VecDeque<(Bytes, SocketAddr)>,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has it, or it waits for room.
    Yes,
    /// Dropped: the waiting queue is full.
    Full,
    /// The kernel refused it (no route, too long).
    Refused,
}

impl UdpPort {
    /// Takes a bound, non-blocking socket over. Needs the runtime's context.
    ///
    /// # Errors
    /// When the reactor does not take it.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(UdpPort { socket: UdpSocket::from_std(socket)?, local, waiting: VecDeque::new() })
    }

    /// Our address: names this socket in [`Flow::Udp`].
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ready when there is something to read, or when room came for what waits.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Until nothing waits, or until the kernel is full: only then does it say when room comes.
        while !self.waiting.is_empty() && self.socket.poll_send_ready(context).is_ready() {
            self.flush();
        }
        self.socket.poll_recv_ready(context).map(|_| ())
    }

    /// The next datagram; `None` when there is none right now.
    pub fn receive(&self, buffer: &mut [u8; DATAGRAM]) -> Option<(Flow, Bytes)> {
        // An error is an ICMP message about something that was sent: it says nothing about what is to be read.
        for _ in 0..8 {
            match self.socket.try_recv_from(buffer) {
                Ok((length, remote)) => {
                    let payload = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    return Some((Flow::Udp { local: self.local, remote }, payload));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => tracing::debug!(local = %self.local, %error, "the network reports an error"),
            }
        }
        None
    }

    /// Sends, or keeps what the kernel has no room for.
    pub fn send(&mut self, payload: Bytes, remote: SocketAddr) -> Sent {
        if self.waiting.is_empty() {
            match self.socket.try_send_to(&payload, remote) {
                Ok(_) => return Sent::Yes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%remote, %error, "a datagram was not taken");
                    return Sent::Refused;
                }
            }
        }
        if self.waiting.len() >= QUEUE {
            return Sent::Full;
        }
        self.waiting.push_back((payload, remote));
        Sent::Yes
    }

    /// Sends the datagram that waits longest, if the kernel has room.
    fn flush(&mut self) {
        let Some((payload, remote)) = self.waiting.front() else { return };
        match self.socket.try_send_to(payload, *remote) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%remote, %error, "a datagram was not taken"),
        }
        self.waiting.pop_front();
    }
}

/// Datagrams that the kernel dropped because a socket's buffer was full, over the sockets at these addresses
/// (`/proc/net/udp`, column `drops`). Zero where the system does not say.
pub fn kernel_drops(addresses: &[SocketAddr]) -> u64 {
    let wanted: Vec<String> = addresses.iter().map(proc_address).collect();
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|table| sum_drops(&table, &wanted))
        .sum()
}

fn sum_drops(table: &str, wanted: &[String]) -> u64 {
    let drops = |line: &str| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        wanted.iter().any(|address| address == local).then(|| columns.last()?.parse::<u64>().ok()).flatten()
    };
    table.lines().filter_map(drops).sum()
}

/// An address as the kernel's table writes it: words of the address in host order, then the port, in upper-case hex.
fn proc_address(address: &SocketAddr) -> String {
    let port = address.port();
    match address {
        SocketAddr::V4(v4) => format!("{:08X}:{port:04X}", u32::from_ne_bytes(v4.ip().octets())),
        SocketAddr::V6(v6) => {
            let octets = v6.ip().octets();
            let words = octets.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
            format!("{}:{port:04X}", words.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The issue: drops as a metric.
    #[test]
    fn drops_are_read_from_the_kernels_table() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  77: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 17\n  78: 0100007F:13C5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12346 2 0000000000000000 5\n";
        assert_eq!(sum_drops(table, &[proc_address(&"127.0.0.1:5060".parse().unwrap())]), 17);
    }

    #[test]
    fn our_own_socket_is_found() {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::UdpSocket::bind(text) else { continue };
            let address = socket.local_addr().unwrap();
            let path = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
            let table = std::fs::read_to_string(path).unwrap();
            assert!(table.contains(&proc_address(&address)), "{address}");
        }
    }

    #[tokio::test]
    async fn what_comes_carries_its_flow() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut port = UdpPort::new(socket).unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(b"hello", port.local()).unwrap();
        std::future::poll_fn(|context| port.poll_ready(context)).await;
        let (flow, payload) = port.receive(&mut [0; DATAGRAM]).unwrap();
        assert_eq!(payload, "hello");
        assert_eq!(flow, Flow::Udp { local: port.local(), remote: other.local_addr().unwrap() });
        assert_eq!(port.send(Bytes::from_static(b"back"), flow.remote()), Sent::Yes);
        let mut buffer = [0; 16];
        assert_eq!(other.recv_from(&mut buffer).unwrap(), (4, port.local()));
    }
}
