//! What is remembered of clients and numbers: presence for a minute, absence never (DESIGN "State in DynamoDB").

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an entry is believed.
const KEPT: Duration = Duration::from_secs(60);

/// Entries by name, each for a minute. Bounded: when full it is emptied, which costs one look-up per name.
#[derive(Debug)]
pub struct Cache<V> {
    cap: usize,
    entries: HashMap<String, (Instant, Arc<V>)>,
}

impl<V> Cache<V> {
    /// At most `cap` entries.
    pub fn new(cap: usize) -> Self {
        Cache { cap: cap.max(1), entries: HashMap::new() }
    }

    /// What is remembered of `name`.
    pub fn get(&self, now: Instant, name: &str) -> Option<Arc<V>> {
        let (until, value) = self.entries.get(name)?;
        (*until > now).then(|| Arc::clone(value))
    }

    /// Remembers `value`, and gives it back shared.
    pub fn put(&mut self, now: Instant, name: &str, value: V) -> Arc<V> {
        if self.entries.len() >= self.cap {
            self.entries.clear();
        }
        let value = Arc::new(value);
        self.entries.insert(name.to_owned(), (now + KEPT, Arc::clone(&value)));
        value
    }

    /// Forgets `name`.
    pub fn forget(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// Forgets everything for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &V) -> bool) {
        self.entries.retain(|name, (_, value)| keep(name, value));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // An instant to count from can only be had so.
mod tests {
    use super::*;

    /// DESIGN "State in DynamoDB": presence is cached for a minute.
    #[test]
    fn kept_for_a_minute() {
        let start = Instant::now();
        let mut cache = Cache::new(2);
        cache.put(start, "alice", 1);
        assert_eq!(cache.get(start + Duration::from_secs(59), "alice").as_deref(), Some(&1));
        assert!(cache.get(start + KEPT, "alice").is_none());
        cache.forget("alice");
        assert!(cache.get(start, "alice").is_none());
    }

    #[test]
    fn bounded() {
        let start = Instant::now();
        let mut cache = Cache::new(2);
        for name in ["a", "b", "c"] {
            cache.put(start, name, 1);
        }
        assert!(cache.entries.len() <= 2);
    }
}
