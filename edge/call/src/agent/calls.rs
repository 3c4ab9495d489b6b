//! Calls by their key: those that are up, and of those that are over what they still owe. A customer's server that does
//! not take its callbacks keeps a call waiting for twenty minutes (RCML.md 1.4 "Delivery"): of such a one nothing is
//! kept but its records and events, and it takes no place from a new call.

use super::slab::{Key, Slab};
use super::timers::TimerId;
use crate::control;
use crate::control::CallSid;
use crate::ua::Call;

/// A call that is over in every dialog: control writes and hands over what is left.
pub struct Finishing {
    pub sid: CallSid,
    pub control: control::Call,
    pub wake: Option<TimerId>,
}

/// One of the two.
#[derive(Default)]
struct Entry {
    up: Option<Box<Call>>,
    finishing: Option<Box<Finishing>>,
}

/// The table.
#[derive(Default)]
pub struct Calls {
    table: Slab<Entry>,
    finishing: usize,
}

impl Calls {
    /// A key for a call that needs to know it; [`Calls::fill`] or [`Calls::release`] it.
    pub fn reserve(&mut self) -> Key {
        self.table.reserve()
    }

    /// Puts the call in its reserved place.
    pub fn fill(&mut self, key: Key, call: Call) {
        self.table.fill(key, Entry { up: Some(Box::new(call)), finishing: None });
    }

    /// Gives a reserved place up.
    pub fn release(&mut self, key: Key) {
        self.table.release(key);
    }

    /// A call that is up.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Call> {
        self.table.get_mut(key)?.up.as_deref_mut()
    }

    /// A call that is over.
    pub fn finishing_mut(&mut self, key: Key) -> Option<&mut Finishing> {
        self.table.get_mut(key)?.finishing.as_deref_mut()
    }

    /// Lets everything go of a call but what it owes. Its key stays.
    pub fn finish(&mut self, key: Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let Some(call) = entry.up.take() else { return };
        let Call { sid, mut control, wake, .. } = *call;
        control.let_go();
        entry.finishing = Some(Box::new(Finishing { sid, control, wake }));
        self.finishing += 1;
    }

    /// Forgets a call.
    pub fn remove(&mut self, key: Key) {
        if self.table.remove(key).is_some_and(|entry| entry.finishing.is_some()) {
            self.finishing -= 1;
        }
    }

    /// How many are up.
    pub fn up(&self) -> usize {
        self.table.len() - self.finishing
    }

    /// How many are over and owe something.
    pub fn finishing(&self) -> usize {
        self.finishing
    }

    /// Every call that is up, with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Call)> {
        self.table.iter().filter_map(|(key, entry)| Some((key, entry.up.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of a call that is over is small beside one that is up.
    #[test]
    fn what_is_owed_is_small() {
        let (up, finishing) = (std::mem::size_of::<Call>(), std::mem::size_of::<Finishing>());
        assert!(finishing <= 1536 && finishing * 2 < up, "{finishing} of {up}");
    }
}
