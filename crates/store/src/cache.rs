//! A bounded cache that never holds what was changed before it was filled.
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values with their size in bytes.
pub(crate) struct Fresh<K, V> {
    cache: Cache<K, (u64, V), Bytes>,
    /// Counts invalidations. A reader that began before one must not put back what it read: it takes a ticket, reads, and
    /// fills only if the count has not moved. Filling and forgetting exclude each other.
    changes: Mutex<u64>,
}

/// The state of the cache when a read began.
#[derive(Clone, Copy)]
pub(crate) struct Ticket(u64);

impl<K: Hash + Eq, V: Clone> Fresh<K, V> {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { cache: Cache::with_weighter(4_096, bytes, Bytes), changes: Mutex::new(0) }
    }

    pub(crate) fn cached(&self, key: &K) -> Option<V> {
        self.cache.get(key).map(|(_, value)| value)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(*self.changes())
    }

    pub(crate) fn fill(&self, since: Ticket, key: K, bytes: u64, value: V) {
        let changes = self.changes();
        if *changes == since.0 {
            self.cache.insert(key, (bytes, value));
        }
    }

    pub(crate) fn forget(&self, key: &K) {
        let mut changes = self.changes();
        *changes = changes.wrapping_add(1);
        self.cache.remove(key);
    }

    pub(crate) fn forget_all(&self) {
        let mut changes = self.changes();
        *changes = changes.wrapping_add(1);
        self.cache.clear();
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        // A count is whole whatever panicked.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Bytes;

impl<K, V> Weighter<K, (u64, V)> for Bytes {
    fn weight(&self, _: &K, (bytes, _): &(u64, V)) -> u64 {
        // The key and the entry itself.
        bytes.saturating_add(128)
    }
}

#[cfg(test)]
mod tests {
    use super::Fresh;

    #[test]
    fn what_was_read_before_a_change_is_not_put_back_after_it() {
        let cache = Fresh::new(1_000_000);
        let ticket = cache.ticket();
        // Meanwhile: somebody commits a change of the same key.
        cache.forget(&1);
        cache.fill(ticket, 1, 10, "live");
        assert_eq!(cache.cached(&1), None);
        cache.fill(cache.ticket(), 1, 10, "revoked");
        assert_eq!(cache.cached(&1), Some("revoked"));
        let ticket = cache.ticket();
        cache.forget_all();
        cache.fill(ticket, 1, 10, "live");
        assert_eq!(cache.cached(&1), None);
    }

    #[test]
    fn the_cache_is_bounded_in_bytes() {
        let cache = Fresh::new(100_000);
        for key in 0..10_000 {
            cache.fill(cache.ticket(), key, 1_000, ());
        }
        assert!((0..10_000).filter(|key| cache.cached(key).is_some()).count() <= 100);
    }
}
