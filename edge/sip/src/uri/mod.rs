//! URIs as SIP uses them (RFC 3261 §19.1, RFC 3966): kept as sent, escapes included, and read in place.

mod compare;
pub mod escape;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other: representable, so that it can be answered with 416.
    Other,
}

impl Scheme {
    /// In rsip's vocabulary, which has no schemes beside these two and its own catch-all.
    pub fn to_rsip(self) -> Option<rsip::Scheme> {
        match self {
            Scheme::Sip => Some(rsip::Scheme::Sip),
            Scheme::Sips => Some(rsip::Scheme::Sips),
            Scheme::Tel | Scheme::Other => None,
        }
    }
}

/// A host: a literal address is read, a name is kept as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A name.
    Domain(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 reference, without its brackets.
    V6(Ipv6Addr),
}

impl Host<'_> {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Domain(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// Equal as hosts: names without regard to case, addresses by value.
    pub fn is_same(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Domain(a), Host::Domain(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a.ip().is_some() && a.ip() == b.ip(),
        }
    }
}

impl std::fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Domain(name) => f.write_str(name),
            Host::V4(address) => write!(f, "{address}"),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl From<IpAddr> for Host<'_> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        }
    }
}

/// Why some text is not a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum UriError {
    #[error("no scheme")]
    Scheme,
    #[error("malformed user part")]
    User,
    #[error("malformed host")]
    Host,
    #[error("malformed port")]
    Port,
    #[error("malformed escape")]
    Escape,
    #[error("character not allowed in a URI")]
    Character,
}

/// Octets that no URI has.
const FORBIDDEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte <= b' ' {
        table[byte as usize] = true;
        byte += 1;
    }
    table[0x7f] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'"' as usize] = true;
    table
};

/// A URI, borrowed. All parts are as sent.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    text: &'a str,
    scheme: Scheme,
    scheme_len: usize,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Host<'a>,
    port: Option<u16>,
    params: &'a str,
    headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads a URI. `sip:` and `sips:` are read fully; others only as scheme and the rest.
    ///
    /// # Errors
    /// When it has no scheme, or is a SIP URI whose parts are malformed.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, UriError> {
        if text.bytes().any(|byte| FORBIDDEN[usize::from(byte)]) {
            return Err(UriError::Character);
        }
        let (scheme_text, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let mut letters = scheme_text.bytes();
        if !letters.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            || !letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            return Err(UriError::Scheme);
        }
        let scheme = if scheme_text.eq_ignore_ascii_case("sip") {
            Scheme::Sip
        } else if scheme_text.eq_ignore_ascii_case("sips") {
            Scheme::Sips
        } else if scheme_text.eq_ignore_ascii_case("tel") {
            Scheme::Tel
        } else {
            Scheme::Other
        };
        let mut uri = Uri {
            text,
            scheme,
            scheme_len: scheme_text.len(),
            user: None,
            password: None,
            host: Host::Domain(""),
            port: None,
            params: "",
            headers: None,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(rest)?,
            Scheme::Tel => {
                let at = rest.find(';').unwrap_or(rest.len());
                let (number, params) = rest.split_at_checked(at).ok_or(UriError::User)?;
                if number.is_empty() {
                    return Err(UriError::User);
                }
                uri.user = Some(number);
                uri.params = params;
            }
            Scheme::Other => {}
        }
        Ok(uri)
    }

    fn read_sip(&mut self, rest: &'a str) -> Result<(), UriError> {
        // The user part may hold `;`, `?`, `/` and more, but no bare `@`: the last one before the host ends it. A `@`
        // in headers must be escaped, so the last is the one.
        let hostport = match rest.rsplit_once('@') {
            Some((userinfo, hostport)) => {
                let (user, password) = match userinfo.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (userinfo, None),
                };
                if user.is_empty() || user.contains('@') {
                    return Err(UriError::User);
                }
                if !escape::is_well_escaped(userinfo) {
                    return Err(UriError::Escape);
                }
                self.user = Some(user);
                self.password = password;
                hostport
            }
            None => rest,
        };
        let at = hostport.find([';', '?']).unwrap_or(hostport.len());
        let (host, tail) = hostport.split_at_checked(at).ok_or(UriError::Host)?;
        let (host, port) = split_host_port(host.as_bytes()).ok_or(UriError::Host)?;
        self.host = read_host(host).ok_or(UriError::Host)?;
        self.port = match port {
            Some(port) => Some(read_port(port).ok_or(UriError::Port)?),
            None => None,
        };
        match tail.split_once('?') {
            Some((params, headers)) => {
                self.params = params;
                self.headers = Some(headers);
            }
            None => self.params = tail,
        }
        if !escape::is_well_escaped(tail) {
            return Err(UriError::Escape);
        }
        Ok(())
    }

    /// The whole URI as sent.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme's text as sent, without the colon.
    pub fn scheme_text(&self) -> &'a str {
        self.text.get(..self.scheme_len).unwrap_or_default()
    }

    /// `sip:` or `sips:`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// User part as sent (the number of a `tel:`), escapes included.
    pub fn user(&self) -> Option<&'a str> {
        self.user
    }

    /// User part with its escapes read; octets that are not UTF-8 then are Latin-1.
    pub fn user_unescaped(&self) -> Option<std::borrow::Cow<'a, str>> {
        self.user.map(escape::unescape)
    }

    /// Password as sent.
    pub fn password(&self) -> Option<&'a str> {
        self.password
    }

    /// Host; an empty name for other schemes than SIP's.
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// Port, if one stands there.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Parameters as sent, with the leading `;`, or empty.
    pub fn params_text(&self) -> &'a str {
        self.params
    }

    /// Parameters in order: name and value as sent.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.strip_prefix(';').into_iter().flat_map(|text| text.split(';')).filter(|one| !one.is_empty()).map(
            |one| match one.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (one, None),
            },
        )
    }

    /// Value of a parameter as sent, `""` for one without; name without regard to case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    /// Whether this parameter is there.
    pub fn has_param(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// `transport` as sent.
    pub fn transport(&self) -> Option<&'a str> {
        self.param("transport")
    }

    /// Whether the next hop routes loosely (`lr`, RFC 3261 §16.12).
    pub fn is_loose_router(&self) -> bool {
        self.has_param("lr")
    }

    /// Headers as sent, without the `?`.
    pub fn headers_text(&self) -> Option<&'a str> {
        self.headers
    }

    /// Without password, headers and the parameters that a Request-URI may not have: the text for a Request-URI made
    /// of a Contact or of a configured URI (RFC 3261 §19.1.1). `method` goes, the others stay.
    pub fn to_request_uri(&self) -> String {
        let end = self.headers.map_or(self.text.len(), |headers| self.text.len() - headers.len() - 1);
        let text = self.text.get(..end).unwrap_or(self.text);
        if !self.has_param("method") {
            return text.to_owned();
        }
        let base = text.get(..text.len() - self.params.len()).unwrap_or(text);
        let mut out = String::from(base);
        for (name, value) in self.params().filter(|(name, _)| !name.eq_ignore_ascii_case("method")) {
            out.push(';');
            out.push_str(name);
            if let Some(value) = value {
                out.push('=');
                out.push_str(value);
            }
        }
        out
    }

    /// Owned.
    pub fn to_owned(&self) -> UriBuf {
        UriBuf { text: self.text.to_owned() }
    }
}

