//! How often somebody called lately, and how much they used of what they may: in memory, bounded, exact to the second.
mod quotas;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use quotas::{Charged, Owed, Quota, Quotas, Spent, Sum};
pub(crate) use shared::{Endpoint, Shared, Spending, Wanted};

use crate::policy::dpop::Proofs;
use crate::sign_in::Spent as SignedIn;
use decision::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes of counters are kept.
const BYTES: usize = 16 << 20;
const SHARDS: usize = 16;
/// What a counter costs beside its marks: key, place in the table, allocation.
const BOOKKEEPING: usize = 256;
const MARK: usize = size_of::<(i64, u64)>();
/// Counters that keys share, in each shard, once there is no room for one of their own.
const SHARED: u8 = 64;

/// A counter's name: what it counts, as a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Of parts whose bounds are part of it: `a`, `bc` is another one than `ab`, `c`.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// What it is kept as.
    pub(crate) fn as_kept(&self) -> &[u8; 32] {
        &self.0
    }

    /// One that was kept.
    pub(crate) fn kept(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// Who says which keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// The configuration: they always have counters of their own, whatever callers make up.
    Configured,
    /// Callers.
    OfCallers,
}

/// So many calls within so many seconds, whenever they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    pub(crate) calls: u64,
    /// Seconds.
    pub(crate) period: i64,
}

/// A call that was counted, and can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    key: Key,
    second: i64,
    count: u64,
    /// Calls that are left.
    pub(crate) remaining: u64,
    /// Whether it is counted for all gateways.
    shared: bool,
}

/// All counters. They outlive configurations: a reload gives nobody new calls.
///
/// Who makes up keys cannot have others forgotten: where there is no room, and nothing that is over to drop, new keys share
/// counters with one another. They have less then than they would alone, and never more.
pub(crate) struct Limits {
    /// Which proofs of possession were used.
    pub(crate) proofs: Proofs,
    /// Which sign-ins were used up, and which sessions ended.
    pub(crate) signed_in: SignedIn,
    /// How much was used.
    pub(crate) quotas: Arc<Quotas>,
    /// How much was used of quotas that gateways share.
    shared_quotas: Quotas,
    shards: Vec<Mutex<Shard>>,
    /// For each shard.
    bytes: usize,
}

#[derive(Default)]
struct Shard {
    counters: HashMap<Key, Recent>,
    shared: HashMap<(u8, Rate), Recent>,
    bytes: usize,
    /// The last second in which all of it was looked through.
    swept: i64,
}

/// The calls of the seconds that count, the oldest first.
#[derive(Default)]
struct Recent {
    marks: VecDeque<(i64, u64)>,
    sum: u64,
    period: i64,
    /// The bytes of the marks, as they were last added up.
    weighed: usize,
    /// What other gateways counted, where limits are shared.
    elsewhere: Option<Box<Elsewhere>>,
}

/// What was last told of a counter that is shared.
#[derive(Default)]
struct Elsewhere {
    /// When it was told.
    second: i64,
    /// Calls that others let by within the period before.
    calls: u64,
    /// The second in which more was used than this, which has to be no more for there to be room, and the seconds until it is.
    refused: Option<(i64, u64, u64)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::within(BYTES)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters are whole after every line that changes them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limits {
    /// With what is known of quotas.
    pub(crate) fn with(quotas: Arc<Quotas>) -> Self {
        Self { quotas, ..Self::default() }
    }

    fn within(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            proofs: Proofs::default(),
            signed_in: SignedIn::default(),
            quotas: Arc::default(),
            shared_quotas: Quotas::default(),
            shards,
            bytes: bytes / SHARDS,
        }
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard>> {
        let Key([first, ..]) = key;
        self.shards.get(usize::from(*first) % SHARDS).map(held)
    }

    /// Counts calls under this key, if there is room for them; else the seconds until there is.
    pub(crate) fn take(&self, key: Key, keys: Keys, rate: Rate, count: u64, now: Timestamp) -> Result<Counted, u64> {
        let now = now.0;
        let Some(mut shard) = self.shard(&key) else { return Err(1) };
        let remaining = shard.recent(key, keys, rate, now, self.bytes).take(rate, count, now);
        shard.weigh(key);
        remaining.map(|remaining| Counted { key, second: now, count, remaining, shared: false })
    }

    /// Counts a call under all of these, or under none: which one has no room, and the seconds until it has.
    fn take_all(&self, wanted: &[Wanted], now: Timestamp) -> Result<Vec<Counted>, (usize, u64)> {
        let mut taken: Vec<Counted> = Vec::with_capacity(wanted.len());
        for (at, it) in wanted.iter().enumerate() {
            match self.take(it.key, it.keys, it.rate, it.count, now) {
                Ok(counted) => taken.push(counted),
                Err(seconds) => {
                    for counted in &taken {
                        self.give_back(counted);
                    }
                    return Err((at, seconds));
                }
            }
        }
        Ok(taken)
    }

    /// Which of these was told to have no room within this second, and the seconds until it has.
    fn refused_just_now(&self, wanted: &[Wanted], now: Timestamp) -> Option<(usize, u64)> {
        wanted.iter().enumerate().find_map(|(at, it)| {
            let shard = self.shard(&it.key)?;
            let (second, least, wait) = shard.counters.get(&it.key)?.elsewhere.as_ref()?.refused?;
            (second == now.0 && it.rate.calls.saturating_sub(it.count) <= least).then_some((at, wait))
        })
    }

    /// Notes a call that is counted for all gateways, which come to this sum.
    fn note(&self, it: &Wanted, now: Timestamp, sum: u64) -> Counted {
        if let Some(mut shard) = self.shard(&it.key) {
            let recent = shard.recent(it.key, it.keys, it.rate, now.0, self.bytes);
            recent.period = it.rate.period;
            recent.forget(now.0);
            recent.add(it.count, now.0);
            shard.told(it.key, now.0, sum, None);
        }
        let remaining = it.rate.calls.saturating_sub(sum);
        Counted { key: it.key, second: now.0, count: it.count, remaining, shared: true }
    }

    /// Notes that there is no room for as long.
    fn note_refused(&self, it: &Wanted, now: Timestamp, wait: u64) {
        let Some(mut shard) = self.shard(&it.key) else { return };
        let recent = shard.recent(it.key, it.keys, it.rate, now.0, self.bytes);
        recent.period = it.rate.period;
        recent.forget(now.0);
        // So much of it is used up, whoever used it.
        let sum = it.rate.calls.saturating_sub(it.count.saturating_sub(1));
        shard.told(it.key, now.0, sum, Some((now.0, it.rate.calls.saturating_sub(it.count), wait)));
    }

    /// As if a call had not been made.
    pub(crate) fn give_back(&self, counted: &Counted) {
        // Where the key shares a counter it stays counted.
        let Some(mut shard) = self.shard(&counted.key) else { return };
        let Some(recent) = shard.counters.get_mut(&counted.key) else { return };
        let Some(mark) = recent.marks.iter_mut().find(|(second, _)| *second == counted.second) else { return };
        let count = counted.count.min(mark.1);
        mark.1 -= count;
        recent.sum = recent.sum.saturating_sub(count);
    }
}

impl Shard {
    /// The counter of this key: its own, or one that it shares.
    fn recent(&mut self, key: Key, keys: Keys, rate: Rate, now: i64, most: usize) -> &mut Recent {
        let is_new = !self.counters.contains_key(&key);
        if is_new && self.bytes >= most && self.swept != now {
            self.swept = now;
            self.counters.retain(|_, recent| !recent.is_over(now));
            self.bytes = self.counters.values().map(Recent::bytes).sum();
        }
        if is_new && self.bytes >= most && keys == Keys::OfCallers {
            let Key([_, second, ..]) = key;
            return self.shared.entry((second % SHARED, rate)).or_default();
        }
        if is_new {
            self.bytes += BOOKKEEPING;
        }
        self.counters.entry(key).or_default()
    }

