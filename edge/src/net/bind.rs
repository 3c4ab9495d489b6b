//! Binding the SIP listeners: each address on UDP and TCP, under one port.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Kernel receive buffer of a SIP socket, bytes: some thousand requests while the core is busy.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// Kernel send buffer of a SIP socket, bytes.
const SEND_BUFFER: usize = 1024 * 1024;
/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;
/// Port 0: how often a port that UDP has free may turn out to be taken on TCP.
const ATTEMPTS: usize = 64;

/// One listener: both sockets, non-blocking, on the same address and port.
#[derive(Debug)]
pub struct Bound {
    /// With the port that the system gave.
    pub address: SocketAddr,
    /// Datagrams.
    pub udp: std::net::UdpSocket,
    /// Streams.
    pub tcp: std::net::TcpListener,
    /// Receive buffer that the kernel granted, bytes, where it is less than asked for.
    pub capped: Option<usize>,
}

/// A listener could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{option} {address}: {}", explain(.source))]
pub struct BindError {
    /// The option that named the address.
    pub option: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use: end the other program, or give another port".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address: give one that it has".into(),
        io::ErrorKind::PermissionDenied => "not allowed: ports below 1024 need a privilege, give a higher one".into(),
        _ => error.to_string(),
    }
}

/// Binds every address.
///
/// # Errors
/// The first that cannot be had.
pub fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Bound>, BindError> {
    addresses
        .iter()
        .map(|address| bind(*address).map_err(|source| BindError { option: "--sip", address: *address, source }))
        .collect()
}

fn bind(address: SocketAddr) -> io::Result<Bound> {
    let mut attempt = 0;
    loop {
        let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
        udp.set_recv_buffer_size(RECEIVE_BUFFER)?;
        udp.set_send_buffer_size(SEND_BUFFER)?;
        udp.bind(&address.into())?;
        // The kernel reports twice what is usable (socket(7)).
        let granted = udp.recv_buffer_size()? / 2;
        let udp: std::net::UdpSocket = udp.into();
        let bound = udp.local_addr()?;

        let tcp = socket(bound, Type::STREAM, Protocol::TCP)?;
        // Lets a restarted server have its port back while old connections linger in TIME_WAIT.
        tcp.set_reuse_address(true)?;
        match tcp.bind(&bound.into()).and_then(|()| tcp.listen(BACKLOG)) {
            Ok(()) => {
                let capped = (granted < RECEIVE_BUFFER).then_some(granted);
                return Ok(Bound { address: bound, udp, tcp: tcp.into(), capped });
            }
            Err(error) if address.port() == 0 && attempt < ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` may be given side by side, and a flow's address has its own family.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_and_tcp_share_a_port() {
        let bound = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let port = bound[0].address.port();
        assert_ne!(port, 0);
        assert_eq!(bound[0].tcp.local_addr().unwrap().port(), port);
    }

    /// Issue 3: a SIP socket is granted 4 MB or what the kernel allows, and the cap is known where it is less.
    #[test]
    fn the_receive_buffer_is_four_megabytes_or_the_kernels_cap() {
        const ASKED: usize = 4 * 1024 * 1024;
        let allowed: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(bound) = bind(address.parse().unwrap()) else { continue };
            // The kernel reports twice what is usable (socket(7)).
            let granted = socket2::SockRef::from(&bound.udp).recv_buffer_size().unwrap() / 2;
            assert!(granted >= ASKED.min(allowed), "{granted} of {allowed}");
            assert_eq!(bound.capped, (granted < ASKED).then_some(granted));
        }
        // Where the kernel allows less the sockets do not show what was asked for.
        assert_eq!(RECEIVE_BUFFER, ASKED);
    }

    /// The issue: a port in use gives one clear line.
    #[test]
    fn a_port_in_use_names_the_option_and_the_address() {
        for held in [Held::udp(), Held::tcp()] {
            let error = bind_all(&[held.address]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--sip {}: the port is in use", held.address)), "{error}");
            assert!(!error.contains('\n'));
        }
    }

    struct Held {
        address: SocketAddr,
        _socket: Box<dyn std::any::Any>,
    }

    impl Held {
        fn udp() -> Held {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            Held { address: socket.local_addr().unwrap(), _socket: Box::new(socket) }
        }

        fn tcp() -> Held {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            Held { address: socket.local_addr().unwrap(), _socket: Box::new(socket) }
        }
    }
}
