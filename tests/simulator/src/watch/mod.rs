//! What must hold in every run, checked after each step: the promises of RCML.md 1.2-1.5 and of RFC 3261, as far as
//! they can be seen from outside the core. Here is what is known of a run; [`wire`] reads the packets, [`record`] the
//! writes, events and documents, [`screening`] what a leg's private document may end in, [`ports`] the media sessions,
//! [`registry`] follows who is registered where, and [`end`] looks at what is left at the end.

mod end;
mod ports;
mod record;
pub mod registry;
mod screening;
mod wire;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringfork_call::action::{Action, BindingWrite, Input, MediaId, PlayId, RecordingSid, Token};
use ringfork_call::control::{CallSid, CallStatus, EventKind, LegPlan};
use ringfork_rcml::evaluation::{Outcome, Purpose, Response};
use ringfork_rcml::program::Step;

use self::registry::{Registry, Rules};
use self::screening::{Counts, Screened};

/// A fault found: what was promised and what was seen.
pub type Fault = String;

/// One INVITE of ours as it stands on the wire, by its Call-ID.
#[derive(Debug, Default)]
struct WireLeg {
    call: usize,
    to: Option<SocketAddr>,
    branch: String,
    cseq: u32,
    dial: usize,
    noun: String,
    /// Whose INVITE it is; unknown where the store is slow.
    leg: Option<CallSid>,
    /// The INVITE has credentials.
    proved: bool,
    provisional_heard: bool,
    final_heard: Option<u16>,
    cancelled: bool,
    successes_heard: u32,
    sent_at: Duration,
    answered_at: Duration,
    acks: u32,
    bye: bool,
    /// It sent an INVITE of its own.
    reinvited: bool,
}

/// What the wire said of a leg, for the status that its end must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Another INVITE of the same leg: what was said before counts no more.
    Again,
    /// A 2xx, with SDP or without.
    Success(bool),
    /// Any other final response.
    Refusal(u16),
}

/// One leg as its writes and events show it.
#[derive(Debug, Default)]
struct Leg {
    call: usize,
    dial: usize,
    /// Its place in its Dial.
    place: usize,
    plan: Option<LegPlan>,
    events: Vec<(EventKind, String)>,
    ended: Option<CallStatus>,
    /// Call-ID of its newest INVITE.
    wire: Option<String>,
    said: Vec<(u64, Said)>,
    rang: bool,
    /// Its screening document was refused, failed or hangs up.
    may_decline: bool,
    /// Its private documents.
    screened: Screened,
    /// An action was asked with what it keyed in.
    keyed: bool,
    /// Of its noun not every binding is still there: which one it rings, if any, cannot be seen.
    unsure: bool,
    /// How often its end was to be written.
    tries: u32,
}

/// One caller and its call.
#[derive(Debug, Default)]
struct CallSeen {
    address: Option<SocketAddr>,
    parent: Option<CallSid>,
    dials: usize,
    /// Dials whose legs the store has.
    named: usize,
    accepted: HashSet<usize>,
    /// Dials whose acceptance the store has.
    acceptance_stored: HashSet<usize>,
    accepted_legs: HashSet<CallSid>,
    last: Option<u16>,
    invited: bool,
    /// It got 180: its call is there.
    proceeding: bool,
    /// Its INVITE came while new calls are refused.
    unwelcome: bool,
    cancelled: bool,
    cancelled_first: bool,
    bye: bool,
    /// When it was over, as the core could know it.
    gone: Option<Duration>,
    /// The Dial action that the call waits for.
    action: Option<Token>,
    /// The last Dial whose result its action got.
    reported: Option<usize>,
    /// When it got its documents.
    documents: Vec<Duration>,
}

/// What is known before a run.
#[derive(Debug, Default)]
pub struct Setup {
    /// Callers, by their index.
    pub callers: Vec<SocketAddr>,
    /// Whoever may be sent something: registered phones and the trunk's targets.
    pub phones: HashSet<SocketAddr>,
    /// Targets of the trunk, among them.
    pub trunk: HashSet<SocketAddr>,
    /// Screening timeouts in seconds, by the mark that a noun puts on its INVITE.
    pub screens: HashMap<String, u32>,
    /// Calls that are answered by us, for verbs with media.
    pub speaks: HashSet<usize>,
    /// The store may be slower than the two seconds that a call waits for it: what is written can come after what it
    /// names (DESIGN "The split").
    pub slow_store: bool,
    /// Phones register over the wire, by these rules; how many clients there are.
    pub registering: Option<(Rules, usize)>,
}

