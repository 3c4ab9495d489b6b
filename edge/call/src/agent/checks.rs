//! What a request gets before anybody asks who sent it (RCML.md part 2): 405, 415, 416, 420, 422, 483, 501. The order of
//! RFC 3261 §8.2. Malformed ones (400, 505) were refused when they were read.

use ringfork_sip::build::ResponseBuilder;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};
use ringfork_sip::uri::Scheme;

use crate::ua::session_timer::MIN_SE;
use crate::ua::{ALLOW, SUPPORTED};

/// Extensions of registrations.
pub const REGISTER_SUPPORTED: &str = "path, outbound";
/// All extensions, for OPTIONS.
pub const ALL_SUPPORTED: &str = "100rel, timer, path, outbound";

/// Why a request is refused at sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: a REGISTER whose To is no SIP URI, so no AOR (RFC 3261 §10.3 step 5; RFC 4475 §3.3.4).
    Aor,
    /// 405.
    Method,
    /// 501.
    Unknown,
    /// 416.
    Scheme,
    /// 483.
    Hops,
    /// 420, with what is beyond us.
    Extension,
    /// 415: an encoding.
    Encoding,
    /// 415: a type.
    ContentType,
    /// 422.
    Interval,
}

/// Looks at a request.
///
/// # Errors
/// The refusal that is due.
pub fn check(message: &Message) -> Result<(), Refusal> {
    let Some(method) = message.method() else { return Err(Refusal::Unknown) };
    match method {
        Method::Refer | Method::Subscribe | Method::Publish | Method::Message | Method::Notify => {
            return Err(Refusal::Method);
        }
        Method::Extension(_) => return Err(Refusal::Unknown),
        _ => {}
    }
    match message.uri().map(|uri| uri.scheme()) {
        Ok(Scheme::Sip | Scheme::Sips) => {}
        Ok(Scheme::Tel) if *method == Method::Invite => {}
        _ => return Err(Refusal::Scheme),
    }
    let aor = || message.to().and_then(|to| to.uri()).is_some_and(|uri| uri.is_sip());
    if *method == Method::Register && !aor() {
        return Err(Refusal::Aor);
    }
    if message.max_forwards() == Some(0) && message.to_tag().is_none() {
        return Err(Refusal::Hops);
    }
    if unsupported(message).next().is_some() {
        return Err(Refusal::Extension);
    }
    if message.tokens(HeaderName::ContentEncoding).any(|token| !token.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::Encoding);
    }
    let speaks_of_media = matches!(method, Method::Invite | Method::Update | Method::Prack);
    if speaks_of_media && !message.body().is_empty() && !is_sdp(message) {
        return Err(Refusal::ContentType);
    }
    let small = message.session_expires().is_some_and(|expires| expires.interval < MIN_SE);
    if small && matches!(method, Method::Invite | Method::Update) {
        return Err(Refusal::Interval);
    }
    Ok(())
}

/// What a request requires that does not work (RFC 3261 §8.2.2.3). An ACK or CANCEL is never refused for it.
fn unsupported(message: &Message) -> impl Iterator<Item = &str> {
    let known: &[&str] = match message.method() {
        Some(Method::Register) => &["path", "outbound"],
        Some(Method::Options) => &["100rel", "timer", "path", "outbound"],
        _ => &["100rel", "timer"],
    };
    message
        .tokens(HeaderName::Require)
        .chain(message.tokens(HeaderName::ProxyRequire))
        .filter(move |token| !known.iter().any(|known| known.eq_ignore_ascii_case(token)))
}

/// A body without a type is taken as SDP, since nothing else can be meant.
fn is_sdp(message: &Message) -> bool {
    match message.content_type() {
        Some(kind) => kind.is("application", "sdp"),
        None => !message.has(HeaderName::ContentType),
    }
}

impl Refusal {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Aor => 400,
            Refusal::Method => 405,
            Refusal::Unknown => 501,
            Refusal::Scheme => 416,
            Refusal::Hops => 483,
            Refusal::Extension => 420,
            Refusal::Encoding | Refusal::ContentType => 415,
            Refusal::Interval => 422,
        }
    }

    /// Adds the headers that say what would work.
    pub fn explain(self, message: &Message, builder: ResponseBuilder) -> ResponseBuilder {
        match self {
            Refusal::Method | Refusal::Unknown => builder.header(HeaderName::Allow, ALLOW),
            Refusal::Extension => {
                let list: Vec<&str> = unsupported(message).collect();
                let known = if message.is_method(&Method::Register) { REGISTER_SUPPORTED } else { SUPPORTED };
                builder.header(HeaderName::Unsupported, list.join(", ")).header(HeaderName::Supported, known)
            }
            Refusal::Encoding => builder.header(HeaderName::AcceptEncoding, "identity"),
            Refusal::ContentType => builder.header(HeaderName::Accept, "application/sdp"),
            Refusal::Interval => builder.header_display(HeaderName::MinSe, MIN_SE),
            Refusal::Aor | Refusal::Scheme | Refusal::Hops => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &str) -> Message {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{headers}\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    /// RCML.md part 2, "What the caller's phone gets": what comes before a challenge.
    #[test]
    fn refused_at_sight() {
        let refusal = |method, uri, headers| check(&request(method, uri, headers)).unwrap_err().status();
        for method in ["REFER", "SUBSCRIBE", "PUBLISH", "MESSAGE", "NOTIFY"] {
            assert_eq!(refusal(method, "sip:1@h", ""), 405);
        }
        assert_eq!(refusal("FROBNICATE", "sip:1@h", ""), 501);
        assert_eq!(refusal("INVITE", "http://h/", ""), 416);
        assert_eq!(refusal("REGISTER", "tel:+1", ""), 416);
        let text = "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: isbn:2983792873\r\n\
                    Call-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n";
        assert_eq!(check(&Message::parse(text.into()).unwrap()), Err(Refusal::Aor));
        assert_eq!(refusal("INVITE", "sip:1@h", "Require: replaces\r\n"), 420);
        assert_eq!(refusal("INVITE", "sip:1@h", "Content-Encoding: gzip\r\n"), 415);
        assert_eq!(refusal("INVITE", "sip:1@h", "Session-Expires: 89\r\n"), 422);
        assert_eq!(check(&request("INVITE", "sip:1@h", "Require: 100rel, timer\r\nSession-Expires: 90\r\n")), Ok(()));
        assert_eq!(check(&request("INVITE", "tel:+1555", "")), Ok(()));
        assert_eq!(check(&request("REGISTER", "sip:h", "Require: path\r\n")), Ok(()));
    }
}
