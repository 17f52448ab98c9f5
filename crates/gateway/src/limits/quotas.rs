//! How much of what they may callers used, in windows that follow one another: in memory, bounded, and told to whoever adds it up for
//! all gateways.
#[cfg(test)]
mod tests;

use super::{Key, Keys, Spending, held};
use decision::Timestamp;
use std::collections::HashMap;
use std::sync::Mutex;

/// How many bytes of counters are kept.
const BYTES: usize = 16 << 20;
const NUMBER: u8 = 16;
const SHARDS: usize = NUMBER as usize;
/// What a counter costs: itself and its key in a table that has just grown.
const COST: usize = 288;
/// Counters that keys share, in each shard and for each quota, once there is no room for one of their own.
const SHARED: u8 = 64;

/// What may be used within windows that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) calls: Option<u64>,
    /// Bytes of bodies, both ways.
    pub(crate) bytes: Option<u64>,
    /// Seconds; 0 for a window that does not end.
    pub(crate) period: i64,
    /// When the first window began.
    pub(crate) started: Timestamp,
}

/// What was used up, and the seconds until there is more, if there ever is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    Calls(Option<u64>),
    Bytes(Option<u64>),
}

/// A call that was counted: its bytes can be added, and it can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged {
    pub(super) key: Key,
    pub(super) window: i64,
    pub(super) count: u64,
    /// Whether it is counted for all gateways.
    pub(super) shared: bool,
}

/// What was used of one counter within one window, and is in no sum yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) key: Key,
    /// The number of the window, and when it is over, if it ever is.
    pub(crate) window: i64,
    pub(crate) ends: Option<i64>,
    /// Whether the configuration names it, and no caller.
    pub(crate) configured: bool,
    pub(crate) calls: i64,
    pub(crate) bytes: i64,
}

/// What all gateways used of one counter within one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) key: Key,
    pub(crate) window: i64,
    pub(crate) ends: Option<i64>,
    pub(crate) configured: bool,
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

/// All counters of quotas. Who makes up keys cannot have others forgotten: where there is no room, and no window that is over,
/// new keys share counters with one another. One that shared and finds room later begins anew: it has its quota twice at most.
pub(crate) struct Quotas {
    shards: Vec<Mutex<Shard>>,
    /// Counters in each shard.
    most: usize,
    /// Whether somebody asks what is owed.
    are_kept: bool,
}

#[derive(Default)]
struct Shard {
    used: HashMap<Key, Used>,
    /// Those of which something is owed, where somebody asks.
    owing: Vec<Key>,
    /// The last second in which all of it was looked through.
    swept: i64,
}

#[derive(Default)]
struct Used {
    window: i64,
    ends: Option<i64>,
    calls: u64,
    bytes: u64,
    /// The part of it that whoever adds up for all gateways was not told.
    owed_calls: i64,
    owed_bytes: i64,
    /// The second in which all gateways had used it up.
    refused: Option<i64>,
    configured: bool,
    /// Whether it is among those of which something is owed.
    is_listed: bool,
}

impl Used {
    /// Adds to what it counts, and to what is owed of it.
    fn add(&mut self, calls: i64, bytes: i64) {
        self.calls = self.calls.saturating_add_signed(calls);
        self.bytes = self.bytes.saturating_add_signed(bytes);
        self.owe(calls, bytes);
    }

    /// Takes in what all gateways used, beside which there is what is owed.
    fn know(&mut self, calls: u64, bytes: u64) {
        self.calls = calls.saturating_add_signed(self.owed_calls);
        self.bytes = bytes.saturating_add_signed(self.owed_bytes);
    }

    fn owe(&mut self, calls: i64, bytes: i64) {
        self.owed_calls = self.owed_calls.saturating_add(calls);
        self.owed_bytes = self.owed_bytes.saturating_add(bytes);
    }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Default for Quotas {
    fn default() -> Self {
        Self::within(BYTES)
    }
}

impl Quota {
    /// The number of the window at this moment, and when it ends.
    fn window(&self, now: Timestamp) -> (i64, Option<i64>) {
        if self.period <= 0 {
            return (0, None);
        }
        let since = now.0.saturating_sub(self.started.0);
        let ends = now.0.saturating_add(self.period - since.rem_euclid(self.period));
        (since.div_euclid(self.period), Some(ends))
    }

    /// The seconds until the next window begins, if one does.
    pub(crate) fn until(&self, now: Timestamp) -> Option<u64> {
        let (_, ends) = self.window(now);
        ends.map(|ends| u64::try_from(ends.saturating_sub(now.0)).unwrap_or(1).max(1))
    }

