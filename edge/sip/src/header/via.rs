//! Via (RFC 3261 §20.42): where a message came from and where its responses go.

use std::net::IpAddr;

use super::scan::{self, Params};
use crate::uri::{Host, parse_host_port};

/// One hop. Parts are borrowed from the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via<'a> {
    /// The whole element as received, trimmed.
    pub raw: &'a [u8],
    /// The protocol version as sent; `2.0` in every message that is processed (505 needs the Via of others).
    pub version: &'a str,
    /// The transport token as sent; may be one that we do not know.
    pub transport: &'a str,
    /// sent-by.
    pub host: Host<'a>,
    /// sent-by's port, if one stands there.
    pub port: Option<u16>,
    /// All parameters.
    pub params: Params<'a>,
}

/// `rport` (RFC 3581 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rport {
    /// Asked for, not filled in.
    Requested,
    /// Filled in.
    Port(u16),
}

/// The start of every branch that is unique to its transaction (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

impl<'a> Via<'a> {
    /// One element of a Via list.
    pub fn parse(element: &'a [u8]) -> Option<Via<'a>> {
        let raw = scan::trim(element);
        // SIP / 2.0 / transport, with white space allowed around each slash.
        let (name, rest) = scan::split_once(raw, b'/')?;
        if !scan::trim(name).eq_ignore_ascii_case(b"SIP") {
            return None;
        }
        let (version, rest) = scan::split_once(rest, b'/')?;
        let version = scan::trim(version);
        if !scan::is_token(version) {
            return None;
        }
        let rest = scan::trim_start(rest);
        let end = rest.iter().position(|byte| scan::is_lws(*byte))?;
        let transport = rest.get(..end)?;
        if !scan::is_token(transport) {
            return None;
        }
        let rest = scan::trim_start(rest.get(end..)?);
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let (host, port) = parse_host_port(scan::trim(rest.get(..end)?))?;
        let version = scan::utf8(version)?;
        Some(Via { raw, version, transport: scan::utf8(transport)?, host, port, params: Params::new(rest.get(end..)?) })
    }

    /// `branch`, whether with the magic cookie or not.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch")
    }

    /// Whether the branch alone names the transaction (RFC 3261 §17.2.3): it starts with the cookie and goes on.
    pub fn has_rfc3261_branch(&self) -> bool {
        self.branch().is_some_and(|branch| branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE))
    }

    /// `received` as an address, with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// `rport`; `None` when absent or not a port.
    pub fn rport(&self) -> Option<Rport> {
        match self.params.find("rport")?.value {
            None | Some([]) => Some(Rport::Requested),
            Some(value) => u16::try_from(scan::number(value)?).ok().map(Rport::Port),
        }
    }

    /// `maddr` as sent.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }

    /// `ttl`.
    pub fn ttl(&self) -> Option<u8> {
        u8::try_from(scan::number(self.params.get("ttl")?.as_bytes())?).ok()
    }

    /// The transport in rsip's vocabulary, if it has that one.
    pub fn rsip_transport(&self) -> Option<rsip::Transport> {
        use rsip::Transport as T;
        [("UDP", T::Udp), ("TCP", T::Tcp), ("TLS", T::Tls), ("SCTP", T::Sctp), ("WS", T::Ws), ("WSS", T::Wss)]
            .into_iter()
            .find_map(|(text, transport)| self.transport.eq_ignore_ascii_case(text).then_some(transport))
    }

    /// Port of sent-by or the transport's default (5061 for TLS and WSS' sake, else 5060).
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.transport.eq_ignore_ascii_case("TLS") { 5061 } else { 5060 })
    }
}
