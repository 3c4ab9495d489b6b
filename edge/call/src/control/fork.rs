//! A Dial's legs, a type for each state of the fork (RCML.md 1.2, 1.5): [`Plan`] (legs named, none rung), [`Race`] (legs
//! ring and screen side by side), [`Won`] (one leg accepted, all others over) and [`Over`] (every leg over).
//!
//! By construction at most one leg is accepted, and an [`Over`] holds exactly one terminal event for each leg: it can be
//! made only from legs that were each used up for one ([`Ended`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfork_rcml::program::{Dial, DocumentRef, Endpoint, Noun};

use super::desk::{CallConfig, Desk, Document};
use super::leg::{Ended, Live, Planned, Winner};
use super::params::{DialResult, whole_seconds};
use super::screening::Verdict;
use super::signals::{CallOutput, LegId, Party, Target, Ticket};
use super::voice::Heard;
use super::{CallSid, CallStatus, LegPlan, notices};
use crate::action::{Now, RecordingEnd, RecordingLimits, RecordingSid, Sound};

/// Legs of one Dial (RCML.md 1.2: ten nouns with ten bindings each).
pub const LEG_LIMIT: usize = 100;
/// `Expires` of a leg is the Dial timeout and so many seconds more (DESIGN "SIP choices").
const EXPIRES_MARGIN: u32 = 5;

/// What of a Dial outlives the choice of its legs.
pub(super) struct Terms {
    /// Requested when it is over.
    pub(super) action: Option<DocumentRef>,
    /// Bounds the bridged time.
    pub(super) time_limit: Duration,
    /// What the caller hears in place of ringing.
    pub(super) music: Option<Sound>,
    ring_seconds: u32,
    record: bool,
}

impl Terms {
    fn of(dial: &Dial) -> Terms {
        Terms {
            action: dial.action.clone(),
            time_limit: Duration::from_secs(u64::from(dial.time_limit)),
            music: dial.dial_music.as_deref().map(|url| Sound::File { url: url.into() }),
            ring_seconds: dial.timeout,
            record: dial.record,
        }
    }

    /// We must decode what the legs say: a recorded Dial, and one whose caller is answered by us before a leg is.
    fn decodable(&self) -> bool {
        self.record || self.music.is_some()
    }
}

/// The identities whose bindings a Dial needs to know, in the order in which [`Plan::new`] wants the answer.
pub(super) fn identities(dial: &Dial) -> Vec<String> {
    let client = |noun: &Noun| match &noun.endpoint {
        Endpoint::Client { identity } => Some(identity.clone()),
        Endpoint::Number { .. } | Endpoint::Sip { .. } => None,
    };
    dial.nouns.iter().filter_map(client).collect()
}

/// Legs named, none rung.
pub(super) struct Plan {
    legs: Vec<Planned>,
    terms: Terms,
}

impl Plan {
    /// One leg for each binding of each client, one for each other noun. A client without binding yields none and leaves
    /// a warning on the parent.
    pub(super) fn new(now: Now, dial: Dial, found: Vec<Vec<Target>>, desk: &mut Desk) -> Plan {
        let terms = Terms::of(&dial);
        let Dial { caller_id, nouns, .. } = dial;
        let (mut legs, mut found, mut beyond) = (Vec::new(), found.into_iter(), false);
        for (index, noun) in (0u8..).zip(nouns) {
            let targets = match &noun.endpoint {
                Endpoint::Client { identity } => {
                    let targets = found.next().unwrap_or_default();
                    if targets.is_empty() {
                        desk.out.notify(desk.card.sid, now, notices::client_not_registered(identity));
                    }
                    targets
                }
                Endpoint::Number { digits } => vec![Target::Trunk { number: digits.clone() }],
                Endpoint::Sip { uri, username, password } => {
                    let (uri, username, password) = (uri.clone(), username.clone(), password.clone());
                    vec![Target::Uri { uri, username, password }]
                }
            };
            let noun = Arc::new(noun);
            for target in targets {
                match desk.leg_id().filter(|_| legs.len() < LEG_LIMIT) {
                    Some(id) => {
                        legs.push(Planned::new(now, id, (index, &noun), target, caller_id.as_deref(), desk));
                    }
                    None => beyond = true,
                }
            }
        }
        if beyond {
            desk.out.notify(desk.card.sid, now, notices::too_many_legs());
        }
        Plan { legs, terms }
    }