/// Everything seen so far of one run.
#[derive(Debug, Default)]
pub struct Watch {
    setup: Setup,
    calls: Vec<CallSeen>,
    wire: HashMap<String, WireLeg>,
    legs: HashMap<CallSid, Leg>,
    partner: HashMap<MediaId, MediaId>,
    open: HashSet<MediaId>,
    /// Attended media sessions, with what plays to each.
    attended: HashMap<MediaId, Option<PlayId>>,
    /// Sessions that hear our ringing tone.
    ringing: HashSet<MediaId>,
    /// Where the sound of each session goes.
    parties: HashMap<MediaId, IpAddr>,
    /// What each phone has heard to its end, and pressed.
    counts: HashMap<IpAddr, Counts>,
    /// Recordings that are not answered.
    recordings: HashSet<RecordingSid>,
    /// What happened, of the things worth counting.
    pub reached: BTreeSet<&'static str>,
    /// Status of each leg in the store, by what was written and done.
    stored: HashMap<CallSid, CallStatus>,
    /// Documents under way.
    asked: HashMap<Token, String>,
    /// What the customer's server got, and how often each was refused.
    delivered: HashMap<String, u32>,
    refused: HashMap<String, u32>,
    draining: bool,
    no_lease: bool,
    /// Who is registered where, in runs in which phones register themselves.
    registry: Option<Registry>,
}

impl Watch {
    /// A run with this setup.
    pub fn new(setup: Setup) -> Watch {
        let calls = setup.callers.iter().map(|caller| CallSeen { address: Some(*caller), ..CallSeen::default() });
        let registry = setup.registering.as_ref().map(|(rules, _)| Registry::new(rules.clone()));
        Watch { calls: calls.collect(), setup, registry, ..Watch::default() }
    }

    /// Two media sessions that are joined now, and any that is open.
    pub fn is_bridged(&self, media: MediaId) -> bool {
        self.partner.contains_key(&media)
    }

    /// A media session that we play to or listen to.
    pub fn is_attended(&self, media: MediaId) -> bool {
        self.attended.contains_key(&media)
    }

    /// This sound still plays to this session.
    pub fn plays(&self, media: MediaId, play: PlayId) -> bool {
        self.attended.get(&media).copied().flatten() == Some(play)
    }

    /// What `evaluate` makes of a document: one with a Dial is refused in screening (RCML.md 1.3).
    pub fn refused_for_dial(&mut self, purpose: Purpose, outcome: Outcome) -> Outcome {
        match &outcome {
            Outcome::Program(program)
                if purpose == Purpose::Screening && program.steps.iter().any(|step| matches!(step, Step::Dial(_))) =>
            {
                self.reached.insert("a screening document is refused for its Dial");
                Outcome::Failed
            }
            _ => outcome,
        }
    }

    /// Legs of this call and Dial that have answered, are not over, and were not accepted, but for this one.
    pub(super) fn screening(&self, call: usize, dial: usize, but: Option<&str>) -> usize {
        let in_screening = |(call_id, wire): &(&String, &WireLeg)| {
            let leg = wire.leg.and_then(|sid| Some((sid, self.legs.get(&sid)?)));
            (wire.call, wire.dial) == (call, dial)
                && but != Some(call_id.as_str())
                && wire.final_heard == Some(200)
                && !wire.cancelled
                && !wire.bye
                && leg.is_some_and(|(sid, leg)| leg.ended.is_none() && !self.calls[call].accepted_legs.contains(&sid))
                && self.setup.screens.contains_key(&wire.noun)
        };
        self.wire.iter().filter(in_screening).count()
    }

    pub(super) fn call_of(&self, parent: CallSid) -> Result<usize, Fault> {
        self.calls.iter().position(|call| call.parent == Some(parent)).ok_or_else(|| format!("{parent} is no call"))
    }

