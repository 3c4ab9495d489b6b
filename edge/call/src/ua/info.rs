//! Digits by SIP INFO (RFC 6086, its legacy usage; RCML.md part 2, Gather): told to control, or carried to the other
//! party of a bridge.
//!
//! INFO has no order of its own (RFC 6086 §4.4) and the party must refuse one that another overtook (RFC 3261 §12.2.2),
//! so digits that are passed on leave one at a time: the next one when the one before it has its final response. A party
//! that takes none of them gets them as RFC 4733 says; and one that has not agreed to the telephone events of the other
//! gets what was pressed there by INFO. Some phones tell each press in both forms: it is one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfork_sip::header::HeaderName;
use ringfork_sip::message::Method;

use super::Call;
use super::exchange::Outcome;
use super::session::{Phase, Session};
use crate::action::{Action, LogLevel, MediaAction, Ports};
use crate::agent::core::{Core, Owner, Party, Request};
use crate::agent::hop::Deferred;
use crate::control::signals::CallInput;

/// What a body of ours or theirs may be.
const ACCEPT: &str = "application/dtmf-relay, application/dtmf";
/// What a digit of our own is written as.
const RELAY: &str = "application/dtmf-relay";
/// How long it was pressed, milliseconds: as long as our telephone events are.
const PRESS: u32 = 100;
/// Digits that may wait for a party, the one under way included; one more is lost, with a line in the log. As many as
/// wait as RFC 4733 events.
const WAITING: usize = ringfork_media::dtmf::WAITING;

/// How long the second telling of a press may come after the first: an INFO that was lost three times.
const TWICE: Duration = Duration::from_secs(4);
/// Presses that may wait for their second telling; of one more the oldest is forgotten.
const TOLD: usize = 32;

/// How a party tells that it pressed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// RFC 4733.
    Events,
    Info,
}

/// What a party has pressed lately, so that a press that it tells in both forms counts once. None is known to use now one
/// form and now the other, but what it tells in one form only is taken in either.
#[derive(Debug, Default)]
pub struct Pressed {
    /// Told in one form so far, and when.
    told: VecDeque<(char, Form, Instant)>,
    /// It has pressed a key by telephone events.
    events: bool,
}

impl Pressed {
    /// Takes a press; false: it is one that was told in the other form before.
    fn take(&mut self, key: char, form: Form, now: Instant) -> bool {
        self.events |= form == Form::Events;
        self.told.retain(|(.., at)| now.saturating_duration_since(*at) < TWICE);
        if let Some(place) = self.told.iter().position(|(told, by, _)| *told == key && *by != form) {
            self.told.remove(place);
            return false;
        }
        if self.told.len() >= TOLD {
            self.told.pop_front();
        }
        self.told.push_back((key, form, now));
        true
    }
}

/// One digit as it came.
#[derive(Debug)]
struct Digit {
    /// `None`: the body names none that we know, such as a hook flash.
    key: Option<char>,
    content_type: String,
    body: Bytes,
}

/// Digits on their way to one party, in order.
#[derive(Debug, Default)]
pub struct Digits {
    waiting: VecDeque<Digit>,
    /// The INFO of the first one, by the serial of its owner.
    under_way: Option<u64>,
}

impl Digits {
    /// Whether this is the INFO under way.
    pub fn is_under_way(&self, serial: u64) -> bool {
        self.under_way == Some(serial)
    }

    /// Those that have not left are not sent any more.
    pub fn drop_waiting(&mut self) {
        self.waiting.truncate(usize::from(self.under_way.is_some()));
    }
}

