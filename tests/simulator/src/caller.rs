//! The caller: a trusted peer that calls the number, waits, gives up or talks, as its plan says.

use std::net::SocketAddr;

use crate::plan::CallerPlan;
use crate::session::{Doing, Repeats, Session, Timer, allow};
use crate::text::{Text, finish, sdp};

/// How far the caller's INVITE came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No response yet.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// 200.
    Answered,
    /// Refused, with this status; or nothing came at all (0).
    Refused(u16),
}

/// The caller.
#[derive(Debug)]
pub struct Caller {
    /// Where it is.
    pub address: SocketAddr,
    plan: CallerPlan,
    session: Session,
    invite: Vec<u8>,
    /// How far it came.
    pub stage: Stage,
    cancel_wanted: bool,
    /// It sent CANCEL.
    pub cancelled: bool,
    repeats: Repeats,
    responses: std::collections::HashMap<String, Vec<u8>>,
    acknowledged: Vec<u32>,
    offer_answered: bool,
    ack: Option<Vec<u8>>,
    /// It neither sends nor hears any more.
    pub vanished: bool,
}

impl Caller {
    /// A caller at `address` of this number at `edge`.
    pub fn new(address: SocketAddr, edge: SocketAddr, number: &str, plan: CallerPlan) -> Caller {
        let session = Session {
            own: address,
            call_id: format!("caller@{}", address.ip()),
            local: format!("<sip:+15550001111@{address}>;tag=f"),
            remote: format!("<sip:{number}@{edge}>"),
            target: format!("sip:{number}@{edge}"),
            routes: Vec::new(),
            cseq: 1,
            inviting: None,
            over: false,
            version: 1,
            direction: "sendrecv",
            habits: plan.habits.clone(),
        };
        Caller {
            address,
            plan,
            session,
            invite: Vec::new(),
            stage: Stage::Calling,
            cancel_wanted: false,
            cancelled: false,
            repeats: Repeats::default(),
            responses: std::collections::HashMap::new(),
            acknowledged: Vec::new(),
            offer_answered: false,
            ack: None,
            vanished: false,
        }
    }

