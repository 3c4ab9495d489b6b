//! One dialog (RFC 3261 §12): who is who, where requests go, and the sequence numbers.

use ringfork_sip::build::RequestBuilder;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};
use ringfork_sip::uri::Uri;

/// The state of a dialog. Header values are kept as they are written, so that a request is put together by copying.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our From in requests, with our tag.
    pub local: String,
    /// Our tag.
    pub local_tag: String,
    /// Our To in requests, with the peer's tag.
    pub remote: Vec<u8>,
    /// The peer's tag; empty for a peer of RFC 2543 (RFC 3261 §12.1).
    pub remote_tag: String,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// The remote target.
    pub target: String,
    /// The route set, in the order in which our requests carry it.
    pub routes: Vec<Vec<u8>>,
}

impl Dialog {
    /// Of a UAS: from the request, under our tag (RFC 3261 §12.1.1). `None` without a usable Contact, or a To that is
    /// not text.
    pub fn of_uas(request: &Message, local_tag: &str) -> Option<Dialog> {
        let to = request.text(HeaderName::To)?;
        Some(Dialog {
            call_id: request.call_id()?.to_owned(),
            local: format!("{to};tag={local_tag}"),
            local_tag: local_tag.to_owned(),
            remote: request.field(HeaderName::From)?.value().into_owned(),
            remote_tag: request.from_tag().unwrap_or_default().to_owned(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            target: target_of(request)?,
            routes: routes_of(request).collect(),
        })
    }

    /// Of a UAC: from a response to an INVITE of ours (RFC 3261 §12.1.2). `target` is where the INVITE went, for
    /// responses without Contact.
    pub fn of_uac(response: &Message, target: &str) -> Option<Dialog> {
        let mut routes: Vec<_> = routes_of(response).collect();
        routes.reverse();
        Some(Dialog {
            call_id: response.call_id()?.to_owned(),
            local: response.text(HeaderName::From)?.into_owned(),
            local_tag: response.from_tag()?.to_owned(),
            remote: response.field(HeaderName::To)?.value().into_owned(),
            remote_tag: response.to_tag().unwrap_or_default().to_owned(),
            local_cseq: response.cseq()?.number,
            remote_cseq: None,
            target: target_of(response).unwrap_or_else(|| target.to_owned()),
            routes,
        })
    }

    /// Whether a request within our dialog (found by our tag) is really of it.
    pub fn is_of(&self, request: &Message) -> bool {
        request.call_id() == Some(self.call_id.as_str())
            && request.from_tag().unwrap_or_default() == self.remote_tag.as_str()
    }

    /// Notes the CSeq of a request of the peer. False: it is out of order (RFC 3261 §12.2.2: 500).
    pub fn accept_cseq(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number < last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// Takes the Contact of a target refresh request or of its 2xx as the remote target (RFC 3261 §12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = target_of(message) {
            self.target = target;
        }
    }

    /// The URI that says where requests go: the first route, else the remote target.
    pub fn next_hop(&self) -> &str {
        match self.routes.first() {
            Some(route) => route_uri(route).unwrap_or(&self.target),
            None => &self.target,
        }
    }

    /// A request within the dialog, up to CSeq and Max-Forwards, without Via (RFC 3261 §12.2.1.1).
    pub fn request(&self, method: Method, cseq: u32) -> RequestBuilder {
        let strict = self.routes.first().and_then(|route| route_uri(route)).filter(|uri| !is_loose(uri));
        let mut builder = RequestBuilder::new(method, strict.unwrap_or(&self.target));
        let skip = usize::from(strict.is_some());
        for route in self.routes.iter().skip(skip) {
            builder.push(HeaderName::Route, route);
        }
        if strict.is_some() {
            builder.push(HeaderName::Route, format!("<{}>", self.target));
        }
        builder
            .max_forwards(70)
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .call_id(&self.call_id)
            .cseq(cseq)
    }

    /// The next number for a request of ours.
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        self.local_cseq
    }
}

fn target_of(message: &Message) -> Option<String> {
    let contact = message.contact()?;
    let uri = contact.uri()?;
    uri.is_sip().then(|| uri.to_request_uri())
}

fn routes_of(message: &Message) -> impl Iterator<Item = Vec<u8>> {
    message.list(HeaderName::RecordRoute).map(<[u8]>::to_vec)
}

fn route_uri(route: &[u8]) -> Option<&str> {
    Some(ringfork_sip::header::NameAddr::parse(route)?.uri_text)
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.is_loose_router())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace("\r\n", "\n").replace('\n', "\r\n"))).unwrap()
    }

    fn invite() -> Message {
        message(
            "INVITE sip:1@ringfork.local SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: \"A\" <sip:a@h>;tag=fa\n\
             To: <sip:1@ringfork.local>\nCall-ID: c1\nCSeq: 7 INVITE\nContact: <sip:a@192.0.2.1:5070>\n\
             Record-Route: <sip:p1;lr>, <sip:p2;lr>\nContent-Length: 0\n\n",
        )
    }

    /// RFC 3261 §12.1.1: route set in order, target from Contact, our tag on To.
    #[test]
    fn of_a_uas() {
        let dialog = Dialog::of_uas(&invite(), "tt").unwrap();
        assert_eq!(dialog.target, "sip:a@192.0.2.1:5070");
        assert_eq!(dialog.next_hop(), "sip:p1;lr");
        let request = message(std::str::from_utf8(&dialog.request(Method::Bye, 1).build()).unwrap());
        assert_eq!(request.request_uri(), Some("sip:a@192.0.2.1:5070"));
        assert_eq!(request.from_tag(), Some("tt"));
        assert_eq!(request.to_tag(), Some("fa"));
        assert_eq!(request.list(HeaderName::Route).count(), 2);
    }

    /// RFC 3261 §12.2.1.1: a first route without `lr` becomes the Request-URI.
    #[test]
    fn a_strict_router() {
        let mut dialog = Dialog::of_uas(&invite(), "tt").unwrap();
        dialog.routes = vec![b"<sip:p1>".to_vec(), b"<sip:p2;lr>".to_vec()];
        let request = message(std::str::from_utf8(&dialog.request(Method::Bye, 1).build()).unwrap());
        assert_eq!(request.request_uri(), Some("sip:p1"));
        let routes: Vec<_> = request.addresses(HeaderName::Route).map(|route| route.uri_text.to_owned()).collect();
        assert_eq!(routes, ["sip:p2;lr", "sip:a@192.0.2.1:5070"]);
    }

    /// RFC 3261 §12.2.2: CSeq must not fall.
    #[test]
    fn sequence() {
        let mut dialog = Dialog::of_uas(&invite(), "tt").unwrap();
        assert!(dialog.accept_cseq(8));
        assert!(!dialog.accept_cseq(7));
        assert!(dialog.is_of(&invite()));
    }
}
