//! What may be used once, and was; and sessions that were ended before their time.
use decision::Timestamp;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// So many are remembered of each kind, about 16 MiB in all.
const MOST: usize = 1 << 16;

type Digest = u128;

/// What is remembered until it would be refused for its age. It outlives configurations: a reload makes nothing good again.
pub(crate) struct Spent {
    sessions: Mutex<Held>,
    /// Apart, so that whoever begins sign-ins by the thousand makes no session good again.
    states: Mutex<Held>,
}

impl Default for Spent {
    fn default() -> Self {
        Self { sessions: Mutex::new(Held::of(MOST)), states: Mutex::new(Held::of(MOST)) }
    }
}

impl Spent {
    /// Whether a session was ended.
    pub(super) fn has(&self, session: &str, now: Timestamp) -> bool {
        let held = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        held.entries.get(&digest([session])).is_some_and(|entry| now < entry.until)
    }

    /// Ends a session of this person that could have been used until then.
    pub(super) fn end(&self, session: &str, person: [&str; 2], until: Timestamp, now: Timestamp) {
        spend(&self.sessions, digest([session]), digest(person), until, now);
    }

    /// Uses a state, from this address; whether it was unused.
    pub(super) fn once(&self, state: &str, address: &str, until: Timestamp, now: Timestamp) -> bool {
        spend(&self.states, digest([state]), digest([address]), until, now)
    }
}

fn spend(held: &Mutex<Held>, what: Digest, whose: Digest, until: Timestamp, now: Timestamp) -> bool {
    held.lock().unwrap_or_else(PoisonError::into_inner).spend(what, Entry { until, whose }, now)
}

/// Digests, and until when they matter. Where there is no room for more, whoever has most has their first one forgotten: so nobody
/// gets those of others forgotten.
struct Held {
    most: usize,
    entries: HashMap<Digest, Entry>,
    /// By when they end.
    ends: BTreeSet<(Timestamp, Digest)>,
    /// The same of each by themselves.
    of_each: BTreeSet<(Digest, Timestamp, Digest)>,
    counts: HashMap<Digest, usize>,
    /// The counts in their order.
    largest: BTreeSet<(usize, Digest)>,
}

#[derive(Clone, Copy)]
struct Entry {
    until: Timestamp,
    /// Whose using it up this was.
    whose: Digest,
}

impl Held {
    fn of(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            ends: BTreeSet::new(),
            of_each: BTreeSet::new(),
            counts: HashMap::new(),
            largest: BTreeSet::new(),
        }
    }

    /// Whether it was not there. What is over is dropped with the first that comes after it.
    fn spend(&mut self, what: Digest, entry: Entry, now: Timestamp) -> bool {
        while let Some((_, over)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.forget(over);
        }
        if let Some(before) = self.entries.get(&what).copied() {
            if before.until < entry.until {
                self.forget(what);
                self.keep(what, Entry { whose: before.whose, ..entry });
            }
            return false;
        }
        if self.entries.len() >= self.most
            && let Some(first) = self.first()
        {
            self.forget(first);
        }
        self.keep(what, entry);
        true
    }

    /// What is forgotten where there is no room.
    fn first(&self) -> Option<Digest> {
        match self.largest.last() {
            Some((count, whose)) if *count > 1 => {
                self.of_each.range((*whose, Timestamp(i64::MIN), 0)..).next().map(|(_, _, what)| *what)
            }
            _ => self.ends.first().map(|(_, what)| *what),
        }
    }

    fn keep(&mut self, what: Digest, entry: Entry) {
        self.entries.insert(what, entry);
        self.ends.insert((entry.until, what));
        self.of_each.insert((entry.whose, entry.until, what));
        let count = self.counts.entry(entry.whose).or_default();
        self.largest.remove(&(*count, entry.whose));
        *count += 1;
        self.largest.insert((*count, entry.whose));
    }

    fn forget(&mut self, what: Digest) {
        let Some(Entry { until, whose }) = self.entries.remove(&what) else { return };
        self.ends.remove(&(until, what));
        self.of_each.remove(&(whose, until, what));
        let Some(count) = self.counts.get_mut(&whose) else { return };
        self.largest.remove(&(*count, whose));
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&whose);
        } else {
            self.largest.insert((*count, whose));
        }
    }
}

/// Of parts whose bounds are part of it.
fn digest<const N: usize>(parts: [&str; N]) -> Digest {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let whole: [u8; 32] = digest.finalize().into();
    u128::from_be_bytes(std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default()))
}

/// Compares digests, so that the time taken says nothing of the secret.
pub(super) fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp(second)
    }

    /// Whether a text was not there, spent by somebody until then.
    fn spends(held: &mut Held, text: &str, by: &str, until: i64, now: i64) -> bool {
        held.spend(digest([text]), Entry { until: at(until), whose: digest([by]) }, at(now))
    }

    fn is_whole(held: &Held) {
        assert!(held.entries.len() <= held.most);
        assert_eq!((held.ends.len(), held.of_each.len()), (held.entries.len(), held.entries.len()));
        assert_eq!(held.counts.values().sum::<usize>(), held.entries.len());
        assert_eq!(held.largest.len(), held.counts.len());
    }

    #[test]
    fn what_is_spent_is_remembered_until_it_ends() {
        let spent = Spent::default();
        assert!(spent.once("a", "192.0.2.1", at(10), at(0)));
        assert!(!spent.once("a", "192.0.2.2", at(10), at(9)), "whoever sends it");
        assert!(!spent.has("a", at(0)), "states are no sessions");
        spent.end("a", ["aad", "ada"], at(10), at(0));
        assert!(spent.has("a", at(9)) && !spent.has("a", at(10)) && !spent.has("b", at(0)));
        spent.end("a", ["aad", "ada"], at(20), at(1));
        spent.end("a", ["aad", "ada"], at(5), at(1));
        assert!(spent.has("a", at(19)), "the longest counts");
    }

    #[test]
    fn what_is_over_makes_room() {
        let mut held = Held::of(4);
        for number in 0..100 {
            assert!(spends(&mut held, &number.to_string(), "a", number + 3, number));
            is_whole(&held);
            assert!(number == 0 || !spends(&mut held, &(number - 1).to_string(), "a", number + 2, number));
        }
        assert_eq!(held.entries.len(), 3, "no more than matter");
    }

    #[test]
    fn who_spends_by_the_thousand_gets_nothing_of_others_forgotten() {
        let mut held = Held::of(100);
        for one in ["b", "c", "d"] {
            // These end first of all.
            assert!(spends(&mut held, &format!("of {one}"), one, 50, 0));
        }
        for number in 0..10_000 {
            assert!(spends(&mut held, &number.to_string(), "a", 1_000, 1));
            is_whole(&held);
        }
        // Those of several are the several's own matter, too.
        for number in 0..10_000 {
            assert!(spends(&mut held, &format!("x{number}"), &format!("e{}", number % 7), 1_000, 1));
            is_whole(&held);
        }
        for one in ["b", "c", "d"] {
            assert!(!spends(&mut held, &format!("of {one}"), one, 50, 1), "{one}");
        }
    }

    #[test]
    fn where_everybody_has_one_the_first_that_ends_is_forgotten() {
        let mut held = Held::of(3);
        for (text, until) in [("1", 30), ("2", 10), ("3", 20), ("4", 40)] {
            assert!(spends(&mut held, text, text, until, 0));
        }
        is_whole(&held);
        assert!(!spends(&mut held, "1", "1", 30, 0) && !spends(&mut held, "3", "3", 20, 0));
        assert!(spends(&mut held, "2", "2", 10, 0));
    }
}
