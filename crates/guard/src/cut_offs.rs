//! What has been cut off: a bounded set that every request looks into, changed by the stream's receiver alone.
use arc_swap::ArcSwap;
use decision::contract::Claims;
use decision::{CutOff, Timestamp};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many are kept one by one. Beyond that everything of the tenant is cut off at once: its users renew their tokens, and
/// nothing that was cut off is let in for want of space.
const MOST: usize = 100_000;

/// From when on tokens are good again: those from a view that contains the change, and not from before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Void {
    pub(crate) change: u64,
    pub(crate) at: Timestamp,
}

impl Void {
    fn later(self, other: Self) -> Self {
        Self { change: self.change.max(other.change), at: self.at.max(other.at) }
    }
}

/// The cut-offs of one tenant at one authority.
pub(crate) struct CutOffs {
    set: ArcSwap<Set>,
    /// Strangers choose names; nobody but this process knows where they land.
    seed: RandomState,
}

#[derive(Clone, Default)]
struct Set {
    /// Grows with each change of the set.
    version: u64,
    voids: HashMap<u64, Void, Landed>,
}

/// Keys are hashes already.
#[derive(Clone, Default)]
struct Landed;

struct Itself(u64);

impl std::hash::Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl BuildHasher for Landed {
    type Hasher = Itself;
    fn build_hasher(&self) -> Itself {
        Itself(0)
    }
}

/// What a token is found by, worked out once for each token: see [`crate::Subscription::facets`].
pub struct Facets {
    hashes: Box<[u64]>,
    /// The newest change that its decision saw; `None` where the token does not say.
    view: Option<u64>,
    issued: Timestamp,
    /// The version of the set in which it was last looked for and not found.
    cleared: AtomicU64,
}

impl fmt::Debug for Facets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facets").field("issued", &self.issued).finish_non_exhaustive()
    }
}

impl Facets {
    /// Its memory, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.hashes.len() * 8
    }

    fn is_void(&self, void: Void) -> bool {
        match self.view {
            Some(view) => view < void.change || self.issued < void.at,
            None => self.issued <= void.at,
        }
    }
}

impl CutOffs {
    pub(crate) fn new() -> Self {
        Self { set: ArcSwap::from_pointee(Set { version: 1, ..Set::default() }), seed: RandomState::new() }
    }

    /// All that can name this token.
    pub(crate) fn facets(&self, claims: &Claims, kid: Option<&str>) -> Facets {
        let rh = claims.rh().and_then(|rh| rh.strip_prefix("1."));
        let mut parts = rh.unwrap_or_default().split('.');
        let view = parts.next().and_then(|view| view.parse().ok());
        let (session, grants) = (parts.next(), parts);
        let user = claims.subject().map(str::to_owned);
        let application = claims.client().map(str::to_owned);
        let of = |subject: CutOff| self.hash(&subject);
        let none = CutOff::default;
        let mut hashes = vec![
            of(none()),
            of(CutOff { user: user.clone(), ..none() }),
            of(CutOff { application: application.clone(), ..none() }),
            of(CutOff { user, application, ..none() }),
        ];
        hashes.extend(session.map(|session| of(CutOff { session: Some(session.to_owned()), ..none() })));
        hashes.extend(grants.map(|grant| of(CutOff { grant: Some(grant.to_owned()), ..none() })));
        hashes.extend(kid.map(|kid| of(CutOff { key: Some(kid.to_owned()), ..none() })));
        Facets {
            hashes: hashes.into(),
            view,
            issued: claims.issued_at().unwrap_or_default(),
            cleared: AtomicU64::new(0),
        }
    }

    /// Why a token is void, if it is. Nothing is allocated, and a token that was looked for since the last change of the
    /// set costs two loads.
    pub(crate) fn void(&self, facets: &Facets) -> Option<Void> {
        let set = self.set.load();
        if facets.cleared.load(Ordering::Relaxed) == set.version {
            return None;
        }
        let found = facets.hashes.iter().filter_map(|hash| set.voids.get(hash)).find(|void| facets.is_void(**void));
        if found.is_none() {
            facets.cleared.store(set.version, Ordering::Relaxed);
        }
        found.copied()
    }

    /// Adds some, and forgets those whose tokens have all expired. Called by one receiver.
    pub(crate) fn add(&self, cut: Vec<(CutOff, Void)>, forgotten_before: Timestamp) {
        if cut.is_empty() {
            return;
        }
        let mut set = Set::clone(&self.set.load());
        set.version += 1;
        set.voids.retain(|_, void| void.at >= forgotten_before);
        for (subject, void) in cut {
            let known = set.voids.entry(self.hash(&subject)).or_default();
            *known = known.later(void);
        }
        if set.voids.len() > MOST {
            let all = set.voids.values().fold(Void::default(), |all, void| all.later(*void));
            set.voids.clear();
            set.voids.insert(self.hash(&CutOff::default()), all);
        }
        self.set.store(set.into());
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.set.load().voids.len()
    }