impl Call {
    /// INFO of a party: answered by us, whatever becomes of the digit (RFC 6086 §4.2.2).
    pub(super) fn on_info<P: Ports>(&mut self, core: &mut Core<P>, party: Party, request: &Request) {
        let message = &request.message;
        if message.has(HeaderName::InfoPackage) {
            // None was agreed on (RFC 6086 §4.2.2).
            let response = core.response(request, 469, None).header(HeaderName::RecvInfo, "").build();
            return core.respond(request, response);
        }
        let kind = message.content_type();
        let is_digit =
            kind.as_ref().is_some_and(|kind| kind.is("application", "dtmf-relay") || kind.is("application", "dtmf"));
        if !is_digit && !message.body().is_empty() {
            let response = core.response(request, 415, None).header(HeaderName::Accept, ACCEPT).build();
            return core.respond(request, response);
        }
        core.refuse(request, 200);
        if is_digit && let Some(content_type) = message.text(HeaderName::ContentType) {
            let (content_type, body) = (content_type.into_owned(), message.body_bytes());
            let digit = Digit { key: key_of(message.body()), content_type, body };
            if digit.key.is_none_or(|key| self.is_new(party, key, Form::Info, core.now.instant)) {
                self.take_digit(core, party, digit);
            }
        }
    }

    /// A party pressed a key, by telephone events (RFC 4733). In a bridge those are relayed, where the other party has
    /// agreed to them; where it has not it gets the key in another form.
    pub fn on_press<P: Ports>(&mut self, core: &mut Core<P>, from: Party, key: char) {
        if self.is_new(from, key, Form::Events, core.now.instant) && !self.are_events_relayed(from) {
            let body = format!("Signal={key}\r\nDuration={PRESS}\r\n").into();
            self.take_digit(core, from, Digit { key: Some(key), content_type: RELAY.to_owned(), body });
        }
    }

    /// Whether this is a press of its own. What a phone of both forms presses in a bridge that relays its events must not go
    /// by INFO as well, whichever comes first; of its first key nobody knows that yet.
    fn is_new(&mut self, from: Party, key: char, form: Form, now: Instant) -> bool {
        let relayed = form == Form::Info && self.are_events_relayed(from);
        let Some(session) = self.session_mut(from) else { return false };
        let twice = relayed && session.pressed.events;
        session.pressed.take(key, form, now) && !twice
    }

    /// Whether the telephone events of a party go to the other one of its bridge: both have agreed to the same
    /// (RFC 3264 §6.1).
    fn are_events_relayed(&self, from: Party) -> bool {
        let Some(here) = self.session(from) else { return false };
        let Some(there) = self.other(from).and_then(|other| self.session(other)) else { return false };
        let mut events = here.sdp.codecs().filter(|ours| ours.codec.is_telephone_event());
        events.any(|ours| there.sdp.codecs().any(|theirs| theirs.codec.same_format(&ours.codec)))
    }

    fn take_digit<P: Ports>(&mut self, core: &mut Core<P>, from: Party, digit: Digit) {
        let Some(other) = self.other(from) else {
            return digit.key.into_iter().for_each(|key| self.tell(CallInput::Digit { party: from, key }));
        };
        let Some(session) = self.session_mut(other).filter(|session| session.phase == Phase::Live) else { return };
        if !session.info {
            return session.send_key(core, &digit);
        }
        if session.digits.waiting.len() >= WAITING {
            return self.log(core, LogLevel::Warn, "A digit is lost: too many wait for an answer to their INFO");
        }
        session.digits.waiting.push_back(digit);
        session.send_digit(core);
    }

