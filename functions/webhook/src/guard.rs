//! The address guard (RCML.md 3.2): no request of ours reaches loopback, private, link-local or metadata addresses,
//! whatever a customer's URL, DNS or redirect says.
//!
//! It is asked at connect time: the resolver hands out only allowed addresses, so that a name which changes between
//! check and use gains nothing; a literal address never meets a resolver and is asked before the request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether an address is a public unicast one. Special-purpose registries: RFC 6890 and its IANA successors.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0, ..]                                 // this network, unspecified
        | [10, ..]                              // private
        | [100, 64..=127, ..]                   // carrier-grade NAT (some clouds' metadata too)
        | [127, ..]                             // loopback
        | [168, 63, 129, 16]                    // a cloud's metadata
        | [169, 254, ..]                        // link-local, metadata
        | [172, 16..=31, ..]                    // private
        | [192, 0, 0, _]                        // protocol assignments
        | [192, 0, 2, _]                        // documentation
        | [192, 88, 99, _]                      // former 6to4 relays
        | [192, 168, ..]                        // private
        | [198, 18..=19, ..]                    // benchmarking
        | [198, 51, 100, _]                     // documentation
        | [203, 0, 113, _]                      // documentation
        | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // IPv4-mapped and NAT64 (RFC 6052) lead to the IPv4 address inside; so does 6to4.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => embedded(g, h),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Teredo, ORCHID and other protocol assignments; documentation.
        (0x2001, 0..=0x1ff) | (0x2001, 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Global unicast is 2000::/3; everything else is loopback, ULA, link-local, multicast or unassigned.
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

/// The error that travels through the HTTP client when every address of a name is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a public address")]
pub(crate) struct Refused(pub IpAddr);

/// Resolves by the system's resolver and hands out allowed addresses only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver {
    pub allow: fn(IpAddr) -> bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = self.allow;
        Box::pin(async move {
            // The connector fills in the URL's port for 0.
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = all.iter().copied().filter(|address| allow(address.ip())).collect();
            match (allowed.is_empty(), all.first()) {
                (true, Some(refused)) => Err(Refused(refused.ip()).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md 3.2: loopback, private, link-local and metadata addresses are refused, in every disguise.
    #[test]
    fn what_is_refused() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_allowed() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.0.0",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
