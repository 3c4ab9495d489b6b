//! Header names: the known ones by number, with their compact forms (RFC 3261 §7.3.3), the rest by their text.

/// Declares the enum, the canonical spelling and the lookup in one table, so that they cannot disagree.
macro_rules! header_names {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $lower:literal $(| $short:literal)?;)*) => {
        /// A header field's name. Everything not in this list is [`HeaderName::Other`] and found by its text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum HeaderName {
            $($(#[$doc])* $name,)*
            /// A name that is not in this list.
            Other,
        }

        impl HeaderName {
            /// How many values this enum has.
            pub const COUNT: usize = HeaderName::Other as usize + 1;

            /// Every known name.
            pub const ALL: &[HeaderName] = &[$(HeaderName::$name,)*];

            /// As it is printed: the long form in its usual spelling. Empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$name => $text,)*
                    HeaderName::Other => "",
                }
            }

            /// The name of this text in any case, long or compact.
            pub fn from_bytes(text: &[u8]) -> HeaderName {
                let mut lower = [0u8; LONGEST];
                let Some(lower) = lower.get_mut(..text.len()) else { return HeaderName::Other };
                for (to, from) in lower.iter_mut().zip(text) {
                    *to = from.to_ascii_lowercase();
                }
                match &*lower {
                    $($lower $(| $short)? => HeaderName::$name,)*
                    _ => HeaderName::Other,
                }
            }
        }
    };
}

/// Octets of the longest known name.
const LONGEST: usize = 24;

header_names! {
    Accept = "Accept", b"accept";
    AcceptContact = "Accept-Contact", b"accept-contact" | b"a";
    AcceptEncoding = "Accept-Encoding", b"accept-encoding";
    AcceptLanguage = "Accept-Language", b"accept-language";
    AlertInfo = "Alert-Info", b"alert-info";
    Allow = "Allow", b"allow";
    AllowEvents = "Allow-Events", b"allow-events" | b"u";
    AuthenticationInfo = "Authentication-Info", b"authentication-info";
    Authorization = "Authorization", b"authorization";
    CallId = "Call-ID", b"call-id" | b"i";
    CallInfo = "Call-Info", b"call-info";
    Contact = "Contact", b"contact" | b"m";
    ContentDisposition = "Content-Disposition", b"content-disposition";
    ContentEncoding = "Content-Encoding", b"content-encoding" | b"e";
    ContentLanguage = "Content-Language", b"content-language";
    ContentLength = "Content-Length", b"content-length" | b"l";
    ContentType = "Content-Type", b"content-type" | b"c";
    CSeq = "CSeq", b"cseq";
    Date = "Date", b"date";
    Diversion = "Diversion", b"diversion";
    ErrorInfo = "Error-Info", b"error-info";
    Event = "Event", b"event" | b"o";
    Expires = "Expires", b"expires";
    FlowTimer = "Flow-Timer", b"flow-timer";
    From = "From", b"from" | b"f";
    HistoryInfo = "History-Info", b"history-info";
    Identity = "Identity", b"identity" | b"y";
    InReplyTo = "In-Reply-To", b"in-reply-to";
    InfoPackage = "Info-Package", b"info-package";
    Join = "Join", b"join";
    MaxForwards = "Max-Forwards", b"max-forwards";
    MimeVersion = "MIME-Version", b"mime-version";
    MinExpires = "Min-Expires", b"min-expires";
    MinSe = "Min-SE", b"min-se";
    Organization = "Organization", b"organization";
    PAssertedIdentity = "P-Asserted-Identity", b"p-asserted-identity";
    PPreferredIdentity = "P-Preferred-Identity", b"p-preferred-identity";
    Path = "Path", b"path";
    Priority = "Priority", b"priority";
    Privacy = "Privacy", b"privacy";
    ProxyAuthenticate = "Proxy-Authenticate", b"proxy-authenticate";
    ProxyAuthorization = "Proxy-Authorization", b"proxy-authorization";
    ProxyRequire = "Proxy-Require", b"proxy-require";
    RAck = "RAck", b"rack";
    Reason = "Reason", b"reason";
    RecordRoute = "Record-Route", b"record-route";
    RecvInfo = "Recv-Info", b"recv-info";
    ReferSub = "Refer-Sub", b"refer-sub";
    ReferTo = "Refer-To", b"refer-to" | b"r";
    ReferredBy = "Referred-By", b"referred-by" | b"b";
    RejectContact = "Reject-Contact", b"reject-contact" | b"j";
    RemotePartyId = "Remote-Party-ID", b"remote-party-id";
    Replaces = "Replaces", b"replaces";
    ReplyTo = "Reply-To", b"reply-to";
    RequestDisposition = "Request-Disposition", b"request-disposition" | b"d";
    Require = "Require", b"require";
    RetryAfter = "Retry-After", b"retry-after";
    Route = "Route", b"route";
    RSeq = "RSeq", b"rseq";
    Server = "Server", b"server";
    ServiceRoute = "Service-Route", b"service-route";
    SessionExpires = "Session-Expires", b"session-expires" | b"x";
    SipEtag = "SIP-ETag", b"sip-etag";
    SipIfMatch = "SIP-If-Match", b"sip-if-match";
    Subject = "Subject", b"subject" | b"s";
    SubscriptionState = "Subscription-State", b"subscription-state";
    Supported = "Supported", b"supported" | b"k";
    Timestamp = "Timestamp", b"timestamp";
    To = "To", b"to" | b"t";
    Unsupported = "Unsupported", b"unsupported";
    UserAgent = "User-Agent", b"user-agent";
    Via = "Via", b"via" | b"v";
    Warning = "Warning", b"warning";
    WwwAuthenticate = "WWW-Authenticate", b"www-authenticate";
}

impl std::fmt::Display for HeaderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §7.3.1: field names are case-insensitive; every known name finds itself.
    #[test]
    fn each_name_finds_itself_in_any_case() {
        for name in HeaderName::ALL {
            let text = name.as_str();
            assert!(text.len() <= LONGEST, "{text}");
            assert_eq!(HeaderName::from_bytes(text.as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(text.to_uppercase().as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(text.to_lowercase().as_bytes()), *name);
        }
    }

    /// RFC 3261 §7.3.3 and the IANA table of compact forms.
    #[test]
    fn compact_forms() {
        use HeaderName as H;
        for (short, name) in [
            ("a", H::AcceptContact),
            ("b", H::ReferredBy),
            ("c", H::ContentType),
            ("d", H::RequestDisposition),
            ("e", H::ContentEncoding),
            ("f", H::From),
            ("i", H::CallId),
            ("j", H::RejectContact),
            ("k", H::Supported),
            ("l", H::ContentLength),
            ("m", H::Contact),
            ("o", H::Event),
            ("r", H::ReferTo),
            ("s", H::Subject),
            ("t", H::To),
            ("u", H::AllowEvents),
            ("v", H::Via),
            ("x", H::SessionExpires),
            ("y", H::Identity),
        ] {
            assert_eq!(HeaderName::from_bytes(short.as_bytes()), name, "{short}");
            assert_eq!(HeaderName::from_bytes(short.to_uppercase().as_bytes()), name, "{short}");
        }
        for unknown in ["", "z", "Vi", "Viaa", "NewFangledHeader", "X-A-Name-That-Is-Longer-Than-Any-We-Know"] {
            assert_eq!(HeaderName::from_bytes(unknown.as_bytes()), H::Other, "{unknown}");
        }
    }
}