    /// For the parent's item.
    pub(super) fn names(&self) -> Vec<LegPlan> {
        self.legs.iter().map(Planned::plan).collect()
    }

    /// There is nobody to ring.
    pub(super) fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// Rings all legs at once.
    pub(super) fn launch(self, now: Now, desk: &mut Desk) -> Race {
        let Plan { legs, terms } = self;
        let expires = terms.ring_seconds.saturating_add(EXPIRES_MARGIN);
        // All INVITEs leave before anything is written or told about them.
        let mut live: Vec<Live> = legs.into_iter().map(|leg| leg.invite(expires, terms.decodable(), desk)).collect();
        for leg in &mut live {
            leg.initiated(now, desk);
        }
        let until = now.instant + Duration::from_secs(u64::from(terms.ring_seconds));
        Race { ended: Vec::with_capacity(live.len()), live, terms, started: now.instant, ring_until: Some(until) }
    }

    /// There is no leg, or the caller is gone before any INVITE: nobody was rung.
    pub(super) fn drop_all(self) -> Over {
        Over { ended: Vec::new(), terms: self.terms, outcome: Outcome::default() }
    }
}

/// Legs ring and screen side by side.
pub(super) struct Race {
    live: Vec<Live>,
    ended: Vec<Ended>,
    terms: Terms,
    started: Instant,
    /// When ringing legs are cancelled; `None` once they were.
    ring_until: Option<Instant>,
}

/// What became of a race after an input.
pub(super) enum Stand {
    /// It goes on.
    Open(Race),
    /// A leg is accepted.
    Accepted(Box<Accepted>),
    /// Every leg is over.
    Over(Over),
}

impl Race {
    /// A 18x. True if the leg rings now.
    pub(super) fn provisional(&mut self, now: Now, leg: LegId, code: u16, desk: &mut Desk) -> bool {
        self.leg(leg).is_some_and(|leg| leg.provisional(now, code, desk))
    }

    /// The leg is neither over nor unknown.
    pub(super) fn is_live(&self, leg: LegId) -> bool {
        self.live.iter().any(|live| live.id() == leg)
    }

    /// A 200 OK of a leg.
    pub(super) fn answered(mut self, now: Now, leg: LegId, desk: &mut Desk) -> Stand {
        let verdict = self.leg(leg).map_or(Verdict::Waits, |leg| leg.answered(now, desk));
        self.judge(now, leg, verdict, desk)
    }

    /// A leg ended by itself; `unanswered` is its status if it never answered.
    pub(super) fn gone(mut self, now: Now, leg: LegId, unanswered: CallStatus, desk: &mut Desk) -> Stand {
        if let Some(leg) = self.take(leg) {
            self.ended.push(leg.gone(now, unanswered, desk));
        }
        self.stand(now)
    }

    /// A document came that no verb of the caller's waits for.
    pub(super) fn evaluated(mut self, now: Now, ticket: Ticket, document: Document, desk: &mut Desk) -> Stand {
        let Some(leg) = self.live.iter_mut().find(|leg| leg.awaits(ticket)) else { return Stand::Open(self) };
        let (id, verdict) = (leg.id(), leg.evaluated(now, document, desk));
        self.judge(now, id, verdict, desk)
    }

    /// A leg pressed a key, or heard a sound to its end.
    pub(super) fn heard(mut self, now: Now, leg: LegId, heard: Heard, desk: &mut Desk) -> Stand {
        let verdict = self.leg(leg).map_or(Verdict::Waits, |leg| leg.heard(now, heard, desk));
        self.judge(now, leg, verdict, desk)
    }

    /// A recording of a leg is over: of which one shows.
    pub(super) fn recorded(
        mut self,
        now: Now,
        (recording, length, end): (RecordingSid, u32, RecordingEnd),
        desk: &mut Desk,
    ) -> Stand {
        for leg in &mut self.live {
            let (id, verdict) = (leg.id(), leg.heard(now, Heard::Recorded(recording, length, end), desk));
            if verdict != Verdict::Waits {
                return self.judge(now, id, verdict, desk);
            }
        }
        self.stand(now)
    }

