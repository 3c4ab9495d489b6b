//! A table of transactions by number, in which a number is never mistaken for an earlier holder of its place.

/// Place in a [`Slab`], and which of its successive holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub index: u32,
    pub generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Grows as needed, keeps its places for later holders, looks up in O(1).
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The key that the next [`Slab::insert`] will give; `None` once 2^32 places are taken.
    pub fn next_key(&self) -> Option<Key> {
        match self.free.last() {
            Some(&index) => Some(Key { index, generation: self.slots.get(index as usize)?.generation }),
            None => Some(Key { index: u32::try_from(self.slots.len()).ok()?, generation: 0 }),
        }
    }

    /// Takes a value in, under [`Slab::next_key`].
    pub fn insert(&mut self, value: T) -> Option<Key> {
        let key = self.next_key()?;
        match self.slots.get_mut(key.index as usize) {
            Some(slot) => {
                self.free.pop();
                slot.value = Some(value);
            }
            None => self.slots.push(Slot { generation: 0, value: Some(value) }),
        }
        Some(key)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        slot.value.as_ref()
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        slot.value.as_mut()
    }

    /// The present holder of a place.
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let slot = self.slots.get(index as usize)?;
        Some((Key { index, generation: slot.generation }, slot.value.as_ref()?))
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_finds_a_later_holder_of_its_place() {
        let mut slab = Slab::new();
        assert_eq!(slab.next_key(), Some(Key { index: 0, generation: 0 }));
        let a = slab.insert('a').unwrap();
        let b = slab.insert('b').unwrap();
        assert_eq!((slab.get(a), slab.get(b), slab.len()), (Some(&'a'), Some(&'b'), 2));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let next = slab.next_key();
        let c = slab.insert('c').unwrap();
        assert_eq!(next, Some(c));
        assert_eq!(c.index, a.index);
        assert!(slab.get_mut(a).is_none());
        assert_eq!((slab.get(a), slab.get(c), slab.len()), (None, Some(&'c'), 2));
        assert_eq!(slab.at(a.index), Some((c, &'c')));
        slab.remove(c);
        assert_eq!(slab.at(a.index), None);
    }
}