    /// The core is told this.
    pub fn told(&mut self, input: &Input, at: Duration) {
        match input {
            Input::Evaluated { token, result } => {
                for call in &mut self.calls {
                    call.action.take_if(|awaited| awaited == token);
                }
                let Some(sid) = self.asked.remove(token) else { return };
                let own = |call: &&mut CallSeen| call.parent.is_some_and(|parent| parent.to_string() == sid);
                if let Some(call) = self.calls.iter_mut().find(own) {
                    call.documents.push(at);
                }
                let declines = match result {
                    Ok(response) => match &response.outcome {
                        Outcome::Program(program) => program.steps.iter().any(|step| matches!(step, Step::Hangup)),
                        Outcome::Failed => true,
                    },
                    Err(_) => true,
                };
                let before = self.legs.iter().find(|(leg, _)| leg.to_string() == sid);
                let before = before.and_then(|(_, leg)| self.counts_of(leg));
                if let Some(leg) = self.legs.iter_mut().find(|(leg, _)| leg.to_string() == sid) {
                    leg.1.may_decline |= declines;
                    leg.1.screened.given(*token, result, at, before);
                    self.reached.insert(match result {
                        Ok(Response { outcome: Outcome::Program(_), .. }) if declines => "screening declines",
                        Ok(Response { outcome: Outcome::Program(_), .. }) => "screening goes on",
                        _ => "a screening document cannot be had",
                    });
                }
            }
            Input::Played { media, result, .. } => {
                self.attended.insert(*media, None);
                if let Some(party) = self.parties.get(media) {
                    self.counts.entry(*party).or_default().sounds += 1;
                }
                self.reached.insert(if result.is_ok() { "a sound is heard" } else { "a sound fails" });
            }
            Input::Digit { media, .. } => {
                if let Some(party) = self.parties.get(media) {
                    self.counts.entry(*party).or_default().keys += 1;
                }
            }
            Input::Recorded { recording, .. } => {
                self.recordings.remove(recording);
                self.reached.insert("a recording ends");
            }
            Input::Written { token, result: Ok(()) } => {
                if let Some(registry) = &mut self.registry {
                    registry.written(*token);
                }
            }
            Input::ClientChanged { login, deleted: true } => {
                if let Some(registry) = &mut self.registry {
                    registry.deleted(login, at);
                }
            }
            Input::Drain => self.draining = true,
            Input::Lease { held } => self.no_lease = !held,
            _ => {}
        }
    }

    /// The store has these bindings.
    pub fn bound(&mut self, bindings: &[BindingWrite]) {
        if let Some(registry) = &mut self.registry {
            registry.stored(bindings);
        }
    }

    /// A connection ended.
    pub fn closed(&mut self, address: SocketAddr, at: Duration) {
        if let Some(registry) = &mut self.registry {
            registry.closed(address, at);
        }
    }

    /// The hand-over of an event was answered.
    pub fn handed_over(&mut self, key: String, accepted: bool) {
        *(if accepted { &mut self.delivered } else { &mut self.refused }).entry(key).or_default() += 1;
    }

    /// The core wants this done.
    pub fn said(&mut self, action: &Action, at: Duration, unix_ms: u64) -> Result<(), Fault> {
        match action {
            Action::Transmit(transmit) => self.transmitted(transmit.flow.remote(), &transmit.payload, at, unix_ms),
            Action::Deliver { event, .. } => self.event(event, unix_ms),
            Action::WriteCall { write, .. } => self.written(write, at, unix_ms),
            Action::WriteBindings { token, bindings } => {
                if let Some(registry) = &mut self.registry {
                    registry.writes(*token, bindings);
                }
                Ok(())
            }
            Action::Notify { notice } => self.noted(notice, at, unix_ms),
            Action::Media(media) => self.media(media),
            Action::Evaluate { token, request } => self.evaluates(*token, request),
            _ => Ok(()),
        }
    }
}

impl Leg {
    /// The statuses that an end at this moment may have by what the wire said; what came within the same millisecond may
    /// have come before or after (RCML.md 1.4).
    pub(super) fn allowed_ends(&self, ended_unix_ms: u64) -> Vec<CallStatus> {
        let mut state = None;
        let mut allowed = Vec::new();
        for (at, said) in self.said.iter().take_while(|(at, _)| *at <= ended_unix_ms) {
            if *at == ended_unix_ms {
                allowed.push(state);
            }
            state = (*said != Said::Again).then_some(*said);
        }
        allowed.push(state);
        let mut allowed: Vec<_> = allowed
            .into_iter()
            .map(|state| match state {
                None | Some(Said::Again) => CallStatus::NoAnswer,
                Some(Said::Success(true)) => CallStatus::Completed,
                Some(Said::Success(false)) => CallStatus::Failed,
                Some(Said::Refusal(486 | 600 | 603)) => CallStatus::Busy,
                Some(Said::Refusal(408 | 480 | 487)) => CallStatus::NoAnswer,
                Some(Said::Refusal(_)) => CallStatus::Failed,
            })
            .collect();
        if self.wire.is_none() {
            allowed.push(CallStatus::Failed); // Undeliverable.
        }
        allowed
    }
}
