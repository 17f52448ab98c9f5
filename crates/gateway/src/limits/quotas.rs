//! How much of what they may callers used, in windows that follow one another: in memory, bounded, and told to whoever adds it up for
//! all gateways.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::of([text.as_bytes()])
    }

    fn quota(calls: Option<u64>, bytes: Option<u64>, period: i64) -> Quota {
        Quota { calls, bytes, period, started: Timestamp(1_000) }
    }

    fn spend(quotas: &Quotas, of: &str, quota: &Quota, now: i64) -> Result<(), Spent> {
        quotas.spend(key(of), Keys::OfCallers, quota, 1, Timestamp(now)).map(drop)
    }

    #[test]
    fn a_quota_is_for_windows_from_its_start() {
        let quotas = Quotas::default();
        let two = quota(Some(2), None, 100);
        for (now, expected) in [
            (1_010, Ok(())),
            (1_099, Ok(())),
            (1_099, Err(Spent::Calls(Some(1)))),
            (1_100, Ok(())),
            (1_140, Ok(())),
            (1_150, Err(Spent::Calls(Some(50)))),
            (1_020, Err(Spent::Calls(Some(80)))),
            // Nobody who comes late makes the window new.
            (1_100, Err(Spent::Calls(Some(100)))),
            (1_200, Ok(())),
            (1_010, Ok(())),
            (1_020, Err(Spent::Calls(Some(80)))),
        ] {
            assert_eq!(spend(&quotas, "a", &two, now), expected, "at {now}");
        }
        for (now, expected) in [(900, Ok(())), (999, Ok(())), (999, Err(Spent::Calls(Some(1)))), (1_000, Ok(()))] {
            assert_eq!(spend(&quotas, "b", &two, now), expected, "before its start, at {now}");
        }
    }

    #[test]
    fn a_quota_for_life_does_not_come_back() {
        let quotas = Quotas::default();
        let one = quota(Some(1), None, 0);
        assert_eq!(spend(&quotas, "a", &one, 0), Ok(()));
        assert_eq!(spend(&quotas, "a", &one, i64::MAX), Err(Spent::Calls(None)));
    }

    #[test]
    fn bytes_count_once_they_went_by() {
        let quotas = Quotas::default();
        let kilobyte = quota(None, Some(1_024), 100);
        let take = |now| quotas.spend(key("a"), Keys::Configured, &kilobyte, 1, Timestamp(now));
        quotas.spend_bytes(&take(1_000).unwrap(), 1_023);
        let last = take(1_001).unwrap();
        quotas.spend_bytes(&last, u64::MAX);
        assert_eq!(take(1_002), Err(Spent::Bytes(Some(98))));
        assert!(take(1_100).is_ok());
        quotas.spend_bytes(&last, u64::MAX);
        assert!(take(1_101).is_ok(), "bytes of a window that is over count for no other");
    }

    #[test]
    fn a_call_can_count_for_several_and_be_given_back() {
        let quotas = Quotas::default();
        let five = quota(Some(5), None, 100);
        let take = |count| quotas.spend(key("a"), Keys::OfCallers, &five, count, Timestamp(1_000));
        let three = take(3).unwrap();
        assert_eq!(take(3), Err(Spent::Calls(Some(100))), "never more than there is");
        take(2).unwrap();
        assert!(take(1).is_err());
        quotas.give_back(&three);
        assert!(take(3).is_ok() && take(1).is_err());
    }

    #[test]
    fn what_is_owed_of_keys_without_number_takes_bounded_memory_while_nobody_asks_for_it() {
        let quotas = Quotas { are_kept: true, ..Quotas::within(SHARDS * COST * 10) };
        let one = quota(Some(1), None, 100);
        for at in 0..20_000 {
            let _ = spend(&quotas, &format!("made up {at}"), &one, 1_000 + at);
        }
        let owing: usize = quotas.shards.iter().map(|shard| held(shard).owing.len()).sum();
        assert!(owing <= SHARDS * (10 + usize::from(SHARED)), "{owing}");
    }

    #[test]
    fn keys_without_number_take_bounded_memory_and_get_nobody_a_new_quota() {
        let quotas = Quotas::within(SHARDS * COST * 10);
        let one = quota(Some(1), None, 100);
        assert_eq!(spend(&quotas, "victim", &one, 1_000), Ok(()));
        let passed = (0..50_000).filter(|at| spend(&quotas, &format!("made up {at}"), &one, 1_001).is_ok()).count();
        assert!(passed <= SHARDS * (10 + usize::from(SHARED)), "{passed}");
        assert_eq!(spend(&quotas, "victim", &one, 1_002), Err(Spent::Calls(Some(98))), "whoever is limited stays so");
        let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
        assert!(counters <= SHARDS * (10 + usize::from(SHARED)), "{counters}");
        let configured = |at: u32| quotas.spend(key(&format!("s{at}")), Keys::Configured, &one, 1, Timestamp(1_003));
        assert!((0..2_000).all(|at| configured(at).is_ok()), "subscriptions have their own");
        assert_eq!(spend(&quotas, "somebody new", &one, 1_100), Ok(()), "once windows are over there is room");
    }

    fn sum(of: &str, window: i64, calls: u64) -> Sum {
        let ends = Some(1_000 + (window + 1) * 100);
        Sum { key: key(of), window, ends, configured: false, calls, bytes: 0 }
    }

    fn wanted(of: &str, calls: u64) -> Spending {
        Spending { key: key(of), keys: Keys::OfCallers, quota: quota(Some(calls), None, 100), count: 1 }
    }

    /// What is owed of each key: the number of the window, calls, bytes.
    fn owed(quotas: &Quotas, most: usize) -> Vec<(i64, i64, i64)> {
        quotas.owed(most).iter().map(|owed| (owed.window, owed.calls, owed.bytes)).collect()
    }

    #[test]
    fn who_had_a_counter_keeps_it_when_there_is_room_for_no_other() {
        let quotas = Quotas::within(SHARDS * COST * 10);
        let two = quota(Some(2), None, 100);
        assert_eq!(spend(&quotas, "early", &two, 1_000), Ok(()));
        for at in 0..50_000 {
            let _ = spend(&quotas, &format!("made up {at}"), &two, 1_001);
        }
        assert_eq!(spend(&quotas, "early", &two, 1_002), Ok(()));
        assert_eq!(
            spend(&quotas, "late", &two, 1_002),
            Err(Spent::Calls(Some(98))),
            "the one that it shares is used up"
        );
        for other in [quota(Some(2), None, 200), quota(Some(3), None, 100), quota(None, Some(9), 100)] {
            assert_eq!(spend(&quotas, "late", &other, 1_003), Ok(()), "of another quota there are others to share");
        }
    }

    #[test]
    fn of_a_counter_that_is_shared_a_call_is_given_back_too() {
        let quotas = Quotas::within(0);
        let one = quota(Some(1), None, 100);
        for at in 0..100 {
            let key = key(&format!("made up {at}"));
            let charged = quotas.spend(key, Keys::OfCallers, &one, 1, Timestamp(1_000)).unwrap();
            quotas.give_back(&charged);
        }
    }

    #[test]
    fn what_is_owed_is_of_the_window_that_is_now() {
        let quotas = Quotas::kept();
        let five = quota(Some(5), None, 100);
        let take = |now| quotas.spend(key("a"), Keys::OfCallers, &five, 1, Timestamp(now)).unwrap();
        take(1_000);
        take(1_001);
        take(1_100);
        let shard = quotas.shard(&key("a")).unwrap();
        assert_eq!(held(shard).owing.len(), 1, "it is listed once");
        assert_eq!(owed(&quotas, 10), [(1, 1, 0)]);
        let charged = take(1_101);
        let taken = quotas.owed(10);
        quotas.spend_bytes(&charged, 7);
        assert_eq!(owed(&quotas, 10), [(1, 0, 7)], "what came after it was asked for is owed too");
        quotas.owe_again(&taken);
        assert_eq!(owed(&quotas, 10), [(1, 1, 0)]);
        take(1_200);
        quotas.owe_again(&taken);
        quotas.owe(key("a"), 1, 9, 9);
        assert_eq!(owed(&quotas, 10), [(2, 1, 0)], "what was taken of a window that is over is nobody's");
        assert_eq!(quotas.owed_of(key("a")), (2, 0, 0));
    }

    #[test]
    fn no_more_is_handed_out_at_once_than_was_asked_for() {
        let quotas = Quotas::kept();
        for at in 0..100 {
            spend(&quotas, &format!("{at}"), &quota(Some(5), None, 100), 1_000).unwrap();
        }
        assert_eq!([40, 40, 40, 40].map(|most| owed(&quotas, most).len()), [40, 40, 20, 0]);
    }

    #[test]
    fn sums_of_all_gateways_count_beside_what_they_were_not_told_yet_and_in_their_window_alone() {
        let quotas = Quotas::kept();
        let five = quota(Some(5), None, 100);
        assert_eq!(spend(&quotas, "a", &five, 1_100), Ok(()));
        quotas.know(&[sum("a", 0, 5), sum("b", 1, 5)]);
        assert_eq!(spend(&quotas, "a", &five, 1_101), Ok(()));
        assert_eq!(spend(&quotas, "b", &five, 1_101), Ok(()), "nobody was counted under it here");
        quotas.know(&[sum("a", 1, 2)]);
        assert_eq!(spend(&quotas, "a", &five, 1_102), Ok(()), "two, two that are owed, and this one");
        assert_eq!(spend(&quotas, "a", &five, 1_103), Err(Spent::Calls(Some(97))));
    }

    #[test]
    fn of_the_sums_that_were_kept_the_latest_count_and_no_more_than_there_is_room_for() {
        let five = quota(Some(5), None, 100);
        for order in [[0, 1], [1, 0]] {
            let quotas = Quotas::kept();
            for window in order {
                quotas.begin_with(&sum("a", window, if window == 0 { 5 } else { 4 }));
            }
            assert_eq!(spend(&quotas, "a", &five, 1_100), Ok(()));
            assert_eq!(spend(&quotas, "a", &five, 1_100), Err(Spent::Calls(Some(100))));
        }
        let quotas = Quotas::within(SHARDS * COST * 10);
        for at in 0..2_000 {
            quotas.begin_with(&sum(&format!("{at}"), 0, 5));
            quotas.begin_with(&Sum { configured: true, ..sum(&format!("configured {at}"), 0, 5) });
        }
        let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
        assert!((2_000..=2_000 + SHARDS * 10).contains(&counters), "{counters}");
    }

    #[test]
    fn a_call_counts_for_all_quotas_or_for_none() {
        let quotas = Quotas::default();
        let both = [wanted("a", 2), wanted("b", 1)];
        assert!(quotas.spend_all(&both, Timestamp(1_000)).is_ok());
        assert_eq!(quotas.spend_all(&both, Timestamp(1_000)), Err(Spent::Calls(Some(100))));
        assert_eq!(spend(&quotas, "a", &quota(Some(2), None, 100), 1_000), Ok(()));
    }

    #[test]
    fn what_all_gateways_used_is_known_in_its_window_and_where_there_is_room_for_it() {
        let quotas = Quotas::default();
        let now = |seconds: i64| Timestamp(1_000 + seconds);
        quotas.note(&wanted("a", 5), now(0), (2, 0), false);
        quotas.note(&wanted("a", 5), now(100), (5, 0), false);
        assert_eq!(quotas.spend_all(&[wanted("a", 5)], now(101)), Err(Spent::Calls(Some(99))));
        assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(100)), None, "it was not told that nothing is left");
        quotas.note(&wanted("a", 5), now(100), (5, 0), true);
        assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(100)), Some(Spent::Calls(Some(100))));
        assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(101)), None);
        let quotas = Quotas::within(SHARDS * COST * 10);
        for at in 0..50_000 {
            quotas.note(&wanted(&format!("made up {at}"), 5), now(0), (2, 0), false);
        }
        let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
        assert!(counters <= SHARDS * 10, "{counters}");
    }
}
