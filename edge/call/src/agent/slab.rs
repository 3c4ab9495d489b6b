//! A table with small keys that are never mistaken for a former entry's.

/// Names an entry. A key of a removed entry finds nothing, also when its place is taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// None comes before it.
    pub const FIRST: Key = Key { index: 0, generation: 0 };
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

/// The table. Memory is that of the most entries at one time.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// A key for an entry that needs to know it; [`Slab::fill`] or [`Slab::release`] it.
    pub fn reserve(&mut self) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get(index as usize)
        {
            return Key { index, generation: place.generation };
        }
        let index = self.places.len() as u32;
        self.places.push(Place { generation: 0, entry: None });
        Key { index, generation: 0 }
    }

    /// Puts the entry in its reserved place.
    pub fn fill(&mut self, key: Key, entry: T) {
        if let Some(place) = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)
        {
            place.entry = Some(entry);
        }
    }

    /// Gives a reserved place up.
    pub fn release(&mut self, key: Key) {
        if let Some(place) = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)
        {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(key.index);
        }
    }

    /// The entry of this key.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        place.entry.as_mut()
    }

    /// Removes and returns the entry of this key.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.generation == key.generation)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(entry)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Every entry with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.entry.as_ref().map(|entry| (key, entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_key_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.reserve();
        slab.fill(first, "a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.reserve();
        slab.fill(second, "b");
        let third = slab.reserve();
        slab.release(third);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!((slab.len(), slab.places.len()), (1, 2));
        assert_eq!(slab.iter().count(), 1);
    }
}
