//! Dialogs (RFC 3261 §12): who talks to whom, by which way requests go, and in which order they come.
//!
//! [`Dialog`] is the state of one. It is pure data: what is sent goes through [`crate::transaction`].

use bytes::Bytes;

use crate::build::RequestBuilder;
use crate::header::{HeaderName, NameAddr};
use crate::message::{Message, Method};
use crate::uri::Uri;

/// What a dialog is known by (RFC 3261 §12). Tags are compared as they stand; a peer of RFC 2543 has an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag.
    pub remote_tag: String,
}

impl DialogId {
    /// Of the dialog that a received request is for: our tag is that of To. `None` without a Call-ID, or without a To
    /// tag, as the request is not within a dialog then (§12.2.2).
    pub fn of_request(request: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: request.call_id()?.to_owned(),
            local_tag: request.to_tag()?.to_owned(),
            remote_tag: request.from_tag().unwrap_or_default().to_owned(),
        })
    }

    /// Of the dialog that a received response is of: our tag is that of From. `None` without a Call-ID or From tag.
    pub fn of_response(response: &Message) -> Option<DialogId> {
        Some(DialogId {
            call_id: response.call_id()?.to_owned(),
            local_tag: response.from_tag()?.to_owned(),
            remote_tag: response.to_tag().unwrap_or_default().to_owned(),
        })
    }
}

/// What a request of ours that makes a dialog says. The dialog has it from here and not from the response: a peer may
/// leave our tag out or change it, and is known by ours all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Initiated {
    /// Call-ID.
    pub call_id: String,
    /// From, with our tag.
    pub local: Vec<u8>,
    /// Our tag.
    pub local_tag: String,
    /// CSeq.
    pub cseq: u32,
    /// Request-URI.
    pub target: String,
}

/// The state of a dialog. Header values are kept as they are written, so that a request is put together by copying.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our From in requests, with our tag.
    pub local: Vec<u8>,
    /// Our tag.
    pub local_tag: String,
    /// Our To in requests, with the peer's tag.
    pub remote: Vec<u8>,
    /// The peer's tag; empty for a peer of RFC 2543 (§12.1.1).
    pub remote_tag: String,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// The remote target: a URI.
    pub target: String,
    /// The route set, in the order in which our requests carry it.
    pub routes: Vec<Vec<u8>>,
}

impl Dialog {
    /// Of a UAS: from a request that makes a dialog, under our tag (§12.1.1). Our own requests are numbered from 1.
    /// `None` without one usable Contact, From, To, Call-ID or CSeq.
    pub fn of_uas(request: &Message, local_tag: &str) -> Option<Dialog> {
        let mut local = request.field(HeaderName::To)?.value().into_owned();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(local_tag.as_bytes());
        Some(Dialog {
            call_id: request.call_id()?.to_owned(),
            local,
            local_tag: local_tag.to_owned(),
            remote: request.field(HeaderName::From)?.value().into_owned(),
            remote_tag: request.from_tag().unwrap_or_default().to_owned(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            target: target_of(request)?,
            routes: routes_of(request).collect(),
        })
    }

    /// Of a UAC: from a response other than 100 to a request of ours that makes a dialog (§12.1.2); early if it is
    /// provisional. Its target is that of our request where the response has no Contact.
    pub fn of_uac(response: &Message, ours: &Initiated) -> Dialog {
        let mut routes: Vec<_> = routes_of(response).collect();
        routes.reverse();
        Dialog {
            call_id: ours.call_id.clone(),
            local: ours.local.clone(),
            local_tag: ours.local_tag.clone(),
            // No response without To is let in.
            remote: response.field(HeaderName::To).map(|to| to.value().into_owned()).unwrap_or_default(),
            remote_tag: response.to_tag().unwrap_or_default().to_owned(),
            local_cseq: ours.cseq,
            remote_cseq: None,
            target: target_of(response).unwrap_or_else(|| ours.target.clone()),
            routes,
        }
    }

    /// An early dialog of ours gets its 2xx: route set and target are that response's (§13.2.2.4); numbers go on.
    pub fn confirm(&mut self, response: &Message) {
        self.routes = routes_of(response).collect();
        self.routes.reverse();
        self.refresh_target(response);
    }

    /// As a key.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
        }
    }

    /// Whether a received request is within this dialog (§12.2.2).
    pub fn is_of(&self, request: &Message) -> bool {
        request.call_id() == Some(self.call_id.as_str())
            && request.to_tag() == Some(self.local_tag.as_str())
            && request.from_tag().unwrap_or_default() == self.remote_tag
    }

    /// Notes the CSeq of a new request of the peer. False: it is out of order, and the answer is 500 (§12.2.2). Not
    /// for ACK and CANCEL, which have the number of their INVITE.
    #[must_use]
    pub fn accept_cseq(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number < last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// Takes the Contact of a target refresh request (INVITE, UPDATE) or of its 2xx as the remote target (§12.2.1.2,
    /// §12.2.2). Without a usable one nothing changes.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = target_of(message) {
            self.target = target;
        }
    }

    /// The URI that says where requests go: the first route, else the remote target (§8.1.2).
    pub fn next_hop(&self) -> &str {
        self.routes.first().and_then(|route| route_uri(route)).unwrap_or(&self.target)
    }

    /// The next number for a request of ours (§12.2.1.1; below 2^31 by §8.1.1.5, which no dialog reaches).
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// A request within the dialog, from Request-URI to CSeq, without Via (§12.2.1.1). Where the first route is a
    /// strict router (no `lr`), it becomes the Request-URI and the target the last route.
    pub fn request(&self, method: Method, cseq: u32) -> RequestBuilder {
        let strict = self
            .routes
            .first()
            .and_then(|route| Uri::parse(route_uri(route)?).ok())
            .filter(|uri| !uri.is_loose_router())
            .map(|uri| uri.to_request_uri());
        let mut builder = RequestBuilder::new(method, strict.as_deref().unwrap_or(&self.target));
        for route in self.routes.iter().skip(usize::from(strict.is_some())) {
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

    /// The ACK of a 2xx to an INVITE of ours, without Via (§13.2.2.4): the INVITE's number and credentials, the dialog's
    /// route. `answer` is a body and its type, where the 2xx made the offer.
    pub fn ack(&self, invite: &Message, answer: Option<(&str, Bytes)>) -> Bytes {
        let number = invite.cseq().map_or(self.local_cseq, |cseq| cseq.number);
        let ack = self
            .request(Method::Ack, number)
            .copy(invite, HeaderName::Authorization)
            .copy(invite, HeaderName::ProxyAuthorization);
        match answer {
            Some((content_type, body)) => ack.body(content_type, body).build(),
            None => ack.build(),
        }
    }
}

fn target_of(message: &Message) -> Option<String> {
    let uri = message.contact()?.uri()?;
    uri.is_sip().then(|| uri.to_request_uri())
}

fn routes_of(message: &Message) -> impl Iterator<Item = Vec<u8>> {
    message.list(HeaderName::RecordRoute).filter(|route| !route.is_empty()).map(<[u8]>::to_vec)
}

fn route_uri(route: &[u8]) -> Option<&str> {
    Some(NameAddr::parse(route)?.uri_text)
}

#[cfg(test)]
mod tests;
