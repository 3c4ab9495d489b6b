//! A called phone: one registered device that is rung, and does what its plan says.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::plan::CalleePlan;
use crate::proof::{hash, parameter};
use crate::session::{Doing, Repeats, Session, Timer, allow};
use crate::text::{Text, sdp};

/// What a trunk asks of one call to it.
#[derive(Debug, Default)]
struct Gate {
    /// How many nonces it has given up.
    nonce: u32,
    /// Nonce counts used with this one, and the branch of the request that each was said in.
    used: HashMap<u32, String>,
}

impl Gate {
    /// Its challenge; `stale`: the credentials were right, their nonce is not good any more.
    fn challenge(&self, stale: bool) -> String {
        let stale = if stale { ", stale=true" } else { "" };
        format!("Digest realm=\"trunk\", nonce=\"n{}\", qop=\"auth\", algorithm=MD5{stale}", self.nonce)
    }

    /// Gives its nonce up.
    fn turn(&mut self) {
        self.nonce += 1;
        self.used.clear();
    }

    /// Whether a request has credentials for its nonce. Those that it has must be right, of that request, and not said
    /// before (RFC 7616 §3.4).
    fn is_proved(&mut self, request: &Text) -> Result<bool, String> {
        let named = ["Authorization", "Proxy-Authorization"].into_iter().find_map(|name| request.get(name));
        let Some(value) = named else { return Ok(false) };
        let get = |name| parameter(value, name).unwrap_or_default();
        let what = format!("{} {}", request.method().unwrap_or_default(), request.call_id());
        let uri = request.start.split(' ').nth(1).unwrap_or_default();
        let asked = hash(false, &format!("{}:{}", request.method().unwrap_or_default(), get("uri")));
        let secret = hash(false, "trunkuser:trunk:trunkpassword");
        let right = hash(false, &format!("{secret}:{}:{}:{}:auth:{asked}", get("nonce"), get("nc"), get("cnonce")));
        if get("response") != right || get("uri") != uri {
            return Err(format!("{what}: credentials of another request (RFC 7616 3.4): {value}"));
        }
        if get("nonce") != format!("n{}", self.nonce) {
            return Ok(false);
        }
        let count = u32::from_str_radix(get("nc"), 16).unwrap_or_default();
        if count == 0 || self.used.entry(count).or_insert_with(|| request.branch().to_owned()) != request.branch() {
            return Err(format!("{what}: credentials said before (RFC 7616 3.4): {value}"));
        }
        Ok(true)
    }
}

/// One INVITE that this phone got, and what became of it.
#[derive(Debug, Clone)]
pub struct Rung {
    invite: Text,
    tag: String,
    session: Session,
    /// Reliable provisional sent and not yet acknowledged by PRACK.
    unacknowledged: bool,
    final_due: bool,
    /// Its final response.
    pub answered: Option<u16>,
    /// The ACK of its final response came.
    pub acked: bool,
    /// A CANCEL came.
    pub cancelled: bool,
    /// A BYE came, and was taken.
    pub bye_came: bool,
    /// A BYE was challenged.
    pub bye_challenged: bool,
    /// It hung up itself.
    pub bye_sent: bool,
}

/// A registered device.
#[derive(Debug)]
pub struct Callee {
    /// Where it is.
    pub address: SocketAddr,
    plan: CalleePlan,
    /// By Call-ID.
    gates: HashMap<String, Gate>,
    /// By Call-ID.
    pub rung: HashMap<String, Rung>,
    responses: HashMap<String, Vec<u8>>,
    repeats: Repeats,
    /// It neither sends nor hears any more.
    pub vanished: bool,
}

impl Callee {
    /// A device at this address.
    pub fn new(address: SocketAddr, plan: CalleePlan) -> Callee {
        let vanished = plan.dead;
        Callee {
            address,
            plan,
            gates: HashMap::new(),
            rung: HashMap::new(),
            responses: HashMap::new(),
            repeats: Repeats::default(),
            vanished,
        }
    }

