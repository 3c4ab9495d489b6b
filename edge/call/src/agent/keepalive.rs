//! Flows that registrations came over, and whether they still live (DESIGN "SIP choices"): a UDP flow from which
//! nothing came for 25 s gets OPTIONS; three unanswered in a row end it, if it ever answered one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringfork_sip::flow::Flow;

/// Silence after which a flow is asked.
pub const SILENCE: Duration = Duration::from_secs(25);
/// Unanswered OPTIONS in a row that end a flow which answered before.
const MISSES: u8 = 3;

#[derive(Debug)]
struct Watched {
    /// When something came over it last.
    seen: Instant,
    /// OPTIONS unanswered in a row.
    missed: u8,
    /// Whether it ever answered one.
    answered: bool,
    /// When the OPTIONS that is under way left.
    asking: Option<Instant>,
}

/// What to do with a flow now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is not watched any more.
    Forget,
    /// Look again then.
    Wait(Instant),
    /// Send OPTIONS.
    Ask,
    /// It is dead: end its bindings.
    End,
}

/// Every watched UDP flow; one timer each is the owner's, which calls [`KeepAlive::due`] when it fires. As many entries
/// as there are flows with bindings, so bounded by these.
#[derive(Debug, Default)]
pub struct KeepAlive {
    flows: HashMap<Flow, Watched>,
}