    /// The INFO under way to a party has ended.
    pub(super) fn on_info_outcome<P: Ports>(&mut self, core: &mut Core<P>, party: Party, outcome: Outcome<'_>) {
        let Some(session) = self.session_mut(party) else { return };
        session.digits.under_way = None;
        if session.phase != Phase::Live {
            return session.digits.drop_waiting();
        }
        let code = outcome.code();
        if let Outcome::Response(_, response) = outcome
            && matches!(code, 401 | 407)
            && session.prove(core, "INFO", response)
        {
            return session.write_digit(core);
        }
        match outcome {
            Outcome::Response(..) if (200..300).contains(&code) => {
                session.proved = false;
                session.digits.waiting.pop_front();
            }
            // It takes no INFO, or no digits by it, or none in this form: this one, those that wait, and what comes until
            // it says otherwise.
            Outcome::Response(..) if session.sdp.telephone_event().is_some() => {
                session.info = false;
                for digit in std::mem::take(&mut session.digits.waiting) {
                    session.send_key(core, &digit);
                }
            }
            Outcome::Response(..) => {
                session.digits.waiting.pop_front();
                self.log(core, LogLevel::Warn, format!("A digit is lost: its INFO was answered with {code}"));
            }
            // Nothing was heard of it for half a minute, or it cannot be reached: what waits would be late. Whether the
            // dialog is still there others find out: some phones answer no INFO at all.
            Outcome::Timeout | Outcome::Unsent => {
                session.digits.waiting.clear();
                self.log(core, LogLevel::Warn, "Digits are lost: their INFO was not answered");
            }
        }
        if let Some(session) = self.session_mut(party) {
            session.send_digit(core);
        }
    }
}

impl Session {
    /// The next digit leaves, unless one is under way.
    fn send_digit<P: Ports>(&mut self, core: &mut Core<P>) {
        if self.digits.under_way.is_none() && !self.digits.waiting.is_empty() {
            self.authorize(core, &Method::Info);
            self.write_digit(core);
        }
    }

    /// The INFO of the first digit that waits.
    fn write_digit<P: Ports>(&mut self, core: &mut Core<P>) {
        if self.adrift.is_some() {
            self.come_back(core);
        }
        let Some(digit) = self.digits.waiting.front() else { return };
        let cseq = self.dialog.next_cseq();
        let mut builder = self.dialog.request(Method::Info, cseq).header(HeaderName::UserAgent, &core.config.server);
        if let Some((name, value)) = &self.authorization {
            builder.push(*name, value);
        }
        let request = builder.body(&digit.content_type, digit.body.clone()).build();
        let serial = core.serial();
        self.digits.under_way = Some(serial);
        let owner = Owner::Dialog { call: self.key, party: self.party, serial };
        let deferred = Deferred { flow: self.flow, request, owner: Some(owner), ack: false };
        core.send_routed(self.route, self.dialog.next_hop(), deferred);
    }

    /// A digit as RFC 4733 says; the media shell leaves it where the party has not agreed to telephone events.
    fn send_key<P: Ports>(&self, core: &mut Core<P>, digit: &Digit) {
        if let (Some(key), Some(media)) = (digit.key, &self.media) {
            core.actions.push_back(Action::Media(MediaAction::Key { media: media.id, key }));
        }
    }
}

/// The key that an INFO names: `Signal=5` among the lines of `application/dtmf-relay`, or the bare key of
/// `application/dtmf`. `*` and `#` are also written as the numbers of their RFC 4733 events, 10 and 11.
fn key_of(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    });
    let named = signal.unwrap_or_else(|| text.trim());
    match named {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut keys = named.chars().map(|key| key.to_ascii_uppercase());
            let key = keys.next().filter(|key| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'))?;
            keys.next().is_none().then_some(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RCML.md part 2, Gather: digits by SIP INFO, as phones write them.
    #[test]
    fn keys_of_info() {
        for (body, key) in [
            ("Signal=5\r\nDuration=160\r\n", Some('5')),
            ("Signal= 1 \nDuration= 250", Some('1')),
            ("Duration=100\r\nsignal=#", Some('#')),
            ("Signal=10\r\n", Some('*')),
            ("Signal=11", Some('#')),
            ("Signal=d", Some('D')),
            ("7", Some('7')),
            (" * \r\n", Some('*')),
            ("Signal=12", None),
            ("Signal=16", None),
            ("Signal=", None),
            ("Duration=5", None),
            ("", None),
            ("hello", None),
        ] {
            assert_eq!(key_of(body.as_bytes()), key, "{body:?}");
        }
        assert_eq!(key_of(&[0xff, b'5']), None);
    }
}