    /// Whether a call finds nothing left.
    fn spent(&self, used: &Used, count: u64, now: Timestamp) -> Result<(), Spent> {
        let over = |most: Option<u64>, used: u64| most.is_some_and(|most| used >= most);
        if over(self.calls, used.calls.saturating_add(count.saturating_sub(1))) {
            return Err(Spent::Calls(self.until(now)));
        }
        if over(self.bytes, used.bytes) {
            return Err(Spent::Bytes(self.until(now)));
        }
        Ok(())
    }
}

impl Quotas {
    fn within(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, most: bytes / COST / SHARDS, are_kept: false }
    }

    /// For somebody who keeps what is owed, and asks for it.
    pub(crate) fn kept() -> Self {
        Self { are_kept: true, ..Self::default() }
    }

    fn shard(&self, key: &Key) -> Option<&Mutex<Shard>> {
        let Key([first, ..]) = key;
        self.shards.get(usize::from(*first) % SHARDS)
    }

    /// Counts a call, if there is room for it. The key is one of this quota's windows alone: their length and start are part of it.
    pub(crate) fn spend(
        &self,
        key: Key,
        keys: Keys,
        quota: &Quota,
        count: u64,
        now: Timestamp,
    ) -> Result<Charged, Spent> {
        let (window, ends) = quota.window(now);
        let Some(shard) = self.shard(&key) else { return Err(Spent::Calls(quota.until(now))) };
        let shard = &mut *held(shard);
        let key = shard.place(key, keys, quota, now.0, self.most);
        let used = shard.used.entry(key).or_default();
        // Who read the clock before this window began, and was counted after that, counts in it.
        let is_late = used.ends.is_some() && used.window == window.saturating_add(1);
        let (window, ends) = if is_late { (used.window, used.ends) } else { (window, ends) };
        if used.window < window {
            // What is owed of a window that is over is nobody's.
            *used = Used { is_listed: used.is_listed, ..Used::default() };
        }
        // A clock that was put back gives nobody a new window.
        (used.window, used.ends, used.configured) = (window, ends, keys == Keys::Configured);
        quota.spent(used, count, now)?;
        used.add(signed(count), 0);
        if self.are_kept && !std::mem::replace(&mut used.is_listed, true) {
            shard.owing.push(key);
        }
        Ok(Charged { key, window, count, shared: false })
    }

    /// Counts a call for all of these, or for none.
    pub(super) fn spend_all(&self, wanted: &[Spending], now: Timestamp) -> Result<Vec<Charged>, Spent> {
        let mut taken: Vec<Charged> = Vec::with_capacity(wanted.len());
        for it in wanted {
            match self.spend(it.key, it.keys, &it.quota, it.count, now) {
                Ok(charged) => taken.push(charged),
                Err(spent) => {
                    for charged in &taken {
                        self.give_back(charged);
                    }
                    return Err(spent);
                }
            }
        }
        Ok(taken)
    }

    /// What all gateways had used up within this second.
    pub(super) fn refused_just_now(&self, wanted: &[Spending], now: Timestamp) -> Option<Spent> {
        wanted.iter().find_map(|it| {
            let shard = held(self.shard(&it.key)?);
            let used = shard.used.get(&it.key).filter(|used| used.refused == Some(now.0))?;
            it.quota.spent(used, it.count, now).err()
        })
    }

    /// Notes the sums of all gateways, with this call or without.
    pub(super) fn note(&self, it: &Spending, now: Timestamp, sums: (u64, u64), refused: bool) -> Charged {
        let (window, ends) = it.quota.window(now);
        if let Some(shard) = self.shard(&it.key) {
            let mut shard = held(shard);
            // Where there is no room for it, it is not known later.
            if shard.place(it.key, it.keys, &it.quota, now.0, self.most) == it.key {
                let used = shard.used.entry(it.key).or_default();
                if used.window != window {
                    *used = Used { window, ends, ..Used::default() };
                }
                used.know(sums.0, sums.1);
                used.refused = refused.then_some(now.0);
            }
        }
        Charged { key: it.key, window, count: it.count, shared: true }
    }

    /// Takes what is owed of this counter: the number of its window, calls, bytes.
    pub(super) fn owed_of(&self, key: Key) -> (i64, i64, i64) {
        let Some(shard) = self.shard(&key) else { return (0, 0, 0) };
        let mut shard = held(shard);
        let Some(used) = shard.used.get_mut(&key) else { return (0, 0, 0) };
        (used.window, std::mem::take(&mut used.owed_calls), std::mem::take(&mut used.owed_bytes))
    }