    /// Whether it holds a dialog that nobody ended.
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Answered && !self.session.over
    }

    /// Sends the INVITE.
    pub fn start(&mut self) -> Doing {
        let mut doing = Doing::default();
        let expires = self.plan.expires.map(|seconds| seconds.to_string());
        let interval = self.plan.habits.interval.map(|seconds| {
            let side = if self.plan.habits.refreshes { "uac" } else { "uas" };
            format!("{seconds};refresher={side}")
        });
        let mut extra = vec![("Allow", allow(&self.plan.habits)), ("Supported", "timer, 100rel")];
        if let Some(interval) = &interval {
            extra.push(("Session-Expires", interval));
        }
        if let Some(expires) = &expires {
            extra.push(("Expires", expires));
        }
        if self.plan.reliable {
            extra.push(("Require", "100rel"));
        }
        let body = (!self.plan.offerless).then(|| sdp(self.address, 1, "sendrecv"));
        self.invite = self.session.request_with("INVITE", 1, &extra, body.as_deref());
        self.repeats.start(&mut doing, "invite".into(), self.invite.clone(), 64_000);
        doing.timers.push((self.plan.patience, Timer::Leave("invite".into())));
        if let Some(after) = self.plan.vanishes {
            doing.timers.push((after, Timer::Vanish));
        }
        doing
    }

    /// A datagram came.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Doing, String> {
        let mut doing = Doing::default();
        if self.vanished {
            return Ok(doing);
        }
        let message = Text::read(bytes).ok_or_else(|| format!("unreadable: {}", String::from_utf8_lossy(bytes)))?;
        match message.status() {
            Some(status) => self.response(&mut doing, &message, status),
            None => self.request(&mut doing, &message),
        }
        Ok(doing)
    }

    fn request(&mut self, doing: &mut Doing, request: &Text) {
        let key = format!("{}/{}", request.branch(), request.method().unwrap_or_default());
        if request.method() == Some("ACK") {
            self.repeats.stop(&format!("{}/{}/re200", self.session.call_id, request.cseq().0));
            return;
        }
        if let Some(response) = self.responses.get(&key) {
            doing.sends.push(response.clone());
            return;
        }
        if self.stage != Stage::Answered {
            // Within the early dialog the edge may update the offer; nothing else can come.
            let response = request.response(200, "", &[], None);
            doing.sends.push(response);
            return;
        }
        if let Some(response) = self.session.requested(doing, &mut self.repeats, request) {
            self.responses.insert(key, response.clone());
            doing.sends.push(response);
        }
    }

    fn response(&mut self, doing: &mut Doing, response: &Text, status: u16) {
        let (cseq, method) = response.cseq();
        match (cseq, method) {
            (1, "INVITE") => self.invite_response(doing, response, status),
            (1, "CANCEL") => {
                self.repeats.stop("cancel");
            }
            (_, "PRACK") => {
                self.repeats.stop(&format!("{}/{cseq}/PRACK", self.session.call_id));
            }
            _ => {
                if let Some(status) = self.session.responded(doing, &mut self.repeats, response)
                    && status < 300
                {
                    doing.timers.push((500, Timer::Resume(String::new())));
                }
            }
        }
    }

    fn invite_response(&mut self, doing: &mut Doing, response: &Text, status: u16) {
        self.repeats.stop("invite");
        if status < 200 {
            if matches!(self.stage, Stage::Calling | Stage::Refused(0)) {
                self.stage = Stage::Proceeding;
            }
            if self.cancel_wanted {
                self.cancel(doing);
            }
            self.prack(doing, response);
            return;
        }
        if status >= 300 {
            if !matches!(self.stage, Stage::Answered) {
                self.stage = Stage::Refused(status);
            }
            self.repeats.stop("cancel");
            let ack = self.invite_twin("ACK", response.get("To").unwrap_or_default());
            doing.sends.push(ack);
            return;
        }
        if let Some(ack) = &self.ack {
            doing.sends.push(ack.clone());
            return;
        }
        self.stage = Stage::Answered;
        self.session.remote = response.get("To").unwrap_or_default().to_owned();
        self.session.target = response.contact().unwrap_or_default().to_owned();
        self.session.routes = response.all("Record-Route").iter().rev().map(|route| (*route).to_owned()).collect();
        let body = (self.plan.offerless && !self.offer_answered).then(|| sdp(self.address, 1, "sendrecv"));
        let ack = self.session.request_with("ACK", 1, &[], body.as_deref());
        doing.sends.push(ack.clone());
        self.ack = Some(ack);
        self.session.cseq = self.session.cseq.max(10);
        if self.cancelled {
            self.session.hang_up(doing, &mut self.repeats);
            return;
        }
        doing.timers.push((self.plan.talk, Timer::Leave("call".into())));
        let agreed = response.get("Session-Expires").and_then(|value| {
            let interval = value.split(';').next()?.trim().parse::<u64>().ok()?;
            Some((interval, value.contains("refresher=uac")))
        });
        self.session.begin(doing, agreed);
        if let Some(after) = self.plan.hold {
            doing.timers.push((after, Timer::Hold(String::new())));
        }
    }

    /// Acknowledges a reliable provisional response (RFC 3262 §4); answers an offer in it.
    fn prack(&mut self, doing: &mut Doing, response: &Text) {
        let Some(number) = response.get("RSeq").and_then(|value| value.parse::<u32>().ok()) else { return };
        // Not after its BYE: one that overtakes this is refused for its CSeq (RFC 3261 §12.2.2).
        if self.acknowledged.contains(&number) || self.session.over {
            return;
        }
        self.acknowledged.push(number);
        self.session.remote = response.get("To").unwrap_or_default().to_owned();
        self.session.target = response.contact().unwrap_or_default().to_owned();
        let offer = self.plan.offerless && !response.body.is_empty() && !self.offer_answered;
        self.offer_answered |= offer;
        let body = offer.then(|| sdp(self.address, 1, "sendrecv"));
        let rack = format!("{number} 1 INVITE");
        let (cseq, message) = self.session.request("PRACK", &[("RAck", &rack)], body.as_deref());
        self.repeats.start(doing, format!("{}/{cseq}/PRACK", self.session.call_id), message, 4000);
    }

    /// CANCEL, or the ACK of a refusal: the INVITE's own start line, Via, From and Call-ID (RFC 3261 §9.1, §17.1.1.3).
    fn invite_twin(&self, method: &str, to: &str) -> Vec<u8> {
        let invite =
            Text::read(&self.invite).unwrap_or(Text { start: String::new(), headers: Vec::new(), body: String::new() });
        let get = |name: &str| invite.get(name).unwrap_or_default().to_owned();
        let head = format!(
            "{method}{}\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: 1 {method}\r\n",
            invite.start.trim_start_matches("INVITE"),
            get("Via"),
            get("From"),
            get("Call-ID"),
        );
        finish(head, &[], None)
    }

    fn cancel(&mut self, doing: &mut Doing) {
        if self.cancelled || !matches!(self.stage, Stage::Calling | Stage::Proceeding) {
            return;
        }
        self.cancelled = true;
        let to = Text::read(&self.invite).and_then(|invite| invite.get("To").map(str::to_owned)).unwrap_or_default();
        let cancel = self.invite_twin("CANCEL", &to);
        self.repeats.start(doing, "cancel".into(), cancel, 4000);
    }

    /// A wake-up came.
    pub fn wake(&mut self, timer: Timer) -> Doing {
        let mut doing = Doing::default();
        if self.vanished {
            return doing;
        }
        match timer {
            Timer::Again(key, count) => {
                self.repeats.again(&mut doing, key, count);
                if self.stage == Stage::Calling && !self.repeats.under_way("invite") {
                    self.stage = Stage::Refused(0);
                }
            }
            Timer::Leave(what) if what == "invite" => match self.stage {
                Stage::Calling => self.cancel_wanted = true,
                Stage::Proceeding => self.cancel(&mut doing),
                _ => {}
            },
            Timer::Leave(_) => self.session.hang_up(&mut doing, &mut self.repeats),
            Timer::Hold(_) => self.session.reinvite(&mut doing, &mut self.repeats, "sendonly"),
            Timer::Resume(_) if self.session.version < 6 => {
                self.session.reinvite(&mut doing, &mut self.repeats, "sendrecv");
            }
            Timer::Refresh(_) => self.session.refresh(&mut doing, &mut self.repeats),
            Timer::Digit(_) => self.session.digit(&mut doing, &mut self.repeats),
            Timer::Vanish => self.vanished = true,
            _ => {}
        }
        doing
    }
}