    /// A datagram came.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Doing, String> {
        let mut doing = Doing::default();
        if self.vanished {
            return Ok(doing);
        }
        let message = Text::read(bytes).ok_or_else(|| format!("unreadable: {}", String::from_utf8_lossy(bytes)))?;
        if message.status().is_some() {
            self.response(&mut doing, &message);
        } else {
            self.request(&mut doing, message)?;
        }
        Ok(doing)
    }

    fn response(&mut self, doing: &mut Doing, message: &Text) {
        let Some(rung) = self.rung.get_mut(message.call_id()) else { return };
        if let Some(status) = rung.session.responded(doing, &mut self.repeats, message)
            && status < 300
        {
            doing.timers.push((500, Timer::Resume(message.call_id().to_owned())));
        }
    }

    /// Dialogs whose BYE was challenged and did not come again.
    pub fn left_up(&self) -> impl Iterator<Item = &String> {
        let up = |rung: &Rung| rung.bye_challenged && !rung.bye_came && !rung.bye_sent;
        self.rung.iter().filter(move |(_, rung)| !self.vanished && up(rung)).map(|(call_id, _)| call_id)
    }

    fn request(&mut self, doing: &mut Doing, request: Text) -> Result<(), String> {
        let method = request.method().unwrap_or_default().to_owned();
        let call_id = request.call_id().to_owned();
        let key = format!("{}/{method}", request.branch());
        if method != "ACK"
            && let Some(response) = self.responses.get(&key)
        {
            doing.sends.push(response.clone());
            return Ok(());
        }
        let in_dialog = request.get("To").and_then(Text::tag).is_some();
        match method.as_str() {
            "OPTIONS" if !in_dialog => doing.sends.push(request.response(200, "o", &[], None)),
            "INVITE" if !in_dialog => self.invited(doing, request)?,
            "ACK" => self.acknowledged(doing, &request),
            "CANCEL" => self.cancelled(doing, &request),
            _ => {
                let Some(rung) = self.rung.get_mut(&call_id) else {
                    doing.sends.push(request.response(481, "x", &[], None));
                    return Ok(());
                };
                let gate = self.gates.entry(call_id.clone()).or_default();
                let proved = match self.plan.challenge {
                    Some(_) => gate.is_proved(&request)?,
                    None => true,
                };
                // The nonce that the call began with is too old for its end.
                let asks = method == "BYE" && self.plan.challenge.is_some() && !(proved && rung.bye_challenged);
                let response = if asks {
                    rung.bye_challenged = true;
                    gate.turn();
                    Some(request.response(407, "", &[("Proxy-Authenticate", &gate.challenge(proved))], None))
                } else if method == "PRACK" {
                    let expected = rung.unacknowledged;
                    rung.unacknowledged = false;
                    self.repeats.stop(&format!("{call_id}/1xx"));
                    if expected && rung.final_due {
                        doing.timers.push((0, Timer::Final(call_id.clone())));
                    }
                    Some(request.response(if expected { 200 } else { 481 }, "", &[], None))
                } else {
                    rung.bye_came |= method == "BYE";
                    rung.session.requested(doing, &mut self.repeats, &request)
                };
                if let Some(response) = response {
                    self.responses.insert(key, response.clone());
                    doing.sends.push(response);
                }
            }
        }
        Ok(())
    }

    fn invited(&mut self, doing: &mut Doing, invite: Text) -> Result<(), String> {
        let call_id = invite.call_id().to_owned();
        let (cseq, _) = invite.cseq();
        let asks = |before: &Rung| before.answered.is_some_and(|code| matches!(code, 401 | 407 | 422));
        if self.rung.get(&call_id).is_some_and(|before| before.invite.cseq().0 >= cseq || !asks(before)) {
            return Ok(()); // A repetition: the last response is being repeated, or will come.
        }
        let proved =
            self.plan.challenge.is_none() || self.gates.entry(call_id.clone()).or_default().is_proved(&invite)?;
        let tag = format!("t{}", self.rung.len());
        let get = |name: &str| invite.get(name).unwrap_or_default().to_owned();
        let session = Session {
            own: self.address,
            call_id: call_id.clone(),
            local: format!("{};tag={tag}", get("To")),
            remote: get("From"),
            target: invite.contact().unwrap_or_default().to_owned(),
            routes: invite.all("Record-Route").iter().map(|route| (*route).to_owned()).collect(),
            cseq: 100,
            inviting: None,
            over: false,
            version: 1,
            direction: "sendrecv",
            habits: self.plan.habits.clone(),
        };
        let interval = invite.get("Session-Expires").and_then(|value| value.split(';').next()?.parse::<u64>().ok());
        let (challenge, brief) = (
            self.plan.challenge.filter(|_| !proved),
            self.plan.habits.min_se.filter(|least| interval.is_some_and(|interval| interval < *least)),
        );
        if self.plan.trying {
            doing.sends.push(invite.response(100, &tag, &[], None));
        }
        let asks = challenge.is_some() || brief.is_some();
        if let Some((_, delay)) = self.plan.provisional.filter(|_| !asks) {
            doing.timers.push((delay, Timer::Provisional(call_id.clone())));
        }
        if let Some((_, delay)) = self.plan.last.filter(|_| !asks) {
            doing.timers.push((delay, Timer::Final(call_id.clone())));
        }
        let rung = Rung {
            invite,
            tag,
            session,
            unacknowledged: false,
            final_due: false,
            answered: None,
            acked: false,
            cancelled: false,
            bye_came: false,
            bye_challenged: false,
            bye_sent: false,
        };
        self.rung.insert(call_id.clone(), rung);
        if let Some(code) = challenge.or(brief.map(|_| 422)) {
            self.answer(doing, &call_id, code);
        }
        Ok(())
    }

    fn answer(&mut self, doing: &mut Doing, call_id: &str, status: u16) {
        let Some(rung) = self.rung.get_mut(call_id) else { return };
        if rung.answered.is_some() {
            return;
        }
        if rung.unacknowledged && status < 300 && !rung.cancelled {
            rung.final_due = true; // RFC 3262 §3: not before the PRACK.
            return;
        }
        self.repeats.stop(&format!("{call_id}/1xx"));
        rung.answered = Some(status);
        let contact = format!("<sip:{}>", self.address);
        let body = (status < 300 && self.plan.sound).then(|| sdp(self.address, 1, "sendrecv"));
        let habits = &self.plan.habits;
        let expires = habits.interval.map(|seconds| {
            let side = if habits.refreshes { "uas" } else { "uac" };
            format!("{};refresher={side}", seconds.max(90))
        });
        let challenge = self.gates.get(call_id).map(|gate| gate.challenge(false)).unwrap_or_default();
        let least = habits.min_se.unwrap_or(90).to_string();
        let mut extra = vec![("Contact", contact.as_str()), ("Allow", allow(habits))];
        match (status, &expires) {
            (200, Some(expires)) => extra.extend([("Session-Expires", expires.as_str()), ("Require", "timer")]),
            (401, _) => extra.push(("WWW-Authenticate", &challenge)),
            (407, _) => extra.push(("Proxy-Authenticate", &challenge)),
            (422, _) => extra.push(("Min-SE", &least)),
            _ => {}
        }
        let response = rung.invite.response(status, &rung.tag, &extra, body.as_deref());
        self.repeats.start(doing, format!("{call_id}/final"), response, 4000);
    }

    fn acknowledged(&mut self, doing: &mut Doing, ack: &Text) {
        let call_id = ack.call_id().to_owned();
        let Some(rung) = self.rung.get_mut(&call_id) else { return };
        if ack.cseq().0 != rung.invite.cseq().0 {
            self.repeats.stop(&format!("{call_id}/{}/re200", ack.cseq().0));
            return;
        }
        self.repeats.stop(&format!("{call_id}/final"));
        if rung.acked {
            return;
        }
        rung.acked = true;
        if rung.answered.is_some_and(|status| status < 300) {
            doing.timers.push((self.plan.talk, Timer::Leave(call_id.clone())));
            let habits = &self.plan.habits;
            rung.session.begin(doing, habits.interval.map(|seconds| (seconds.max(90), habits.refreshes)));
            if let Some(after) = self.plan.hold {
                doing.timers.push((after, Timer::Hold(call_id.clone())));
            }
            if let Some(after) = self.plan.vanishes {
                doing.timers.push((after, Timer::Vanish));
            }
        }
    }

    fn cancelled(&mut self, doing: &mut Doing, cancel: &Text) {
        let call_id = cancel.call_id().to_owned();
        let known = self.rung.get(&call_id).is_some_and(|rung| rung.invite.branch() == cancel.branch());
        doing.sends.push(cancel.response(if known { 200 } else { 481 }, "c", &[], None));
        let Some(rung) = self.rung.get_mut(&call_id) else { return };
        rung.cancelled = true;
        let status = if self.plan.crosses { 200 } else { 487 };
        self.answer(doing, &call_id, status);
    }

    /// A wake-up came.
    pub fn wake(&mut self, timer: Timer) -> Doing {
        let mut doing = Doing::default();
        if self.vanished {
            return doing;
        }
        match timer {
            Timer::Again(key, count) => self.repeats.again(&mut doing, key, count),
            Timer::Provisional(call_id) => {
                let Some(rung) = self.rung.get_mut(&call_id) else { return doing };
                let Some((status, _)) = self.plan.provisional else { return doing };
                if rung.answered.is_some() || rung.cancelled {
                    return doing;
                }
                let contact = format!("<sip:{}>", self.address);
                let supported = rung.invite.all("Supported").iter().any(|value| value.contains("100rel"));
                if self.plan.reliable && supported {
                    rung.unacknowledged = true;
                    let extra = [("Contact", contact.as_str()), ("Require", "100rel"), ("RSeq", "7")];
                    let response = rung.invite.response(status, &rung.tag, &extra, None);
                    self.repeats.start(&mut doing, format!("{call_id}/1xx"), response, 64_000);
                } else {
                    doing.sends.push(rung.invite.response(status, &rung.tag, &[("Contact", &contact)], None));
                }
            }
            Timer::Final(call_id) => {
                if let Some((status, _)) = self.plan.last {
                    self.answer(&mut doing, &call_id, status);
                }
            }
            Timer::Leave(call_id) => {
                if let Some(rung) = self.rung.get_mut(&call_id)
                    && !rung.session.over
                {
                    rung.bye_sent = true;
                    rung.session.hang_up(&mut doing, &mut self.repeats);
                }
            }
            Timer::Hold(call_id) => {
                if let Some(rung) = self.rung.get_mut(&call_id) {
                    rung.session.reinvite(&mut doing, &mut self.repeats, "sendonly");
                }
            }
            Timer::Resume(call_id) => {
                if let Some(rung) = self.rung.get_mut(&call_id)
                    && rung.session.version < 6
                {
                    rung.session.reinvite(&mut doing, &mut self.repeats, "sendrecv");
                }
            }
            Timer::Refresh(call_id) => {
                if let Some(rung) = self.rung.get_mut(&call_id) {
                    rung.session.refresh(&mut doing, &mut self.repeats);
                }
            }
            Timer::Digit(call_id) => {
                if let Some(rung) = self.rung.get_mut(&call_id) {
                    rung.session.digit(&mut doing, &mut self.repeats);
                }
            }
            Timer::Vanish => self.vanished = true,
        }
        doing
    }
}
