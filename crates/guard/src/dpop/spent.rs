//! Which proofs were used, bounded: what cannot be remembered is refused, so that nothing is ever good twice.
use super::AHEAD;
use decision::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A proof, by digests of its key and of both key and id.
#[derive(Clone, Copy)]
pub(super) struct Id {
    key: u128,
    proof: u128,
}

impl Id {
    pub(super) fn of(thumbprint: &str, jti: &str) -> Self {
        let first = |digest: Sha256| u128::from_be_bytes(first_half(&digest.finalize().into()));
        let key = Sha256::new().chain_update(thumbprint);
        // Thumbprints are all of one length.
        Self { proof: first(key.clone().chain_update(jti)), key: first(key) }
    }
}

fn first_half(digest: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Before,
    Full,
}

/// Which proofs were used. One for all who serve the same callers, as long as any of them serves.
pub struct SpentProofs {
    /// So that few wait for each other. Which share a proof is in nobody can choose or foretell: who could would fill it.
    proofs: Vec<Mutex<Spans<HashSet<u128>>>>,
    /// How many of each key there are. Locked after a share of proofs, never before.
    of_keys: Vec<Mutex<Spans<HashMap<u128, u32>>>>,
    placed: RandomState,
    pub(super) most: usize,
    pub(super) most_of_key: usize,
    /// How old proofs may be, in seconds.
    max_age: AtomicI64,
    /// What was made before may have been used and forgotten.
    since: AtomicI64,
}

const SHARES: usize = 16;

/// What is kept of the present span of time and of the one before. Spans are as long as proofs have to be remembered.
#[derive(Default)]
struct Spans<T> {
    /// When the present span began.
    began: i64,
    now: T,
    before: T,
}

impl std::fmt::Debug for SpentProofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpentProofs").field("max_age", &self.max_age()).finish_non_exhaustive()
    }
}

impl SpentProofs {
    /// For proofs that are good for so many seconds: about as many as are used in twice that time, and of one key so many.
    pub fn new(max_age: i64, proofs: usize, of_one_key: usize) -> Self {
        Self {
            proofs: (0..SHARES).map(|_| Mutex::default()).collect(),
            of_keys: (0..SHARES).map(|_| Mutex::default()).collect(),
            placed: RandomState::new(),
            most: proofs,
            most_of_key: of_one_key.max(1),
            max_age: AtomicI64::new(max_age),
            since: AtomicI64::new(i64::MIN),
        }
    }

    /// From now on for proofs that are good for so many seconds; for those that are good for longer already, as before. Of what was made
    /// before, and could only now be good, it cannot be told whether it was used: it is not good.
    pub fn lengthen(&self, max_age: i64, now: Timestamp) {
        let before = self.max_age.fetch_max(max_age, Ordering::Relaxed);
        if before < max_age {
            self.since.fetch_max(now.0.saturating_sub(before), Ordering::Relaxed);
        }
    }

    /// How old proofs may be, in seconds.
    pub(super) fn max_age(&self) -> i64 {
        self.max_age.load(Ordering::Relaxed)
    }

    /// Whether it would be known that a proof that was made then has been used.
    pub(super) fn covers(&self, made: Timestamp) -> bool {
        made.0 >= self.since.load(Ordering::Relaxed)
    }

    /// Remembers a proof as long as it could be good, were it made by the fastest clock.
    pub(super) fn spend(&self, id: &Id, now: Timestamp) -> Result<(), Refused> {
        let span = (now.0, self.max_age().saturating_add(2 * AHEAD).max(1));
        let place = self.placed.hash_one(id.proof);
        let mut proofs = share(&self.proofs, place.into(), span)?;
        if proofs.now.contains(&id.proof) || proofs.before.contains(&id.proof) {
            return Err(Refused::Before);
        }
        if proofs.now.len() + proofs.before.len() >= self.most.div_ceil(SHARES) {
            return Err(Refused::Full);
        }
        let mut of_keys = share(&self.of_keys, id.key, span)?;
        let of = |span: &HashMap<u128, u32>| span.get(&id.key).copied().unwrap_or_default() as usize;
        if of(&of_keys.now) + of(&of_keys.before) >= self.most_of_key {
            return Err(Refused::Full);
        }
        *of_keys.now.entry(id.key).or_default() += 1;
        proofs.now.insert(id.proof);
        Ok(())
    }
}

