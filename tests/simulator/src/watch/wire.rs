//! The packets, read by [`Text`] and not by the code under test: RFC 3261 and RCML.md 1.2 on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use ringfork_call::control::CallStatus;

use super::{Fault, Leg, Said, Watch, WireLeg};
use crate::text::Text;

/// Whether a request has credentials.
fn is_proved(request: &Text) -> bool {
    ["Authorization", "Proxy-Authorization"].into_iter().any(|name| request.get(name).is_some())
}

impl Watch {
    /// The core is about to be given this datagram.
    pub fn heard(&mut self, from: SocketAddr, bytes: &[u8], at: Duration, unix_ms: u64) {
        let Some(text) = Text::read(bytes) else { return };
        if let Some(registry) = &mut self.registry {
            registry.heard(from, &text, at, unix_ms);
        }
        let method = text.method().unwrap_or_default();
        let in_dialog = text.get("To").and_then(Text::tag).is_some();
        if text.status() == Some(491) {
            self.reached.insert("a party refuses with 491");
        }
        match method {
            "UPDATE" => drop(self.reached.insert("a party sends UPDATE")),
            "INFO" => {
                self.counts.entry(from.ip()).or_default().keys += 1;
                self.reached.insert("a party sends a digit");
            }
            "INVITE" if in_dialog => drop(self.reached.insert("a party re-INVITEs")),
            _ => {}
        }
        let unwelcome = self.draining || self.no_lease;
        let leaver = self.calls.iter().position(|call| call.address == Some(from));
        if let Some(index) = leaver.filter(|_| matches!(method, "CANCEL" | "BYE"))
            && self.screening(index, self.calls[index].dials, None) > 0
        {
            self.reached.insert("the caller leaves while a leg screens");
        }
        if let Some(call) = self.calls.iter_mut().find(|call| call.address == Some(from)) {
            match method {
                "INVITE" if !in_dialog => {
                    call.unwelcome |= !call.invited && unwelcome;
                    call.invited = true;
                }
                "CANCEL" => {
                    self.reached.insert("the caller cancels");
                    if call.accepted.contains(&call.dials) && call.last.is_none() {
                        self.reached.insert("the caller cancels while an acceptance or PRACK is awaited");
                    }
                    if call.invited && !call.cancelled {
                        call.cancelled_first = call.last.is_none();
                        if call.cancelled_first {
                            call.gone.get_or_insert(at);
                        }
                    }
                    call.cancelled = call.invited;
                }
                "BYE" => {
                    call.bye = true;
                    call.gone.get_or_insert(at);
                }
                _ => {}
            }
            return;
        }
        let (_, cseq_method) = text.cseq();
        if let Some(wire) = self.wire.get(text.call_id()).filter(|wire| method == "BYE" && !wire.bye) {
            let all = self.screening(wire.call, wire.dial, None);
            if all > self.screening(wire.call, wire.dial, Some(text.call_id())) {
                self.reached.insert("a callee leaves its screening");
            }
        }
        let Some(wire) = self.wire.get_mut(text.call_id()) else { return };
        wire.bye |= method == "BYE";
        wire.reinvited |= method == "INVITE";
        let Some(call) = self.calls.get(wire.call) else { return };
        let Some(status) = text.status() else { return };
        if cseq_method != "INVITE" || text.branch() != wire.branch {
            return;
        }
        let leg = wire.leg.and_then(|leg| self.legs.get_mut(&leg));
        let leg = leg.filter(|leg| leg.wire.as_deref() == Some(text.call_id()));
        let first = wire.final_heard.is_none();
        // Timer B passed in silence: whatever comes now belongs to no transaction (RFC 3261 17.1.1.2).
        if first && !wire.provisional_heard && at > wire.sent_at + Duration::from_secs(32) {
            return;
        }
        match status {
            100..=199 => {
                wire.provisional_heard = true;
                if let Some(leg) = leg.filter(|leg| leg.ended.is_none() && matches!(status, 180 | 183)) {
                    leg.rang = true;
                }
            }
            200..=299 => {
                wire.successes_heard += 1;
                if wire.cancelled {
                    self.reached.insert("a 200 crosses a CANCEL");
                }
                if wire.successes_heard == 2 {
                    self.reached.insert("a 200 is repeated");
                }
                if call.accepted.contains(&wire.dial) && wire.successes_heard == 1 {
                    self.reached.insert("a 200 after another leg was accepted");
                }
                wire.final_heard = Some(status);
                if wire.successes_heard == 1 {
                    wire.answered_at = at;
                }
                if let Some(leg) = leg.filter(|_| first) {
                    leg.said.push((unix_ms, Said::Success(text.body.contains("m=audio"))));
                }
            }
            _ => {
                wire.final_heard = wire.final_heard.or(Some(status));
                // We have credentials for the trunk: its first challenge is no end of a leg (RCML.md 1.2).
                let trunk = wire.to.is_some_and(|to| self.setup.trunk.contains(&to));
                let nonce = |name| text.get(name).is_some_and(|challenge| challenge.contains("nonce="));
                let asks = ["WWW-Authenticate", "Proxy-Authenticate"].into_iter().any(nonce);
                let challenged = trunk && matches!(status, 401 | 407) && asks && !wire.proved;
                if let Some(leg) = leg.filter(|_| first && !challenged) {
                    leg.said.push((unix_ms, Said::Refusal(status)));
                }
            }
        }
    }

