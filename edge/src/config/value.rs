//! The values of options: their types, and how each is read from text.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

/// Text that must not be shown: not in `Debug`, not in logs, not in errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Secret(text.to_owned()))
    }
}

/// `--data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The plain in-memory stores; nothing survives.
    Memory,
    /// The embedded store's folder.
    Directory(PathBuf),
}

impl std::str::FromStr for Data {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("give a folder, or `memory`".into()),
            "memory" => Ok(Data::Memory),
            path => Ok(Data::Directory(PathBuf::from(path))),
        }
    }
}

/// `--rtp-ports`: both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port, even: RTP takes even ports, RTCP the odd one above (RFC 3550 §11).
    pub first: u16,
    /// Highest port, odd.
    pub last: u16,
}

impl PortRange {
    /// How many RTP/RTCP pairs it holds.
    pub fn pairs(self) -> u16 {
        (self.last - self.first).div_ceil(2)
    }
}

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FIX: &str = "give FIRST-LAST with ports from 1024 to 65535 and room for a pair, for example 20000-29999";
        let (first, last) = text.split_once('-').ok_or(FIX)?;
        let first: u16 = first.trim().parse().map_err(|_| FIX)?;
        let last: u16 = last.trim().parse().map_err(|_| FIX)?;
        // Whole pairs only: an odd start or an even end belongs to no pair.
        let first = first.checked_add(first % 2).ok_or(FIX)?;
        let last = if last.is_multiple_of(2) { last.saturating_sub(1) } else { last };
        if first < 1024 || last <= first {
            return Err(FIX.into());
        }
        Ok(PortRange { first, last })
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// An address with its port.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give ADDRESS:PORT, for example 127.0.0.1:5060 or [::1]:5060".to_owned())
}

/// An address that others can reach us at.
pub fn public_address(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {
            Err("give the one address that phones outside reach this server at".into())
        }
        Ok(address) => Ok(address),
        Err(_) => Err("give an IP address, for example 203.0.113.7".into()),
    }
}

/// A network, or one address as a network of its own.
pub fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or_else(|_| single())
        .map(|network| network.trunc())
        .map_err(|_| "give a network in CIDR form, for example 192.168.0.0/16, or one address".to_owned())
}

/// A host name for `--domain`: labels of letters, digits and hyphens (RFC 1123), kept in lower case.
pub fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("give a host name of letters, digits, hyphens and dots, for example ringfork.local".into())
    }
}

/// An `http` or `https` base URL without query.
pub fn base_url(text: &str) -> Result<String, String> {
    const FIX: &str = "give an http or https URL without query, for example https://calls.example.org";
    let uri: http::Uri = text.parse().map_err(|_| FIX)?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
    if fits { Ok(text.trim_end_matches('/').to_owned()) } else { Err(FIX.into()) }
}

/// A trunk: a `sip:` URI.
pub fn sip_uri(text: &str) -> Result<String, String> {
    let rest = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:")).and_then(|_| text.get(4..));
    let params = rest.unwrap_or_default().split(';').skip(1).map(str::to_ascii_lowercase);
    if params
        .filter_map(|param| param.strip_prefix("transport=").map(str::to_owned))
        .any(|by| by != "udp" && by != "tcp")
    {
        return Err("only UDP and TCP are built: write no transport, or transport=udp or transport=tcp".into());
    }
    match rest {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("give a SIP URI, for example sip:carrier.example.org or sip:192.0.2.9:5060;transport=tcp".into()),
    }
}

/// `AC` and 32 lower-case hex digits.
pub fn account_sid(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("AC").unwrap_or_default();
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == 32 && digits.bytes().all(hex) {
        Ok(text.to_owned())
    } else {
        Err("give AC and 32 lower-case hex digits".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2hunter2")), "Secret(..)");
    }

    /// RFC 3550 §11: RTP on an even port, RTCP on the next higher one; what is left over at an end is not used.
    #[test]
    fn a_port_range_holds_whole_pairs() {
        let range: PortRange = "20001-20010".parse().unwrap();
        assert_eq!((range.first, range.last, range.pairs()), (20002, 20009, 4));
        assert_eq!("20000-29999".parse::<PortRange>().unwrap().pairs(), 5000);
        for bad in ["", "20000", "20000-20000", "30000-20000", "80-90", "1-70000", "a-b"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_and_single_addresses() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(network("10.0.0.0/40").is_err());
    }

    #[test]
    fn names_and_uris() {
        assert_eq!(domain("Ringfork.Local").unwrap(), "ringfork.local");
        assert!(domain("a..b").is_err() && domain("a_b").is_err() && domain("").is_err());
        assert_eq!(base_url("https://x.example/").unwrap(), "https://x.example");
        assert!(base_url("ftp://x").is_err() && base_url("/x").is_err());
        assert!(sip_uri("sip:carrier.example").is_ok());
        assert!(sip_uri("sip:192.0.2.9:5060;lr;Transport=TCP").is_ok());
        assert!(sip_uri("sip:carrier.example;transport=tls").is_err_and(|error| error.contains("UDP and TCP")));
        assert!(sip_uri("sips:carrier.example").is_err());
        assert!(sip_uri("tel:1").is_err() && sip_uri("sip:").is_err() && sip_uri("sip:a b").is_err());
        assert!(account_sid(&format!("AC{}", "0a".repeat(16))).is_ok());
        assert!(account_sid("AC0A").is_err());
    }
}
