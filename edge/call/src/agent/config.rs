//! What the user agent is told once, at its start: identity, addresses, trunk, trusted peers and limits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::control::{Languages, Voices};

/// Transport of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// One bound listener, by the address that the system gave it (no port 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    /// As bound; it is the `local` of every datagram flow over it.
    pub address: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
}

/// Which digest challenges are sent (DESIGN "SIP choices").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DigestPolicy {
    /// SHA-256 first, then MD5 (RFC 8760 §2.4).
    #[default]
    Both,
    /// MD5 alone, for phones that stumble over two challenges.
    Md5,
}

/// The SIP trunk that `<Number>` goes to.
#[derive(Clone, PartialEq, Eq)]
pub struct Trunk {
    /// `sip:host[:port][;transport=tcp]`.
    pub uri: String,
    /// Digest user name, where the trunk asks for credentials.
    pub user: Option<String>,
    /// Digest password: a secret.
    pub password: Option<String>,
    /// The trunk's own number, for callers that have none.
    pub caller_id: Option<String>,
}

impl std::fmt::Debug for Trunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trunk").field("uri", &self.uri).field("caller_id", &self.caller_id).finish_non_exhaustive()
    }
}

/// Bounds of every table; what happens when one is full is said at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Calls (parents); a further one gets 503 with Retry-After.
    pub calls: usize,
    /// Calls that are over and wait for their last writes and events; beyond it an INVITE gets 503.
    pub finishing: usize,
    /// Legs over all calls; a further one is undeliverable.
    pub legs: usize,
    /// Transactions; a further request is dropped (its sender retransmits).
    pub transactions: usize,
    /// Bindings over all AORs; a new one gets 503 with Retry-After.
    pub bindings: usize,
    /// Sources watched by the abuse limit; when full the oldest is forgotten.
    pub sources: usize,
    /// Clients in the presence cache; when full it is emptied.
    pub cached_clients: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            calls: 20_000,
            finishing: 200_000,
            legs: 100_000,
            transactions: 400_000,
            bindings: 1_000_000,
            sources: 65_536,
            cached_clients: 100_000,
        }
    }
}

/// Everything that the user agent is configured with. It never changes while the agent lives.
#[derive(Clone)]
pub struct AgentConfig {
    /// `--domain`: realm of digest and host of every AOR.
    pub domain: String,
    /// Further host names that are this edge (an AOR's host may be one of them).
    pub names: Vec<String>,
    /// Key of the stateless nonces, shared by every edge of a deployment: a secret.
    pub nonce_key: [u8; 32],
    /// `--digest`.
    pub digest: DigestPolicy,
    /// What the shell listens on.
    pub listeners: Vec<Listener>,
    /// This machine's own addresses, best first: what a listener on an unspecified address is known by.
    pub local_addresses: Vec<IpAddr>,
    /// `--public-address`: what parties outside `local_nets` see in Via, Contact and SDP.
    pub public_address: Option<IpAddr>,
    /// `--local-net`.
    pub local_nets: Vec<IpNet>,
    /// `--trunk…`.
    pub trunk: Option<Trunk>,
    /// `--peer`: not challenged, may call numbers and clients.
    pub peers: Vec<IpNet>,
    /// Shortest granted expiry, seconds; below it 423.
    pub min_expires: u32,
    /// Longest granted expiry, seconds.
    pub max_expires: u32,
    /// Granted where none is asked, seconds.
    pub default_expires: u32,
    /// `--abuse-limit`: wrong credentials or unreadable messages from one source in 10 s; 0: no limit.
    pub abuse_limit: u32,
    /// `AC…`.
    pub account_sid: String,
    /// Where customers reach our REST interface, without a slash at its end: `RecordingUrl` begins with it.
    pub public_url: String,
    /// What the shell speaks `<Say>` in.
    pub languages: Languages,
    /// Whose names the shell knows.
    pub voices: Voices,
    /// A bridged party silent for this long, not on hold, ends the call. Kept by the media shell.
    pub media_timeout: Duration,
    /// Bounds.
    pub caps: Caps,
    /// Text of Server and User-Agent.
    pub server: String,
}

impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentConfig")
            .field("domain", &self.domain)
            .field("listeners", &self.listeners)
            .field("public_address", &self.public_address)
            .field("trunk", &self.trunk)
            .field("caps", &self.caps)
            .finish_non_exhaustive()
    }
}