    /// Notes that so much of this counter is to be told yet. Of a window that is over nothing is.
    pub(super) fn owe(&self, key: Key, window: i64, calls: i64, bytes: i64) {
        let Some(shard) = self.shard(&key) else { return };
        if let Some(used) = held(shard).used.get_mut(&key).filter(|used| used.window == window) {
            used.owe(calls, bytes);
        }
    }

    /// Takes what is owed of all counters, or of so many of them.
    pub(crate) fn owed(&self, most: usize) -> Vec<Owed> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = &mut *held(shard);
            let left = shard.owing.len().saturating_sub(most.saturating_sub(all.len()));
            for key in shard.owing.drain(left..) {
                let Some(used) = shard.used.get_mut(&key) else { continue };
                used.is_listed = false;
                let (calls, bytes) = (std::mem::take(&mut used.owed_calls), std::mem::take(&mut used.owed_bytes));
                if (calls, bytes) != (0, 0) {
                    let Used { window, ends, configured, .. } = *used;
                    all.push(Owed { key, window, ends, configured, calls, bytes });
                }
            }
        }
        all
    }

    /// What was taken is owed still: nobody added it up.
    pub(crate) fn owe_again(&self, all: &[Owed]) {
        for Owed { key, window, calls, bytes, .. } in all {
            let Some(shard) = self.shard(key) else { continue };
            let shard = &mut *held(shard);
            let Some(used) = shard.used.get_mut(key).filter(|used| used.window == *window) else { continue };
            used.owe(*calls, *bytes);
            if !std::mem::replace(&mut used.is_listed, true) {
                shard.owing.push(*key);
            }
        }
    }

    /// Takes in sums of all gateways, of counters that are there.
    pub(crate) fn know(&self, all: &[Sum]) {
        for sum in all {
            let Some(shard) = self.shard(&sum.key) else { continue };
            if let Some(used) = held(shard).used.get_mut(&sum.key).filter(|used| used.window == sum.window) {
                used.know(sum.calls, sum.bytes);
            }
        }
    }

    /// Begins with this sum, if there is room for it.
    pub(crate) fn begin_with(&self, sum: &Sum) {
        let Some(shard) = self.shard(&sum.key) else { return };
        let used = &mut held(shard).used;
        if !sum.configured && used.len() >= self.most {
            return;
        }
        let Sum { window, ends, configured, calls, bytes, .. } = *sum;
        // Of several windows the latest is now.
        if used.get(&sum.key).is_none_or(|known| known.window < window) {
            used.insert(sum.key, Used { window, ends, calls, bytes, configured, ..Used::default() });
        }
    }

    /// Adds the bytes of a call that was counted.
    pub(crate) fn spend_bytes(&self, charged: &Charged, bytes: u64) {
        self.with(charged, |used| used.add(0, signed(bytes)));
    }

    /// As if a call had not been made.
    pub(crate) fn give_back(&self, charged: &Charged) {
        self.with(charged, |used| used.add(-signed(charged.count), 0));
    }

    /// A call whose window is over by now counts for none.
    fn with(&self, charged: &Charged, change: impl FnOnce(&mut Used)) {
        let Some(shard) = self.shard(&charged.key) else { return };
        let shard = &mut *held(shard);
        if let Some(used) = shard.used.get_mut(&charged.key).filter(|used| used.window == charged.window) {
            change(used);
            if self.are_kept && !std::mem::replace(&mut used.is_listed, true) {
                shard.owing.push(charged.key);
            }
        }
    }
}

impl Shard {
    /// The counter of this key: its own, or one that it shares.
    fn place(&mut self, key: Key, keys: Keys, quota: &Quota, now: i64, most: usize) -> Key {
        if keys == Keys::Configured || self.used.len() < most || self.used.contains_key(&key) {
            return key;
        }
        if self.swept != now {
            self.swept = now;
            self.used.retain(|_, used| used.ends.is_none_or(|ends| ends > now));
            let used = &self.used;
            self.owing.retain(|key| used.contains_key(key));
        }
        if self.used.len() < most {
            return key;
        }
        let Key([first, second, ..]) = key;
        let times = [quota.period.to_be_bytes(), quota.started.0.to_be_bytes()];
        let [calls, bytes] = [quota.calls, quota.bytes].map(|most| most.unwrap_or(u64::MAX).to_be_bytes());
        let Key(mut shared) = Key::of([b"shared".as_slice(), &[second % SHARED], times.as_flattened(), &calls, &bytes]);
        // It is found in this shard again.
        if let Some(byte) = shared.first_mut() {
            *byte = first % NUMBER;
        }
        Key(shared)
    }
}