    /// Notes what all gateways counted under this key, if it has a counter of its own.
    fn told(&mut self, key: Key, second: i64, sum: u64, refused: Option<(i64, u64, u64)>) {
        if let Some(recent) = self.counters.get_mut(&key) {
            let calls = sum.saturating_sub(recent.sum);
            recent.elsewhere = Some(Box::new(Elsewhere { second, calls, refused }));
        }
        self.weigh(key);
    }

    /// Notes what the counter of this key has come to weigh.
    fn weigh(&mut self, key: Key) {
        if let Some(recent) = self.counters.get_mut(&key) {
            let told = if recent.elsewhere.is_some() { size_of::<Elsewhere>() } else { 0 };
            let grown = recent.marks.capacity() * MARK + told;
            self.bytes = self.bytes.saturating_add(grown).saturating_sub(recent.weighed);
            recent.weighed = grown;
        }
    }
}

impl Recent {
    fn take(&mut self, rate: Rate, count: u64, now: i64) -> Result<u64, u64> {
        self.period = rate.period;
        self.forget(now);
        let told = self.elsewhere.as_ref().map(|elsewhere| (elsewhere.second, elsewhere.calls));
        let sum = self.sum.saturating_add(count).saturating_add(told.map_or(0, |(_, calls)| calls));
        if let Some(mut over) = sum.checked_sub(rate.calls).filter(|over| *over > 0) {
            let at = told.map_or(0, |(told, _)| self.marks.partition_point(|(second, _)| *second < told));
            let marks = self.marks.range(..at).copied().chain(told).chain(self.marks.range(at..).copied());
            for (second, calls) in marks {
                over = over.saturating_sub(calls);
                if over == 0 {
                    let wait = second.saturating_add(rate.period).saturating_sub(now);
                    return Err(u64::try_from(wait).unwrap_or(1).max(1));
                }
            }
            return Err(u64::try_from(rate.period).unwrap_or(1).max(1));
        }
        self.add(count, now);
        Ok(rate.calls - sum)
    }

    fn add(&mut self, count: u64, now: i64) {
        match self.marks.back_mut() {
            Some((second, calls)) if *second == now => *calls = calls.saturating_add(count),
            _ => self.marks.push_back((now, count)),
        }
        self.sum = self.sum.saturating_add(count);
    }

    /// Drops what is a period ago.
    fn forget(&mut self, now: i64) {
        // A clock that was put back: what seemed later is now, so that it counts no shorter, and not for ever.
        if self.marks.back().is_some_and(|(second, _)| *second > now) {
            for (second, _) in &mut self.marks {
                *second = now.min(*second);
            }
        }
        let since = now.saturating_sub(self.period);
        while let Some((_, calls)) = self.marks.front().filter(|(second, _)| *second <= since) {
            self.sum = self.sum.saturating_sub(*calls);
            self.marks.pop_front();
        }
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.second = now.min(elsewhere.second);
            if elsewhere.second <= since {
                self.elsewhere = None;
            }
        }
    }

    fn is_over(&self, now: i64) -> bool {
        let told = self.elsewhere.as_ref().map(|elsewhere| elsewhere.second);
        let last = self.marks.back().map(|(second, _)| *second).max(told);
        last.is_none_or(|second| second <= now.saturating_sub(self.period))
    }

    fn bytes(&self) -> usize {
        BOOKKEEPING + self.weighed
    }
}