    fn hash(&self, subject: &CutOff) -> u64 {
        let CutOff { tenant: _, user, application, session, grant, key } = subject;
        self.seed.hash_one((user, application, session, grant, key))
    }
}

#[cfg(test)]
mod tests {
    use super::{CutOffs, MOST, Void};
    use decision::contract::Claims;
    use decision::{CutOff, Timestamp};
    use serde_json::{Value, json};

    fn claims(rh: Value, iat: i64) -> Claims {
        serde_json::from_value(json!({"sub": "ada", "azp": "web", "iat": iat, "rh": rh})).unwrap()
    }

    fn is_void(cut_offs: &CutOffs, claims: &Claims) -> bool {
        let facets = cut_offs.facets(claims, Some("k1"));
        let set = cut_offs.set.load();
        facets.hashes.iter().filter_map(|hash| set.voids.get(hash)).any(|void| facets.is_void(*void))
    }

    #[test]
    fn a_token_is_void_if_all_that_is_named_is_its_own_and_it_is_from_before() {
        let text = |text: &str| Some(text.to_owned());
        let none = CutOff::default;
        let ours = [
            none(),
            CutOff { user: text("ada"), ..none() },
            CutOff { application: text("web"), ..none() },
            CutOff { user: text("ada"), application: text("web"), ..none() },
            CutOff { session: text("s"), ..none() },
            CutOff { grant: text("g1"), ..none() },
            CutOff { grant: text("g2"), ..none() },
            CutOff { key: text("k1"), ..none() },
        ];
        let others = [
            CutOff { user: text("web"), ..none() },
            CutOff { user: text("ada"), application: text("other"), ..none() },
            CutOff { session: text("g1"), ..none() },
            CutOff { grant: text("s"), ..none() },
            CutOff { key: text("k2"), ..none() },
        ];
        let void = Void { change: 7, at: Timestamp(100) };
        for (subjects, named) in [(&ours[..], true), (&others[..], false)] {
            for subject in subjects {
                let cut_offs = CutOffs::new();
                cut_offs.add(vec![(subject.clone(), void)], Timestamp(0));
                let judged = |rh: &str, iat| is_void(&cut_offs, &claims(json!(rh), iat));
                assert_eq!(judged("1.6.s.g1.g2", 100), named, "{subject:?}");
                // The decision saw the change, in the same second.
                assert!(!judged("1.7.s.g1.g2", 100), "{subject:?}");
                // A clock that was set back, or a log that was.
                assert_eq!(judged("1.8.s.g1.g2", 99), named, "{subject:?}");
                assert!(!judged("1.9.s.g1.g2", 101), "{subject:?}");
            }
        }
        // Without its place in the log a token is judged by its time alone.
        let cut_offs = CutOffs::new();
        cut_offs.add(vec![(none(), void)], Timestamp(0));
        for (rh, iat, expected) in [(Value::Null, 100, true), (json!("x"), 100, true), (json!("0.9"), 101, false)] {
            assert_eq!(is_void(&cut_offs, &claims(rh, iat)), expected);
        }
    }

    #[test]
    fn the_later_of_two_counts_and_what_nobody_can_hold_is_forgotten() {
        let cut_offs = CutOffs::new();
        let ada = || CutOff { user: Some("ada".into()), ..CutOff::default() };
        let bob = || CutOff { user: Some("bob".into()), ..CutOff::default() };
        cut_offs.add(vec![(ada(), Void { change: 9, at: Timestamp(200) })], Timestamp(0));
        cut_offs.add(vec![(ada(), Void { change: 7, at: Timestamp(100) })], Timestamp(0));
        assert!(is_void(&cut_offs, &claims(json!("1.8"), 200)), "an old one told again takes nothing back");
        cut_offs.add(vec![(bob(), Void { change: 10, at: Timestamp(900) })], Timestamp(201));
        assert_eq!(cut_offs.len(), 1);
    }

    #[test]
    fn the_set_is_bounded_and_nothing_is_let_in_for_it() {
        let cut_offs = CutOffs::new();
        let many = |from: usize, to: usize| -> Vec<_> {
            let named = |n: usize| CutOff { user: Some(format!("user {n}")), ..CutOff::default() };
            (from..to).map(|n| (named(n), Void { change: n as u64, at: Timestamp(50) })).collect()
        };
        cut_offs.add(many(0, MOST), Timestamp(0));
        assert_eq!(cut_offs.len(), MOST);
        assert!(!is_void(&cut_offs, &claims(json!("1.5"), 50)));
        cut_offs.add(many(MOST, MOST + 1), Timestamp(0));
        assert_eq!(cut_offs.len(), 1);
        assert!(is_void(&cut_offs, &claims(json!("1.5"), 50)), "everybody renews");
        assert!(!is_void(&cut_offs, &claims(json!(format!("1.{MOST}")), 51)));
    }
}