impl std::fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// An owned URI that was read once already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UriBuf {
    text: String,
}

impl UriBuf {
    /// Checks and keeps a text.
    ///
    /// # Errors
    /// As [`Uri::parse`].
    pub fn new(text: impl Into<String>) -> Result<UriBuf, UriError> {
        let text = text.into();
        Uri::parse(&text)?;
        Ok(UriBuf { text })
    }

    /// `sip:user@host:port`. The user is plain text and gets escaped; the port is left out when `None`.
    ///
    /// # Errors
    /// When `host` is not one.
    pub fn sip(user: Option<&str>, host: &Host<'_>, port: Option<u16>) -> Result<UriBuf, UriError> {
        let mut text = String::from("sip:");
        if let Some(user) = user {
            escape::escape_user(user, &mut text);
            text.push('@');
        }
        text.push_str(&host.to_string());
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        UriBuf::new(text)
    }

    /// With one more parameter; name and value are escaped where they need it. Must not be used after headers.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> UriBuf {
        self.text.push(';');
        escape::escape_param(name, &mut self.text);
        if let Some(value) = value {
            self.text.push('=');
            escape::escape_param(value, &mut self.text);
        }
        self
    }

    /// The parts.
    pub fn as_uri(&self) -> Uri<'_> {
        // The text was read when this was made; the fallback is never taken and has no parts.
        Uri::parse(&self.text).unwrap_or(Uri {
            text: &self.text,
            scheme: Scheme::Other,
            scheme_len: 0,
            user: None,
            password: None,
            host: Host::Domain(""),
            port: None,
            params: "",
            headers: None,
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for UriBuf {
    type Err = UriError;

    fn from_str(text: &str) -> Result<UriBuf, UriError> {
        UriBuf::new(text)
    }
}

impl std::fmt::Display for UriBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// `host [":" port]` with white space allowed around the colon, as sent-by has it.
pub(crate) fn parse_host_port(text: &[u8]) -> Option<(Host<'_>, Option<u16>)> {
    let (host, port) = split_host_port(text)?;
    let host = read_host(crate::header::scan::trim(host))?;
    match port {
        Some(port) => Some((host, Some(read_port(crate::header::scan::trim(port))?))),
        None => Some((host, None)),
    }
}

fn split_host_port(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.first() == Some(&b'[') {
        let end = text.iter().position(|byte| *byte == b']')?;
        let (host, rest) = text.split_at_checked(end + 1)?;
        return match crate::header::scan::trim_start(rest) {
            [] => Some((host, None)),
            [b':', port @ ..] => Some((host, Some(port))),
            _ => None,
        };
    }
    Some(match text.iter().position(|byte| *byte == b':') {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    })
}

fn read_port(text: &[u8]) -> Option<u16> {
    u16::try_from(crate::header::scan::number(text)?).ok()
}

fn read_host(text: &[u8]) -> Option<Host<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return read_ipv6(inner).map(Host::V6);
    }
    let first = *text.as_bytes().first()?;
    if first.is_ascii_digit()
        && let Ok(address) = text.parse::<Ipv4Addr>()
    {
        return Some(Host::V4(address));
    }
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        .then_some(Host::Domain(text))
}

/// An IPv6 address, also with the three colons before an IPv4 part that RFC 3261's grammar asked for (RFC 5118 §4.10).
fn read_ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| text.contains(":::").then(|| text.replacen(":::", "::", 1).parse().ok())?)
}
