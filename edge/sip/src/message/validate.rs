//! The second look at a message: the fields that every message must have, once, and well formed (RFC 3261 §8.1.1,
//! §8.2, §16.3; the faults of RFC 4475 §3.1.2 and §3.3).

use super::{Fault, Message, Method};
use crate::header::{CSeq, HeaderName, NameAddr, Via, scan};
use crate::uri::Uri;

/// Status and reason of a refusal.
type Refusal = (u16, &'static str);

impl Message {
    /// Checks a request before it is processed, and a response before it is matched. Done once for each message that
    /// comes from the network; a message of our own making does not need it.
    ///
    /// # Errors
    /// The refusal. A response with a fault cannot be answered and is to be dropped.
    pub fn validate(&self) -> Result<(), Fault> {
        let result = if self.is_request() { self.check_request() } else { self.check_response() };
        result.map_err(|(status, reason)| Fault::new(status, reason, Some(self.clone())))
    }

    fn check_request(&self) -> Result<(), Refusal> {
        self.check_common()?;
        let request_uri = self.request_uri().ok_or((400, "Malformed Request-URI"))?;
        let uri = Uri::parse(request_uri).map_err(|_| (400, "Malformed Request-URI"))?;
        // RFC 3261 §19.1.1: headers are not allowed in a Request-URI; RFC 4475 §3.1.2.11.
        if uri.headers_text().is_some() {
            return Err((400, "Headers in Request-URI"));
        }
        if let Some(value) = self.value_raw(HeaderName::MaxForwards) {
            match scan::number(value) {
                Some(0..=255) => {}
                _ => return Err((400, "Malformed Max-Forwards")),
            }
        }
        let method = self.method().ok_or((400, "Malformed start line"))?;
        if self.cseq().is_none_or(|CSeq { method: named, .. }| named != *method) {
            return Err(match method {
                // RFC 4475 §3.1.2.18: the unknown method is the better thing to say.
                Method::Extension(_) => (501, "Not Implemented"),
                _ => (400, "CSeq does not match the method"),
            });
        }
        // Expires of RFC 2543 could be a date, which counts as absent; a number out of range does not.
        if self.value_raw(HeaderName::Expires).is_some_and(is_oversized) {
            return Err((400, "Expires out of range"));
        }
        for element in self.list(HeaderName::Contact).filter(|element| *element != b"*") {
            let contact = NameAddr::parse(element).ok_or((400, "Malformed Contact"))?;
            if !contact.params.is_well_formed() || !has_sound_uri(&contact) {
                return Err((400, "Malformed Contact"));
            }
            if contact.params.get("expires").is_some_and(|value| is_oversized(value.as_bytes())) {
                return Err((400, "Contact expires out of range"));
            }
        }
        for (name, reason) in [
            (HeaderName::Route, "Malformed Route"),
            (HeaderName::RecordRoute, "Malformed Record-Route"),
            (HeaderName::Path, "Malformed Path"),
        ] {
            if self.list(name).any(|element| NameAddr::parse(element).is_none_or(|address| !address.bracketed)) {
                return Err((400, reason));
            }
        }
        Ok(())
    }

    fn check_response(&self) -> Result<(), Refusal> {
        self.check_common()?;
        // RFC 4475 §3.1.2.5: numbers beyond their range make the whole response unusable.
        if self.value_raw(HeaderName::RetryAfter).is_some_and(is_oversized) {
            return Err((400, "Retry-After out of range"));
        }
        Ok(())
    }

    /// Via, From, To, Call-ID and CSeq: there, once, readable.
    fn check_common(&self) -> Result<(), Refusal> {
        let mut hops = 0usize;
        for element in self.via_values() {
            let via = Via::parse(element).ok_or((400, "Malformed Via"))?;
            if via.version != "2.0" || !via.params.is_well_formed() {
                return Err((400, "Malformed Via"));
            }
            hops += 1;
        }
        if hops == 0 {
            return Err((400, "Missing Via"));
        }
        self.check_once(HeaderName::From, "Missing From", "Several From")?;
        self.check_once(HeaderName::To, "Missing To", "Several To")?;
        self.check_once(HeaderName::CallId, "Missing Call-ID", "Several Call-ID")?;
        self.check_once(HeaderName::CSeq, "Missing CSeq", "Several CSeq")?;
        if self.fields_of(HeaderName::MaxForwards).count() > 1 {
            return Err((400, "Several Max-Forwards"));
        }
        for (address, reason) in [(self.from(), "Malformed From"), (self.to(), "Malformed To")] {
            let address = address.ok_or((400, reason))?;
            let tagless = address.params.has("tag") && address.tag().is_none();
            if !address.params.is_well_formed() || !has_sound_uri(&address) || tagless {
                return Err((400, reason));
            }
        }
        if self.call_id().is_none_or(|id| id.bytes().any(|byte| byte <= b' ' || byte == 0x7f)) {
            return Err((400, "Malformed Call-ID"));
        }
        if self.cseq().is_none() {
            return Err((400, "Malformed CSeq"));
        }
        Ok(())
    }

    fn check_once(&self, name: HeaderName, missing: &'static str, several: &'static str) -> Result<(), Refusal> {
        let mut fields = self.fields_of(name);
        if fields.next().is_none() {
            return Err((400, missing));
        }
        if fields.next().is_some() { Err((400, several)) } else { Ok(()) }
    }
}

/// All digits, and more than 32 bits.
fn is_oversized(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_digit)
        && scan::number_u32(value.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default()).is_none()
}

/// Other schemes than SIP's are not read further; what they lead to is decided above (404, 416).
fn has_sound_uri(address: &NameAddr<'_>) -> bool {
    address.uri().is_some()
}