    pub(super) fn transmitted(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        at: Duration,
        unix_ms: u64,
    ) -> Result<(), Fault> {
        let text = Text::read(bytes).ok_or_else(|| format!("sent what cannot be read: {bytes:?}"))?;
        let in_dialog = text.get("To").and_then(Text::tag).is_some();
        match (text.status(), text.method()) {
            (Some(491), _) => drop(self.reached.insert("we refuse with 491")),
            (Some(422), _) => drop(self.reached.insert("we refuse with 422")),
            (None, Some("INVITE")) if in_dialog => drop(self.reached.insert("we re-INVITE")),
            (None, Some("UPDATE")) if text.body.is_empty() => drop(self.reached.insert("we refresh by UPDATE")),
            (None, Some("UPDATE")) => drop(self.reached.insert("we carry an offer by UPDATE")),
            (None, Some("INFO")) => drop(self.reached.insert("a digit is passed on")),
            (None, Some("PRACK")) => drop(self.reached.insert("a reliable 18x is acknowledged")),
            _ => {}
        }
        if let Some(call) = self.calls.iter().position(|call| call.address == Some(to)) {
            return self.said_to_caller(call, &text, at);
        }
        if !self.setup.phones.contains(&to) {
            return Err(format!("sent to {to}, where nobody is registered: {}", text.start));
        }
        if let Some(registry) = self.registry.as_mut().filter(|_| !self.setup.trunk.contains(&to)) {
            registry.sent(to, &text, at, unix_ms)?;
        }
        let call_id = text.call_id().to_owned();
        if text.method() == Some("INVITE") && !in_dialog {
            return self.invited(to, &text, at, unix_ms);
        }
        let Some(wire) = self.wire.get_mut(&call_id) else {
            return match text.method() {
                Some("OPTIONS") | None => Ok(()),
                _ => Err(format!("{} of unknown {call_id}", text.start)),
            };
        };
        let call = &self.calls[wire.call];
        match text.method() {
            Some("CANCEL") if !wire.cancelled => {
                wire.cancelled = true;
                let elsewhere = text.get("Reason").is_some();
                let (index, dial) = (wire.call, wire.dial);
                if !elsewhere && self.calls[index].gone.is_none() && self.screening(index, dial, None) > 0 {
                    self.reached.insert("the Dial's timeout passes while a leg screens");
                }
                let Some(wire) = self.wire.get(&call_id) else { return Ok(()) };
                let call = &self.calls[index];
                if !wire.provisional_heard {
                    return Err(format!("CANCEL {call_id} before a provisional response (RFC 3261 9.1)"));
                }
                if wire.final_heard.is_some() {
                    return Err(format!("CANCEL {call_id} after its final response (RFC 3261 9.1)"));
                }
                let elsewhere = text.get("Reason").is_some_and(|reason| {
                    reason.contains("SIP")
                        && reason.contains("cause=200")
                        && reason.contains("Call completed elsewhere")
                });
                let won = call.accepted.contains(&wire.dial);
                self.reached.insert(if elsewhere { "cancelled elsewhere" } else { "cancelled, nobody won" });
                if elsewhere && !won && !self.setup.slow_store {
                    return Err(format!("CANCEL {call_id} says elsewhere, but nobody was accepted (RCML 1.2)"));
                }
                // A leg that screens may win after others were cancelled by the timeout; without screening it cannot.
                // A trunk's former target is cancelled for its silence.
                let explained = !self.setup.screens.is_empty() || self.setup.trunk.contains(&to);
                if !elsewhere && won && !explained && !self.setup.slow_store {
                    return Err(format!("CANCEL {call_id} has no Reason, but another was accepted (RCML 1.2)"));
                }
            }
            Some("ACK") => {
                // A former INVITE's refusal may be repeated, and its ACK with it, after the next one was sent.
                if text.cseq().0 < wire.cseq {
                    return Ok(());
                }
                wire.acks += 1;
                if wire.final_heard.is_none() {
                    return Err(format!("ACK {call_id} before a final response"));
                }
            }
            Some("BYE") => {
                if wire.successes_heard == 0 || wire.acks == 0 {
                    return Err(format!("BYE {call_id} before its 200 was acknowledged"));
                }
                let first = !std::mem::replace(&mut wire.bye, true);
                if let Some(seconds) = self.setup.screens.get(&wire.noun)
                    && first
                    && at >= wire.answered_at + Duration::from_secs(u64::from(*seconds))
                    && !call.accepted.contains(&wire.dial)
                    && call.gone.is_none()
                {
                    self.reached.insert("a screening's time is up");
                }
                if let Some(seconds) = self.setup.screens.get(&wire.noun)
                    && first
                    && !wire.cancelled
                    && !call.accepted.contains(&wire.dial)
                    && call.gone.is_none()
                    && at < wire.answered_at + Duration::from_secs(u64::from(*seconds))
                    && let Some(leg) = wire.leg.and_then(|leg| self.legs.get(&leg))
                    && !leg.may_decline
                    && leg.ended.is_none_or(|ended| ended == CallStatus::Completed)
                    && leg.said.last().is_some_and(|(_, said)| *said == Said::Success(true))
                {
                    return Err(format!("BYE {call_id} in the middle of its screening (RCML 1.2, 1.3)"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An INVITE of ours outside dialogs.
    fn invited(&mut self, to: SocketAddr, text: &Text, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        let call_id = text.call_id().to_owned();
        if let Some(wire) = self.wire.get_mut(&call_id) {
            if wire.branch == text.branch() {
                if wire.provisional_heard || wire.final_heard.is_some() {
                    return Err(format!("INVITE {call_id} repeated after a response (RFC 3261 17.1.1.2)"));
                }
                return Ok(());
            }
            match wire.final_heard {
                Some(401 | 407) => self.reached.insert("a challenge of a leg is answered"),
                Some(422) => self.reached.insert("a 422 of a leg is answered"),
                other => return Err(format!("INVITE {call_id} again after {other:?} (RCML 1.2)")),
            };
            wire.proved = is_proved(text);
            (wire.branch, wire.cseq) = (text.branch().to_owned(), text.cseq().0);
            (wire.provisional_heard, wire.final_heard, wire.sent_at) = (false, None, at);
            if let Some(leg) = wire.leg.and_then(|leg| self.legs.get_mut(&leg)) {
                leg.said.push((unix_ms, Said::Again));
            }
            return Ok(());
        }
        let noun = text.get("X-Noun").unwrap_or_default().to_owned();
        let mut parts = noun.split('.').filter_map(|part| part.parse::<usize>().ok());
        let (Some(index), Some(_), Some(number)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("INVITE {call_id} lost the headers of its noun (RCML 1.1): {noun:?}"));
        };
        let Some(call) = self.calls.get(index) else { return Err(format!("INVITE {call_id} of no call")) };
        if call.gone.is_some() {
            return Err(format!("INVITE {call_id} for a caller who had left"));
        }
        if !self.setup.slow_store && call.named < call.dials.max(1) {
            return Err(format!("INVITE {call_id} before its leg was written (DESIGN \"The split\")"));
        }
        let dial = call.dials;
        let mut unsure = false;
        if let Some(registry) = self.registry.as_mut().filter(|_| !self.setup.trunk.contains(&to)) {
            let uri = text.start.split(' ').nth(1).unwrap_or_default();
            registry.rings((index, dial, number), uri, to, at, unix_ms / 1000)?;
            unsure = registry.is_unsure((index, dial, number), at, unix_ms / 1000);
            if unsure {
                let of_noun = |leg: &&mut Leg| {
                    (leg.call, leg.dial) == (index, dial)
                        && leg.plan.as_ref().is_some_and(|plan| usize::from(plan.noun) == number)
                };
                self.legs.values_mut().filter(of_noun).for_each(|leg| leg.unsure = true);
            }
        }
        let trunk = self.setup.trunk.contains(&to);
        // Legs of one noun are rung in the order in which they were named; a trunk's further target is the same leg.
        let mut leg = None;
        if !self.setup.slow_store && !unsure {
            let mut own: Vec<_> = self
                .legs
                .iter_mut()
                .filter(|(_, leg)| (leg.call, leg.dial) == (index, dial))
                .filter(|(_, leg)| leg.plan.as_ref().is_some_and(|plan| usize::from(plan.noun) == number))
                .filter(|(_, leg)| trunk || leg.wire.is_none())
                .collect();
            own.sort_by_key(|(_, leg)| leg.place);
            let Some((sid, own)) = own.into_iter().next() else {
                return Err(format!("INVITE {call_id} of a leg that was not named (RCML 1.2)"));
            };
            if own.wire.replace(call_id.clone()).is_some() {
                self.reached.insert("a trunk's next target is tried");
                own.said.push((unix_ms, Said::Again));
            }
            leg = Some(*sid);
        }
        let branch = text.branch().to_owned();
        let (cseq, proved) = (text.cseq().0, is_proved(text));
        self.wire.insert(
            call_id,
            WireLeg {
                proved,
                call: index,
                to: Some(to),
                sent_at: at,
                branch,
                cseq,
                dial,
                noun,
                leg,
                ..WireLeg::default()
            },
        );
        Ok(())
    }

    fn said_to_caller(&mut self, index: usize, text: &Text, at: Duration) -> Result<(), Fault> {
        let call = &mut self.calls[index];
        if let Some(status) = text.status() {
            let (cseq, method) = text.cseq();
            call.proceeding |= (cseq, method) == (1, "INVITE") && matches!(status, 101..=199);
            if (cseq, method) == (1, "INVITE") && status >= 200 {
                if call.last.is_some_and(|first| first != status) {
                    return Err(format!("the caller got {status} after {:?}", call.last));
                }
                if status != 487 && call.cancelled_first {
                    return Err(format!("the caller cancelled first and got {status} (RCML 1.5)"));
                }
                let first = call.last.replace(status).is_none();
                if call.unwelcome {
                    if !matches!(status, 422 | 503) {
                        return Err(format!("the caller got {status} while new calls are refused (RCML part 2)"));
                    }
                    self.reached.insert("a call is refused with 503");
                }
                if first && call.action.is_some() && matches!(status, 480 | 486 | 603) {
                    return Err(format!("the caller got {status} before the Dial's action was there (RCML 1.5)"));
                }
                let stored = call.acceptance_stored.contains(&call.dials);
                let speaks = self.setup.speaks.contains(&index);
                if first && status < 300 && !stored && !speaks && !self.setup.slow_store {
                    return Err("the caller was answered before the acceptance was written (DESIGN)".into());
                }
                if status >= 300 {
                    call.gone.get_or_insert(at);
                }
            }
        } else if text.method() == Some("BYE") {
            call.bye = true;
            call.gone.get_or_insert(at);
        }
        Ok(())
    }
}