    /// What the caller hears in place of ringing.
    pub(super) fn music(&self) -> Option<&Sound> {
        self.terms.music.as_ref()
    }

    /// Does what is due: screening first, since a leg that is accepted now ends the others.
    pub(super) fn timeout(mut self, now: Now, desk: &mut Desk) -> Stand {
        let due = |leg: &Live| leg.next_timeout().is_some_and(|until| until <= now.instant);
        while let Some(leg) = self.live.iter_mut().find(|leg| due(leg)) {
            let (id, verdict) = (leg.id(), leg.timeout(now, desk));
            match self.judge(now, id, verdict, desk) {
                Stand::Open(race) => self = race,
                decided => return decided,
            }
        }
        if self.ring_until.is_some_and(|until| until <= now.instant) {
            self.ring_until = None;
            let (screening, ringing): (Vec<_>, Vec<_>) = self.live.into_iter().partition(Live::is_screening);
            self.live = screening;
            self.ended.extend(ringing.into_iter().map(|leg| leg.stop(now, false, desk)));
        }
        self.stand(now)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.live.iter().filter_map(Live::next_timeout).chain(self.ring_until).min()
    }

    /// The caller is gone: every leg ends.
    pub(super) fn abandon(mut self, now: Now, desk: &mut Desk) -> Over {
        let stopped = std::mem::take(&mut self.live).into_iter().map(|leg| leg.stop(now, false, desk));
        self.ended.extend(stopped);
        self.over(now)
    }

    /// What ends every leg on the wire, where nothing may be reported any more.
    pub(super) fn commands_to_end(self) -> Vec<CallOutput> {
        self.live.iter().map(|leg| leg.command_to_end(false)).collect()
    }

    fn judge(mut self, now: Now, leg: LegId, verdict: Verdict, desk: &mut Desk) -> Stand {
        match verdict {
            Verdict::Waits => self.stand(now),
            Verdict::Accepts => match self.take(leg) {
                Some(leg) => Stand::Accepted(Box::new(Accepted { winner: leg.accept(), race: self })),
                None => self.stand(now),
            },
            Verdict::Declines => {
                if let Some(leg) = self.take(leg) {
                    self.ended.push(leg.stop(now, false, desk));
                }
                self.stand(now)
            }
        }
    }

    fn stand(self, now: Now) -> Stand {
        if self.live.is_empty() { Stand::Over(self.over(now)) } else { Stand::Open(self) }
    }

    /// All legs are in `ended`.
    fn over(self, now: Now) -> Over {
        let ring_duration = whole_seconds(self.started, now.instant);
        Over { ended: self.ended, terms: self.terms, outcome: Outcome { ring_duration, ..Outcome::default() } }
    }

    fn leg(&mut self, leg: LegId) -> Option<&mut Live> {
        self.live.iter_mut().find(|live| live.id() == leg)
    }

    /// A leg that is not over.
    pub(super) fn sid_of(&self, leg: LegId) -> Option<CallSid> {
        self.live.iter().find(|live| live.id() == leg).map(Live::sid)
    }

    fn take(&mut self, leg: LegId) -> Option<Live> {
        let index = self.live.iter().position(|live| live.id() == leg)?;
        Some(self.live.remove(index))
    }
}

/// One leg accepted, the others still to be ended.
pub(super) struct Accepted {
    winner: Winner,
    race: Race,
}

impl Accepted {
    pub(super) fn sid(&self) -> CallSid {
        self.winner.sid()
    }

    /// All other legs are over in this moment (RCML.md 1.2).
    pub(super) fn end_others(self, now: Now, desk: &mut Desk) -> Won {
        let Accepted { winner, race: Race { live, mut ended, terms, started, .. } } = self;
        ended.extend(live.into_iter().map(|leg| leg.stop(now, true, desk)));
        Won { winner, ended, terms, ring_duration: whole_seconds(started, now.instant), bridged: None, recording: None }
    }
}

/// One leg accepted, all others over.
pub(super) struct Won {
    winner: Winner,
    ended: Vec<Ended>,
    terms: Terms,
    ring_duration: u64,
    bridged: Option<Instant>,
    recording: Option<RecordingSid>,
}

