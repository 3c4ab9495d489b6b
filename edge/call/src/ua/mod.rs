//! The user agent's side of one call: the caller's dialog, the legs' dialogs, and what is carried between them. It turns
//! messages into [`CallInput`]s and carries out [`CallOutput`](crate::control::signals::CallOutput)s.

pub mod adrift;
mod bridge;
mod caller;
pub mod exchange;
mod info;
pub mod invite;
mod leg;
mod media;
pub mod session;
pub mod session_timer;
mod within;

use std::collections::VecDeque;

pub use caller::{Caller, Early, Ringing};
pub use leg::{Leg, LegState};

use crate::action::{LogLevel, MediaId, Ports};
use crate::agent::core::{Core, Party};
use crate::agent::slab::Key;
use crate::agent::timers::TimerId;
use crate::control;
use crate::control::CallSid;
use crate::control::signals::{CallInput, LegId};
use session::{Phase, Session};

/// Methods that work, within a dialog and without (RFC 3261 §20.5).
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, REGISTER";
/// Extensions of a call (RFC 3261 §20.37).
pub const SUPPORTED: &str = "100rel, timer";

/// One call: control and the dialogs that it commands.
pub struct Call {
    pub key: Key,
    pub sid: CallSid,
    pub control: control::Call,
    /// What control has not been told yet.
    pub inbox: VecDeque<CallInput>,
    pub wake: Option<TimerId>,
    pub caller: Caller,
    pub legs: Vec<Leg>,
    /// The leg that the caller is joined with.
    pub bridge: Option<LegId>,
    /// Control is done.
    pub finished: bool,
}

impl Call {
    /// A call as it arrives.
    pub fn new(key: Key, sid: CallSid, control: control::Call, caller: Caller) -> Call {
        Call {
            key,
            sid,
            control,
            inbox: VecDeque::new(),
            wake: None,
            caller,
            legs: Vec::new(),
            bridge: None,
            finished: false,
        }
    }

    /// A party's session, where it has one.
    pub fn session(&self, party: Party) -> Option<&Session> {
        match party {
            Party::Caller => Some(&self.caller.session),
            Party::Leg(leg) => self.legs.get(usize::from(leg.0))?.session(),
        }
    }

    /// A party's session, where it has one.
    pub fn session_mut(&mut self, party: Party) -> Option<&mut Session> {
        match party {
            Party::Caller => Some(&mut self.caller.session),
            Party::Leg(leg) => self.legs.get_mut(usize::from(leg.0))?.session_mut(),
        }
    }

    /// The media session of a party, while it has one.
    pub fn media_of(&self, party: Party) -> Option<MediaId> {
        self.session(party)?.media.as_ref().map(|media| media.id)
    }

    /// A leg.
    pub fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(usize::from(leg.0))
    }

    /// The party that this one is joined with.
    pub fn other(&self, party: Party) -> Option<Party> {
        let leg = self.bridge?;
        match party {
            Party::Caller => Some(Party::Leg(leg)),
            Party::Leg(id) if id == leg => Some(Party::Caller),
            Party::Leg(_) => None,
        }
    }

    /// Tells control something at the next turn.
    pub fn tell(&mut self, input: CallInput) {
        self.inbox.push_back(input);
    }

    /// A party is lost: it is taken out of the bridge, and control hears of it.
    pub fn lost<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if self.other(party).is_some() {
            self.unbridge(core);
        }
        if let Party::Leg(leg) = party {
            self.take_answer_back(leg);
        }
        self.tell(match party {
            Party::Caller => CallInput::CallerHungUp,
            Party::Leg(leg) => CallInput::LegHungUp { leg },
        });
    }

    /// A party of a bridge has been silent for too long, or a caller that we attend. A leg that screens is left to its
    /// noun's `timeout`.
    pub fn on_silence<P: Ports>(&mut self, core: &mut Core<P>, party: Party) {
        if self.other(party).is_none() && party != Party::Caller {
            return;
        }
        let Some(session) = self.session_mut(party) else { return };
        if session.phase != Phase::Live || session.sdp.on_hold() {
            return;
        }
        session.hang_up(core);
        self.log(core, LogLevel::Warn, "Neither RTP nor RTCP for too long: ended");
        self.lost(core, party);
    }

    /// A line in the log about this call.
    pub fn log<P: Ports>(&self, core: &mut Core<P>, level: LogLevel, message: impl Into<String>) {
        core.log(level, Some(self.sid), message);
    }

    /// Whether nothing of it is left: control is done and no dialog owes anything.
    pub fn is_over(&self) -> bool {
        self.finished && self.is_released()
    }

    /// Whether all that is left of it is what control has to write and to hand over.
    pub fn only_owes(&self) -> bool {
        !self.finished && self.control.is_over() && self.is_released()
    }

    /// No dialog owes anything.
    fn is_released(&self) -> bool {
        self.caller.session.phase == Phase::Gone
            && self.legs.iter().all(|leg| match &leg.state {
                LegState::Over => true,
                LegState::Answered(session) => session.phase == Phase::Gone,
                LegState::Locating(_) | LegState::Inviting(_) => false,
            })
    }

    /// Legs whose INVITE is under way or answered.
    pub fn live_legs(&self) -> usize {
        self.legs
            .iter()
            .filter(|leg| match &leg.state {
                LegState::Over => false,
                LegState::Answered(session) => session.phase == Phase::Live,
                LegState::Locating(_) | LegState::Inviting(_) => true,
            })
            .count()
    }
}