impl AgentConfig {
    /// A configuration with the defaults of DESIGN "Running it" and "SIP choices".
    pub fn new(domain: impl Into<String>, account_sid: impl Into<String>, nonce_key: [u8; 32]) -> Self {
        AgentConfig {
            domain: domain.into(),
            names: Vec::new(),
            nonce_key,
            digest: DigestPolicy::Both,
            listeners: Vec::new(),
            local_addresses: Vec::new(),
            public_address: None,
            local_nets: Vec::new(),
            trunk: None,
            peers: Vec::new(),
            min_expires: 60,
            max_expires: 3600,
            default_expires: 600,
            abuse_limit: 20,
            account_sid: account_sid.into(),
            public_url: "http://localhost".to_owned(),
            languages: Languages::Any,
            voices: Voices::Any,
            media_timeout: Duration::from_secs(300),
            caps: Caps::default(),
            server: concat!("Ringfork/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Our address as `remote` must see it, in Via, Contact and SDP: the public address towards anyone outside
    /// `local_nets`, else the one that `local` (the socket) is bound to (DESIGN "SIP choices").
    pub fn advertised(&self, local: IpAddr, remote: IpAddr) -> IpAddr {
        let remote = remote.to_canonical();
        if let Some(public) = self.public_address
            && public.is_ipv4() == remote.is_ipv4()
            && !self.local_nets.iter().any(|net| net.contains(&remote))
        {
            return public;
        }
        if !local.is_unspecified() {
            return local;
        }
        if remote.is_loopback() {
            return if remote.is_ipv4() {
                IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
            } else {
                IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
            };
        }
        self.local_addresses.iter().copied().find(|own| own.is_ipv4() == remote.is_ipv4()).unwrap_or(local)
    }

    /// Whether `host` (a name, or a literal without brackets) is this edge or its domain.
    pub fn is_own_host(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.domain)
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
            || host.parse::<IpAddr>().is_ok_and(|address| self.is_own_address(address))
    }

    /// Whether `address` is one of ours.
    pub fn is_own_address(&self, address: IpAddr) -> bool {
        self.public_address == Some(address)
            || self.local_addresses.contains(&address)
            || self.listeners.iter().any(|listener| listener.address.ip() == address)
    }

    /// Whether `remote` is a trusted peer.
    pub fn is_peer(&self, remote: IpAddr) -> bool {
        let remote = remote.to_canonical();
        self.peers.iter().any(|net| net.contains(&remote))
    }

    /// A listener to reach `remote` from, over `transport`: one of its family.
    pub fn listener_for(&self, remote: IpAddr, transport: Transport) -> Option<SocketAddr> {
        self.listeners
            .iter()
            .filter(|listener| listener.transport == transport)
            .find(|listener| listener.address.is_ipv4() == remote.is_ipv4())
            .map(|listener| listener.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AgentConfig {
        let mut config = AgentConfig::new("ringfork.local", "AC0", [0; 32]);
        config.public_address = Some("203.0.113.5".parse().unwrap());
        config.local_nets = vec!["10.0.0.0/8".parse().unwrap()];
        config.local_addresses = vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        config
    }

    /// DESIGN "SIP choices": the public address is for those outside `--local-net`.
    #[test]
    fn outsiders_see_the_public_address() {
        let config = config();
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let any6: IpAddr = "::".parse().unwrap();
        let seen = |local, remote: &str| config.advertised(local, remote.parse().unwrap()).to_string();
        assert_eq!(seen(any, "198.51.100.1"), "203.0.113.5");
        assert_eq!(seen(any, "10.2.3.4"), "10.0.0.7");
        assert_eq!(seen("10.0.0.8".parse().unwrap(), "10.2.3.4"), "10.0.0.8");
        assert_eq!(seen(any6, "2001:db8::9"), "2001:db8::7");
    }

    /// DESIGN "SIP choices": an AOR's host is the domain, an edge's name or one of its addresses.
    #[test]
    fn own_hosts() {
        let config = config();
        assert!(config.is_own_host("RINGFORK.local"));
        assert!(config.is_own_host("203.0.113.5"));
        assert!(!config.is_own_host("203.0.113.6"));
        assert!(!config.is_own_host("example.com"));
    }

    /// Secrets never appear in Debug output.
    #[test]
    fn debug_shows_no_secret() {
        let mut config = config();
        config.trunk = Some(Trunk {
            uri: "sip:trunk".into(),
            user: Some("u".into()),
            password: Some("hunter22".into()),
            caller_id: None,
        });
        assert!(!format!("{config:?}").contains("hunter22"));
    }
}
