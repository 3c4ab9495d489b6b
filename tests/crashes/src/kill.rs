//! When the edge is killed: at a step of some call that the seed names, or a while after it.

use ringfork_call::action::Action;
use ringfork_call::control::{EventKind, Write};
use ringfork_simulator::dice::Dice;
use ringfork_simulator::outside::Moment;

/// Steps that may be fatal. `asked`: it has not happened yet; else it has, and the core does not know.
pub const STEPS: [&str; 22] = [
    "put asked",
    "put written",
    "legs asked",
    "legs written",
    "acceptance asked",
    "acceptance written",
    "first step of a leg asked",
    "first step of a leg written",
    "step of a leg asked",
    "step of a leg written",
    "end of a leg asked",
    "end of a leg written",
    "clearing asked",
    "clearing written",
    "end of the call asked",
    "end of the call written",
    "hand-over asked",
    "completed asked to be handed over",
    "event delivered",
    "completed delivered",
    "event refused",
    "document asked",
];

/// The step that this moment is, if any.
pub fn step(moment: &Moment<'_>) -> Option<&'static str> {
    let of = |write: &Write, asked: bool| {
        let index = match write {
            Write::PutParent { .. } => 0,
            Write::NameLegs { .. } => 2,
            Write::Accept { .. } => 4,
            Write::Leg { ended_unix_ms: Some(_), .. } => 10,
            Write::Leg { description: Some(_), .. } => 6,
            Write::Leg { .. } => 8,
            Write::ClearEvents { .. } => 12,
            Write::Parent { .. } => 14,
        };
        STEPS.get(index + usize::from(!asked)).copied()
    };
    match moment {
        Moment::Asked(Action::WriteCall { write, .. }) => of(write, true),
        Moment::Written { write, fails: false } => of(write, false),
        Moment::Asked(Action::Deliver { event, .. }) if event.kind == EventKind::Completed => {
            Some("completed asked to be handed over")
        }
        Moment::Asked(Action::Deliver { .. }) => Some("hand-over asked"),
        Moment::Delivered { accepted: false, .. } => Some("event refused"),
        Moment::Delivered { event, .. } if event.kind == EventKind::Completed => Some("completed delivered"),
        Moment::Delivered { .. } => Some("event delivered"),
        Moment::Asked(Action::Evaluate { .. }) => Some("document asked"),
        _ => None,
    }
}

/// The plan of a killing.
#[derive(Debug, Clone)]
pub struct Kill {
    step: &'static str,
    /// The step's occurrences that are let pass.
    skip: u64,
    /// After that occurrence, milliseconds.
    delay: u64,
    due_unix_ms: Option<u64>,
}

impl Kill {
    /// Draws one.
    pub fn draw(dice: &mut Dice) -> Kill {
        let step = dice.pick(&STEPS);
        let skip = dice.pick(&[0, 0, 0, 0, 1, 1, 3, 6]);
        let delay = if dice.chance(0.5) { 0 } else { dice.pick(&[20, 600, 5_000, 90_000]) };
        let delay = dice.between(0, delay);
        Kill { step, skip, delay, due_unix_ms: None }
    }

    /// Whether this moment is the one.
    pub fn is_due(&mut self, now_unix_ms: u64, moment: &Moment<'_>) -> bool {
        if let Some(due) = self.due_unix_ms {
            return due <= now_unix_ms && matches!(moment, Moment::Between);
        }
        if step(moment) != Some(self.step) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.delay == 0 {
            return true;
        }
        self.due_unix_ms = Some(now_unix_ms + self.delay);
        false
    }

    /// The step, where it was fatal at once.
    pub fn fatal_step(&self) -> Option<&'static str> {
        (self.delay == 0).then_some(self.step)
    }
}