impl KeepAlive {
    /// A binding was made or refreshed over this flow. True: it was not watched, so set a timer for [`SILENCE`].
    pub fn watch(&mut self, now: Instant, flow: Flow) -> bool {
        if flow.is_reliable() {
            return false;
        }
        match self.flows.entry(flow) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().seen = now;
                false
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Watched { seen: now, missed: 0, answered: false, asking: None });
                true
            }
        }
    }

    /// Something came over this flow. True: bindings are registered over it.
    pub fn touch(&mut self, now: Instant, flow: &Flow) -> bool {
        match self.flows.get_mut(flow) {
            Some(watched) => {
                watched.seen = now;
                true
            }
            None => false,
        }
    }

    /// Its last binding is gone.
    pub fn forget(&mut self, flow: &Flow) {
        self.flows.remove(flow);
    }

    /// The flow's timer fired.
    pub fn due(&mut self, now: Instant, flow: &Flow) -> Step {
        let Some(watched) = self.flows.get_mut(flow) else { return Step::Forget };
        let due = watched.seen + SILENCE;
        if now < due {
            watched.missed = 0;
            return Step::Wait(due);
        }
        if watched.asking.is_some() {
            return Step::Wait(now + SILENCE);
        }
        watched.asking = Some(now);
        Step::Ask
    }

    /// The OPTIONS over this flow was answered, or (Timer F) was not.
    pub fn asked(&mut self, now: Instant, flow: &Flow, answered: bool) -> Step {
        let Some(watched) = self.flows.get_mut(flow) else { return Step::Forget };
        let since = watched.asking.take();
        if answered {
            watched.seen = now;
            watched.missed = 0;
            watched.answered = true;
            return Step::Wait(now + SILENCE);
        }
        // Something else came over it meanwhile: it is not dead.
        if since.is_none_or(|since| watched.seen > since) {
            watched.missed = 0;
            let due = watched.seen + SILENCE;
            if due > now {
                return Step::Wait(due);
            }
            watched.asking = Some(now);
            return Step::Ask;
        }
        watched.missed = watched.missed.saturating_add(1);
        if watched.missed < MISSES {
            watched.asking = Some(now);
            Step::Ask
        } else if watched.answered {
            self.flows.remove(flow);
            Step::End
        } else {
            Step::Wait(now + SILENCE)
        }
    }

    /// The OPTIONS over this flow could not be sent: that says nothing of the flow, which is asked later.
    pub fn unsent(&mut self, now: Instant, flow: &Flow) -> Step {
        let Some(watched) = self.flows.get_mut(flow) else { return Step::Forget };
        watched.asking = None;
        Step::Wait(now + SILENCE)
    }

    /// How many flows are watched.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.flows.len()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // An instant to count from can only be had so.
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow::Udp { local: ([192, 0, 2, 1], 5060).into(), remote: ([192, 0, 2, 9], 5062).into() }
    }

    /// DESIGN "SIP choices": 25 s of silence, then OPTIONS; three unanswered end a flow that answered before.
    #[test]
    fn three_unanswered_end_a_flow_that_answered_before() {
        let start = Instant::now();
        let mut alive = KeepAlive::default();
        assert!(alive.watch(start, flow()));
        assert!(!alive.watch(start, flow()));
        let later = start + Duration::from_secs(10);
        assert!(alive.touch(later, &flow()));
        assert_eq!(alive.due(start + SILENCE, &flow()), Step::Wait(later + SILENCE));
        assert_eq!(alive.due(later + SILENCE, &flow()), Step::Ask);
        let answered = later + SILENCE + Duration::from_millis(20);
        assert_eq!(alive.asked(answered, &flow(), true), Step::Wait(answered + SILENCE));
        let mut at = answered + SILENCE;
        assert_eq!(alive.due(at, &flow()), Step::Ask);
        for step in [Step::Ask, Step::Ask, Step::End] {
            at += Duration::from_secs(32);
            assert_eq!(alive.asked(at, &flow(), false), step);
        }
        assert_eq!(alive.len(), 0);
    }

    /// DESIGN "SIP choices": three in a row: whatever comes over the flow begins the count anew, also while an OPTIONS is
    /// under way.
    #[test]
    fn a_flow_that_is_heard_is_not_ended() {
        let start = Instant::now();
        let mut alive = KeepAlive::default();
        alive.watch(start, flow());
        let mut at = start + SILENCE;
        assert_eq!(alive.due(at, &flow()), Step::Ask);
        assert_eq!(alive.asked(at, &flow(), true), Step::Wait(at + SILENCE));
        at += SILENCE;
        assert_eq!(alive.due(at, &flow()), Step::Ask);
        for _ in 0..2 {
            at += Duration::from_secs(32);
            assert_eq!(alive.asked(at, &flow(), false), Step::Ask);
        }
        assert!(alive.touch(at + Duration::from_secs(2), &flow()));
        for step in [Step::Ask, Step::Ask, Step::Ask, Step::End] {
            at += Duration::from_secs(32);
            assert_eq!(alive.asked(at, &flow(), false), step);
        }
    }

    /// DESIGN "SIP choices": a flow that never answered one lives to its bindings' expiry.
    #[test]
    fn a_flow_that_never_answered_is_not_ended() {
        let start = Instant::now();
        let mut alive = KeepAlive::default();
        alive.watch(start, flow());
        let mut at = start + SILENCE;
        for _ in 0..5 {
            assert_eq!(alive.due(at, &flow()), Step::Ask);
            let mut step = Step::Ask;
            while step == Step::Ask {
                at += Duration::from_secs(32);
                step = alive.asked(at, &flow(), false);
            }
            assert_eq!(step, Step::Wait(at + SILENCE));
            at += SILENCE;
        }
    }

    /// An OPTIONS that never left is no miss.
    #[test]
    fn what_could_not_be_sent_does_not_count() {
        let start = Instant::now();
        let mut alive = KeepAlive::default();
        alive.watch(start, flow());
        let mut at = start + SILENCE;
        assert_eq!(alive.due(at, &flow()), Step::Ask);
        assert_eq!(alive.asked(at, &flow(), true), Step::Wait(at + SILENCE));
        for _ in 0..5 {
            at += SILENCE;
            assert_eq!(alive.due(at, &flow()), Step::Ask);
            assert_eq!(alive.unsent(at, &flow()), Step::Wait(at + SILENCE));
        }
        at += SILENCE;
        assert_eq!(alive.due(at, &flow()), Step::Ask);
        assert_eq!(alive.asked(at + Duration::from_secs(32), &flow(), false), Step::Ask);
    }

    /// A stream's end is seen by itself.
    #[test]
    fn streams_are_not_asked() {
        let mut alive = KeepAlive::default();
        let flow =
            Flow::Tcp { connection: 1, local: ([192, 0, 2, 1], 5060).into(), remote: ([192, 0, 2, 9], 5062).into() };
        assert!(!alive.watch(Instant::now(), flow));
        assert_eq!(alive.len(), 0);
    }
}
