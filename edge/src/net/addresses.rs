//! This machine's own addresses: what a listener on an unspecified address is known by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Own addresses, the one that the default route uses first. Link-local ones are left out: without a zone nobody can
/// use them.
pub fn local_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    // Documentation networks (RFC 5737, RFC 3849): nothing is sent, the kernel only chooses a source.
    found.extend(source_towards("0.0.0.0:0", "192.0.2.1:9"));
    found.extend(source_towards("[::]:0", "[2001:db8::1]:9"));
    let fib = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    found.extend(parse_fib_trie(&fib).into_iter().map(IpAddr::V4));
    let inet6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    found.extend(parse_if_inet6(&inet6).into_iter().map(IpAddr::V6));
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(found.len());
    for address in found {
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if !link_local && !address.is_unspecified() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn source_towards(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to.parse::<SocketAddr>().ok()?).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Lines `|-- 10.0.0.7` that are followed by `/32 host LOCAL`.
fn parse_fib_trie(text: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last);
        }
    }
    found
}

/// Lines that begin with 32 hex digits.
fn parse_if_inet6(text: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok().map(Ipv6Addr::from_bits);
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_tables_are_read() {
        let fib = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(parse_fib_trie(fib), ["10.0.0.7".parse::<Ipv4Addr>().unwrap()]);
        let inet6 =
            "00000000000000000000000000000001 01 80 10 80 lo\n20010db8000000000000000000000007 02 40 00 80 eth0\n";
        assert_eq!(parse_if_inet6(inet6), ["::1".parse::<Ipv6Addr>().unwrap(), "2001:db8::7".parse().unwrap()]);
    }

    #[test]
    fn loopback_is_among_them() {
        assert!(local_addresses().contains(&"127.0.0.1".parse().unwrap()));
    }
}