impl Won {
    pub(super) fn leg(&self) -> LegId {
        self.winner.id()
    }

    /// Caller and leg are joined: accepted, and our 200 sent (RCML.md 1.5). Returns when `timeLimit` ends it.
    /// A Dial with `record` is recorded from now on, on the caller's call.
    pub(super) fn bridge(&mut self, now: Now, desk: &mut Desk) -> Instant {
        self.bridged = Some(now.instant);
        if self.terms.record {
            let max_seconds = u32::try_from(self.terms.time_limit.as_secs()).unwrap_or(u32::MAX);
            let limits = RecordingLimits { max_seconds, silence_seconds: None };
            let (sid, leg) = (desk.card.sid, self.winner.id());
            self.recording = Some(desk.start_recording(now, sid, Party::Caller, Some(leg), limits));
        }
        now.instant + self.terms.time_limit
    }

    /// A recording is over: nothing was written, so there is nothing to be named.
    pub(super) fn recorded(&mut self, recording: RecordingSid, length: u32) {
        self.recording.take_if(|own| *own == recording && length == 0);
    }

    /// We end the accepted leg.
    pub(super) fn stop(self, now: Now, desk: &mut Desk) -> Over {
        self.over(now, |winner| winner.stop(now, desk))
    }

    /// The accepted leg hung up or was lost.
    pub(super) fn gone(self, now: Now, desk: &mut Desk) -> Over {
        self.over(now, |winner| winner.gone(now, desk))
    }

    fn over(self, now: Now, end: impl FnOnce(Winner) -> Ended) -> Over {
        let Won { winner, mut ended, terms, ring_duration, bridged, recording } = self;
        let accepted = Some(winner.sid());
        ended.push(end(winner));
        let bridged = bridged.map(|since| whole_seconds(since, now.instant));
        Over { ended, terms, outcome: Outcome { accepted, bridged, ring_duration, recording } }
    }
}

/// Every leg over.
pub(super) struct Over {
    ended: Vec<Ended>,
    pub(super) terms: Terms,
    outcome: Outcome,
}

#[derive(Default)]
struct Outcome {
    accepted: Option<CallSid>,
    /// Whole seconds, if a leg was bridged.
    bridged: Option<u64>,
    ring_duration: u64,
    recording: Option<RecordingSid>,
}

impl Over {
    /// A Dial that the caller left before its legs were known.
    pub(super) fn without_legs(dial: &Dial) -> Over {
        Over { ended: Vec::new(), terms: Terms::of(dial), outcome: Outcome::default() }
    }

    /// `DialCallStatus` and what goes with it (RCML.md 1.5). `caller_left`: the caller's end ended the Dial.
    pub(super) fn result(&self, caller_left: bool, config: &CallConfig) -> DialResult {
        let last = self.ended.last().map(|leg| leg.sid());
        DialResult {
            status: if caller_left && self.outcome.bridged.is_none() { CallStatus::Canceled } else { self.status() },
            sid: self.outcome.accepted.or(last),
            duration: self.outcome.bridged.unwrap_or(0),
            ring_duration: self.outcome.ring_duration,
            recording_url: self.outcome.recording.map(|recording| config.recording_url(recording)),
        }
    }

    /// What was recorded from the bridge on: it ends with it.
    pub(super) fn recording(&self) -> Option<RecordingSid> {
        self.outcome.recording
    }

    fn status(&self) -> CallStatus {
        let ended = |status| move |leg: &Ended| leg.status() == status;
        let (busy, reached) = (ended(CallStatus::Busy), |leg: &Ended| {
            leg.rang() || matches!(leg.status(), CallStatus::NoAnswer | CallStatus::Completed)
        });
        let legs = &self.ended;
        match () {
            () if self.outcome.bridged.is_some() => CallStatus::Completed,
            () if legs.is_empty() => CallStatus::Failed,
            () if legs.iter().all(&busy) => CallStatus::Busy,
            () if legs.iter().any(reached) => CallStatus::NoAnswer,
            () if legs.iter().any(&busy) => CallStatus::Busy,
            () => CallStatus::Failed,
        }
    }
}
