//! What the cache has done, for metrics.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a cache has done since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens given out that were held.
    pub hits: u64,
    /// Requests begun because nothing was held.
    pub misses: u64,
    /// Callers who waited for a request that another had begun.
    pub joined: u64,
    /// Refusals given out that were remembered.
    pub negative_hits: u64,
    /// Renewals ahead begun.
    pub renewals: u64,
    /// Tokens pushed out for want of space.
    pub evictions: u64,
    /// Tokens dropped because of a cut-off, or because their subject was forgotten.
    pub cut_off: u64,
    /// Times that a token was held and not given out, because word of cut-offs was missing for too long.
    pub outdated: u64,
    /// Tokens held now.
    pub entries: u64,
    /// Bytes held now, in tokens and refusals.
    pub bytes: u64,
}

#[derive(Clone, Default)]
pub(super) struct Counting(Arc<Counts>);

#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) negative_hits: AtomicU64,
    pub(super) renewals: AtomicU64,
    pub(super) evictions: AtomicU64,
    pub(super) cut_off: AtomicU64,
    pub(super) outdated: AtomicU64,
}

impl std::ops::Deref for Counting {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    pub(super) fn read(&self, entries: usize, bytes: u64) -> Counters {
        let Self { hits, misses, joined, negative_hits, renewals, evictions, cut_off, outdated } = self;
        Counters {
            hits: hits.load(Relaxed),
            misses: misses.load(Relaxed),
            joined: joined.load(Relaxed),
            negative_hits: negative_hits.load(Relaxed),
            renewals: renewals.load(Relaxed),
            evictions: evictions.load(Relaxed),
            cut_off: cut_off.load(Relaxed),
            outdated: outdated.load(Relaxed),
            entries: entries as u64,
            bytes,
        }
    }
}

/// Counts what is pushed out.
impl<K, V> quick_cache::Lifecycle<K, V> for Counting {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        Counts::add(&self.evictions, 1);
    }
}