/// One of the shares, for the span of now, by its length.
fn share<T: Default>(
    shares: &[Mutex<Spans<T>>],
    number: u128,
    span: (i64, i64),
) -> Result<MutexGuard<'_, Spans<T>>, Refused> {
    let at = usize::try_from(number % SHARES as u128).ok().and_then(|at| shares.get(at)).ok_or(Refused::Full)?;
    let mut share = at.lock().unwrap_or_else(PoisonError::into_inner);
    share.advance(span);
    Ok(share)
}

impl<T: Default> Spans<T> {
    /// A clock that is set back changes nothing: what is remembered stays.
    fn advance(&mut self, (now, length): (i64, i64)) {
        let over = now.saturating_sub(self.began).div_euclid(length);
        if over <= 0 {
            return;
        }
        let ended = std::mem::take(&mut self.now);
        self.before = if over == 1 { ended } else { T::default() };
        self.began = self.began.saturating_add(over.saturating_mul(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(spent: &SpentProofs, key: &str, jti: &str, second: i64) -> Result<(), Refused> {
        spent.spend(&Id::of(key, jti), Timestamp(second))
    }

    #[test]
    fn a_proof_is_good_once_for_as_long_as_it_could_be_good_at_all() {
        let spent = SpentProofs::new(60, 1_000, 100);
        for begin in [0, 69, 70, 1_000, 1_049] {
            let jti = begin.to_string();
            assert_eq!(at(&spent, "a", &jti, begin), Ok(()));
            for later in [0, 1, 35, 69, 70] {
                assert_eq!(at(&spent, "a", &jti, begin + later), Err(Refused::Before), "{begin} and {later} s");
            }
            assert_eq!(at(&spent, "b", &jti, begin), Ok(()), "another key's proof is another");
        }
        assert_eq!(at(&spent, "a", "x", 5_000), Ok(()));
        assert_eq!(at(&spent, "a", "x", 4_000), Err(Refused::Before), "though the clock was set back");
    }

    #[test]
    fn what_was_used_stays_used_when_proofs_become_good_for_longer() {
        for begin in [0, 30, 69, 1_005] {
            let spent = SpentProofs::new(60, 1_000, 100);
            assert_eq!(at(&spent, "a", "x", begin), Ok(()));
            spent.lengthen(300, Timestamp(begin + 40));
            spent.lengthen(10, Timestamp(begin + 41));
            assert_eq!(spent.max_age(), 300);
            for later in [40, 70, 140, 200, 310] {
                assert_eq!(at(&spent, "a", "x", begin + later), Err(Refused::Before), "{begin} and {later} s");
            }
            // Made when none was remembered as long: nobody could tell.
            assert!(!spent.covers(Timestamp(begin - 21)) && spent.covers(Timestamp(begin - 20)));
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_refused_and_one_key_has_no_more_than_its_part() {
        let spent = SpentProofs::new(60, 1_000_000, 3);
        for n in 0..3 {
            assert_eq!(at(&spent, "a", &n.to_string(), 10), Ok(()));
        }
        assert_eq!(at(&spent, "a", "3", 10), Err(Refused::Full));
        assert_eq!(at(&spent, "a", "0", 10), Err(Refused::Before), "and nothing was forgotten for it");
        assert_eq!(at(&spent, "a", "3", 139), Err(Refused::Full), "as long as any of them could be good");
        assert_eq!(at(&spent, "b", "3", 10), Ok(()), "others are served");
        assert_eq!(at(&spent, "a", "3", 140), Ok(()), "and then it is served again");
        let small = SpentProofs::new(60, 16, 100);
        let taken = (0..100).filter(|n| at(&small, &n.to_string(), "x", 10).is_ok()).count();
        assert!((1..=16).contains(&taken), "{taken} are remembered");
        assert!((0..100).all(|n| at(&small, &n.to_string(), "x", 10).is_err()), "and each of these was good once");
    }

    #[test]
    fn one_key_that_has_all_that_it_may_have_leaves_every_other_key_its_own() {
        let spent = SpentProofs::new(60, 1_600, 200);
        for n in 0..200 {
            assert_eq!(at(&spent, "a", &n.to_string(), 10), Ok(()), "{n}");
        }
        assert_eq!(at(&spent, "a", "200", 10), Err(Refused::Full));
        for key in 0..200 {
            assert_eq!(at(&spent, &format!("b{key}"), "x", 10), Ok(()), "{key}");
        }
    }
}
