//! INVITE transactions of ours after their call has gone on: repeated 2xx are ACKed again, 2xx of other branches of a
//! fork and those that cross a CANCEL are ACKed and ended with BYE (RFC 3261 §13.2.2.4, §9.1; RCML.md 1.2).

use bytes::Bytes;
use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::{Message, Method};

use super::leg::Credentials;
use crate::action::Ports;
use crate::agent::core::{Core, Owner};
use crate::agent::hop::{Deferred, Route};
use ringfork_sip::dialog::{Dialog, Initiated};

/// The header that proves us to a peer which asked, to be repeated in the ACK (RFC 3261 §22.1).
pub type Authorization = Option<(HeaderName, String)>;

/// An INVITE that was answered.
#[derive(Debug)]
pub struct AnsweredInvite {
    /// To tag of the 2xx that was taken.
    pub remote_tag: String,
    /// Its ACK without Via; `None` while it waits for the other party's answer.
    pub ack: Option<Bytes>,
    /// Where the ACK goes.
    pub next_hop: String,
    /// What else is known.
    pub stray: Abandoned,
}

/// An INVITE whose 2xx nobody wants.
#[derive(Debug)]
pub struct Abandoned {
    /// How requests in its dialogs find their way.
    pub route: Route,
    /// The flow that it went over.
    pub flow: Flow,
    /// What it said.
    pub ours: Initiated,
    /// To tags that got their BYE.
    pub ended: Vec<String>,
    /// The greatest CSeq used in dialogs of it (PRACK).
    pub cseq: u32,
    /// The INVITE's, repeated in the ACK.
    pub authorization: Authorization,
    /// For the BYE, where the peer asks for some.
    pub credentials: Option<Box<Credentials>>,
}

/// The BYE to a peer that may ask for credentials.
#[derive(Debug)]
pub struct Farewell {
    route: Route,
    flow: Flow,
    dialog: Dialog,
    credentials: Box<Credentials>,
}

impl Abandoned {
    /// A 2xx came: ACK, and BYE the first time. Bounded: a peer that forks into more than 32 dialogs gets no BYE for
    /// the rest.
    pub fn on_success<P: Ports>(&mut self, core: &mut Core<P>, response: &Message) {
        let mut dialog = Dialog::of_uac(response, &self.ours);
        let ack = ack(&dialog, self.ours.cseq, &self.authorization, None);
        core.send_routed(
            self.route,
            dialog.next_hop(),
            Deferred { flow: self.flow, request: ack, owner: None, ack: true },
        );
        if self.ended.contains(&dialog.remote_tag) || self.ended.len() >= 32 {
            return;
        }
        dialog.local_cseq = dialog.local_cseq.max(self.cseq);
        self.ended.push(dialog.remote_tag.clone());
        core.count("late_answers_total", "");
        let (route, flow) = (self.route, self.flow);
        let Some(credentials) = &mut self.credentials else {
            let bye = bye(&mut dialog, &None, &core.config.server);
            let deferred = Deferred { flow, request: bye, owner: None, ack: false };
            return core.send_routed(route, dialog.next_hop(), deferred);
        };
        let proof = credentials.again("BYE", &dialog.target, core.random_u64());
        let credentials = credentials.clone();
        Farewell { route, flow, dialog, credentials }.send(core, &proof);
    }
}

impl Farewell {
    fn send<P: Ports>(mut self, core: &mut Core<P>, proof: &Authorization) {
        let (route, flow) = (self.route, self.flow);
        let request = bye(&mut self.dialog, proof, &core.config.server);
        let next_hop = self.dialog.next_hop().to_owned();
        let owner = Some(Owner::Farewell(Box::new(self)));
        core.send_routed(route, &next_hop, Deferred { flow, request, owner, ack: false });
    }

    /// Its final response. A challenge is answered, as often as one of any request is.
    pub fn on_response<P: Ports>(mut self, core: &mut Core<P>, response: &Message) {
        if !matches!(response.status(), Some(401 | 407)) {
            return;
        }
        let proof = self.credentials.answer(response, "BYE", &self.dialog.target, core.random_u64());
        if proof.is_some() {
            self.send(core, &proof);
        }
    }
}

impl AnsweredInvite {
    /// A further 2xx came.
    pub fn on_success<P: Ports>(&mut self, core: &mut Core<P>, response: &Message) {
        if response.to_tag().unwrap_or_default() != self.remote_tag {
            return self.stray.on_success(core, response);
        }
        if let Some(ack) = &self.ack {
            let deferred = Deferred { flow: self.stray.flow, request: ack.clone(), owner: None, ack: true };
            core.send_routed(self.stray.route, &self.next_hop, deferred);
        }
    }
}

/// The ACK of a 2xx, without Via. `answer`: our SDP, where the 2xx made the offer.
pub fn ack(dialog: &Dialog, cseq: u32, authorization: &Authorization, answer: Option<Bytes>) -> Bytes {
    let mut builder = dialog.request(Method::Ack, cseq);
    if let Some((name, value)) = authorization {
        builder.push(*name, value);
    }
    match answer {
        Some(body) => builder.body("application/sdp", body).build(),
        None => builder.build(),
    }
}

/// A BYE, without Via.
pub fn bye(dialog: &mut Dialog, authorization: &Authorization, agent: &str) -> Bytes {
    let cseq = dialog.next_cseq();
    let mut builder = dialog.request(Method::Bye, cseq).header(HeaderName::UserAgent, agent);
    if let Some((name, value)) = authorization {
        builder.push(*name, value);
    }
    builder.build()
}
