//! How often callers may be wrong: a delay that grows, never a lock-out, and never a record for each stranger. And how
//! often a client may ask at all.
//!
//! Whoever has to wait is told how long, and asking again makes it no longer. Client libraries replay an answer of 429 to
//! everybody behind the same client (spec/entra.md section 8.3), so at the token endpoint only what is the whole client's
//! fault is answered so: guesses at its credential, from one address; and more requests than it may make. No person's is.
//!
//! Held in memory and bounded: what is forgotten under a flood are the oldest of many thousand callers. An attempt counts as
//! wrong from its beginning until it has succeeded, so that a thousand at once are not judged by the same clean record.
use crate::denial::Denial;
use crate::id::{AppId, TenantId};
use crate::model::Digest;
use decision::{CheckId, Timestamp};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// How many callers are remembered.
const CALLERS: usize = 20_000;
/// After this long without another failure a caller has a clean record, in seconds.
const FORGIVEN: i64 = 900;
/// How many requests a second a client may make on average, unless the operator says otherwise: far more than one that keeps
/// its tokens, and so few that none can take the authority from the others for long.
pub const REQUESTS_PER_SECOND: u32 = 2_000;
/// How many seconds' worth of them may come at once.
const BURST: i64 = 10;
/// The least pause between two requests of a device, in seconds (RFC 8628 section 3.5).
pub const DEVICE_INTERVAL: i64 = 5;

/// Who is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Whoever signs in as this user, from wherever the user is not known; a digest, since the user need not exist.
    User(TenantId, Digest),
    /// Who signs in as this user from this address: a guesser elsewhere must not slow the user down.
    UserFrom(TenantId, Digest, Address),
    /// A browser that this user signed in with before.
    KnownBrowser(Digest),
    /// Who signs in from this address.
    SignInFrom(Address),
    /// Who proves to be this client from this address: a guesser elsewhere must not slow the client itself down.
    Client(AppId, Address),
    /// A browser, by the digest of its cookie, that types devices' codes.
    UserCodes(Digest),
    /// Who types devices' codes from this address.
    UserCodesFrom(Address),
    /// Who begins device authorizations from this address.
    DevicesFrom(Address),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requester {
    /// A client that proved who it is, from anywhere.
    Proven(TenantId, AppId),
    /// A client that proves nothing: anyone may use its name, so each address counts by itself.
    Unproven(TenantId, AppId, Address),
}

/// An address as it is counted: one subscriber of IPv6 has at least 2^64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Option<IpAddr>> for Address {
    fn from(address: Option<IpAddr>) -> Self {
        Self(match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Some(address) => address,
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        })
    }
}

/// What failures cost.
#[derive(Clone, Copy)]
enum Pace {
    /// So many cost nothing; then a delay that doubles from the first to the longest, in seconds.
    Growing(u32, i64, i64),
    /// So many at once, and another one each time so many seconds have passed: however many try, each waits for that only.
    Steady(i64, i64),
}

impl Caller {
    const fn pace(&self) -> Pace {
        match self {
            // Guessers share it with the person, so it never grows. Each address has a pace of its own that is fifteen times
            // slower: who has few of them comes nowhere near it, and keeps nobody out.
            Self::User(..) => Pace::Steady(100, 2),
            // A person who mistypes is not a guesser.
            Self::UserFrom(..) | Self::KnownBrowser(_) => Pace::Growing(20, 1, 30),
            Self::SignInFrom(_) => Pace::Growing(100, 1, 30),
            Self::Client(..) => Pace::Growing(30, 1, 60),
            // Codes live no longer than that: five guesses of 20^8 are all that a browser has.
            Self::UserCodes(_) => Pace::Growing(5, 900, 900),
            Self::UserCodesFrom(_) => Pace::Growing(50, 1, 60),
            Self::DevicesFrom(_) => Pace::Growing(300, 1, 60),
        }
    }
}

/// The records of all callers.
pub struct Limits {
    callers: Mutex<HashMap<Caller, Failures>>,
    devices: Mutex<HashMap<Digest, Pause>>,
    known: Mutex<HashMap<Digest, Timestamp>>,
    requests: Mutex<HashMap<Requester, Bucket>>,
    /// Nothing: as many as come.
    requests_per_second: Option<NonZeroU32>,
    unlimited: bool,
}

/// Requests that are still free, as they were at a moment.
#[derive(Clone, Copy)]
struct Bucket {
    left: i64,
    at: Timestamp,
}

impl Default for Limits {
    fn default() -> Self {
        Self::requests_per_second(REQUESTS_PER_SECOND)
    }
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    /// At a steady pace: until when they count.
    last: Timestamp,
}

/// The pause that a device must keep to.
#[derive(Clone, Copy)]
struct Pause {
    last: Timestamp,
    interval: i64,
}

/// Seconds of a wait, in words.
pub fn words(seconds: i64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        ..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_euclid(60) + i64::from(seconds % 60 > 0)),
    }
}

/// An attempt under way: it counts as wrong unless it succeeds.
#[must_use]
pub struct Attempt<'a> {
    limits: &'a Limits,
    callers: Vec<Caller>,
}

/// How many seconds a caller is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub i64);

impl Wait {
    /// The refusal of who was wrong too often.
    pub(crate) fn denial(self, after: &str, found: &str) -> Denial {
        let expected = format!("a wait of {} after so many {after}", words(self.0));
        Denial::new(CheckId::AttemptsLimited, expected, found).retry_after(self.0)
    }
}

impl Limits {
    /// Never makes anybody wait: for stopwatches only.
    #[doc(hidden)]
    pub fn unlimited() -> Self {
        Self { unlimited: true, ..Self::requests_per_second(0) }
    }

    /// Clients may make so many requests a second on average; 0 is as many as come.
    pub fn requests_per_second(rate: u32) -> Self {
        Self {
            callers: Mutex::default(),
            devices: Mutex::default(),
            known: Mutex::default(),
            requests: Mutex::default(),
            requests_per_second: NonZeroU32::new(rate),
            unlimited: false,
        }
    }

    /// Takes one of the requests that this client may make.
    ///
    /// # Errors
    /// If there is none left before the next second.
    pub fn request(&self, requester: Requester, now: Timestamp) -> Result<(), Wait> {
        let Some(rate) = self.requests_per_second else { return Ok(()) };
        let rate = i64::from(rate.get());
        let full = rate.saturating_mul(BURST);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        room(&mut requests, |bucket| bucket.at, now);
        let bucket = requests.entry(requester).or_insert(Bucket { left: full, at: now });
        let since = now.since(bucket.at).clamp(0, BURST);
        bucket.left = bucket.left.saturating_add(since.saturating_mul(rate)).min(full);
        bucket.at = bucket.at.max(now);
        if bucket.left == 0 {
            return Err(Wait(1));
        }
        bucket.left -= 1;
        Ok(())
    }

    /// Begins an attempt that is counted for each of these.
    ///
    /// # Errors
    /// If one of them has to wait. Trying meanwhile makes the wait no longer.
    pub fn attempt(&self, callers: &[Caller], now: Timestamp) -> Result<Attempt<'_>, Wait> {
        let mut known = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = callers.iter().filter_map(|caller| known.get(caller)?.wait(caller, now)).max();
        if let Some(seconds) = wait.filter(|_| !self.unlimited) {
            return Err(Wait(seconds));
        }
        for caller in callers {
            room(&mut known, |failures| failures.last, now);
            let failures = known.entry(*caller).or_insert(Failures { count: 0, last: now });
            *failures = failures.and_one(caller, now);
        }
        Ok(Attempt { limits: self, callers: callers.to_vec() })
    }

    /// Whether a device asks again before its interval is over. If so, its interval grows by five seconds (RFC 8628
    /// section 3.5).
    pub fn impatient(&self, device: Digest, now: Timestamp) -> bool {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        room(&mut devices, |pause| pause.last, now);
        let pause = devices.entry(device).or_insert(Pause { last: Timestamp(i64::MIN), interval: DEVICE_INTERVAL });
        // Moments are whole seconds: a pause of 4.99 may look like one of four.
        let early = pause.last.0 != i64::MIN && now.since(pause.last) < pause.interval - 1;
        *pause = Pause { last: now, interval: if early { (pause.interval + 5).min(60) } else { pause.interval } };
        early
    }

    /// Remembers that somebody signed in, by a digest of the user and of their browser or address: others who guess at the
    /// user's password elsewhere do not slow down those.
    pub fn remember(&self, user_and_place: Digest, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        room(&mut known, |last| *last, now);
        known.insert(user_and_place, now);
    }

    /// Whether the user is known by this browser, or at this address.
    pub fn knows(&self, user_and_place: Digest) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&user_and_place)
    }
}

impl Attempt<'_> {
    /// It was right: it is not counted.
    pub fn succeeded(self) {
        let mut known = self.limits.callers.lock().unwrap_or_else(PoisonError::into_inner);
        for caller in &self.callers {
            if let Some(failures) = known.get_mut(caller) {
                *failures = failures.but_one(caller);
            }
        }
    }
}

impl Failures {
    fn wait(self, caller: &Caller, now: Timestamp) -> Option<i64> {
        let left = match caller.pace() {
            Pace::Growing(free, first, longest) => {
                let beyond = self.count.checked_sub(free)?;
                let delay = first.saturating_mul(1 << beyond.min(20)).min(longest);
                self.last.plus(delay).since(now)
            }
            Pace::Steady(at_once, seconds) => {
                self.last.since(now).saturating_sub((at_once - 1).saturating_mul(seconds))
            }
        };
        (left > 0).then_some(left)
    }

    fn and_one(self, caller: &Caller, now: Timestamp) -> Self {
        match caller.pace() {
            Pace::Growing(..) => {
                let count = if now.since(self.last) >= FORGIVEN { 0 } else { self.count };
                Self { count: count.saturating_add(1), last: now }
            }
            Pace::Steady(_, seconds) => Self { last: self.last.max(now).plus(seconds), ..self },
        }
    }

    fn but_one(self, caller: &Caller) -> Self {
        match caller.pace() {
            Pace::Growing(..) => Self { count: self.count.saturating_sub(1), ..self },
            Pace::Steady(_, seconds) => Self { last: self.last.plus(-seconds), ..self },
        }
    }
}

/// Makes room for one more: when full, the oldest half goes, so that a flood costs each request little.
fn room<K: Hash + Eq, V>(map: &mut HashMap<K, V>, last: impl Fn(&V) -> Timestamp, now: Timestamp) {
    if map.len() < CALLERS {
        return;
    }
    map.retain(|_, value| now.since(last(value)) < FORGIVEN);
    if map.len() < CALLERS / 2 {
        return;
    }
    let mut times: Vec<Timestamp> = map.values().map(&last).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or(now);
    map.retain(|_, value| last(value) > middle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOON: Timestamp = Timestamp(1_800_000_000);

    fn fail(limits: &Limits, caller: Caller, at: Timestamp) -> Result<(), Wait> {
        limits.attempt(&[caller], at).map(drop)
    }

    fn user(n: u8) -> Caller {
        Caller::UserFrom(TenantId(Uuid::nil()), Digest([n; 32]), None.into())
    }

    #[test]
    fn a_19_delays_grow_to_a_bound_and_are_forgiven() {
        let limits = Limits::default();
        let mut now = NOON;
        for _ in 0..20 {
            assert_eq!(fail(&limits, user(1), now), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Err(Wait(seconds)) = fail(&limits, user(1), now) else { panic!("no delay") };
            assert_eq!(fail(&limits, user(1), now.plus(seconds - 1)), Err(Wait(1)), "asking makes it no longer");
            now = now.plus(seconds);
            assert_eq!(fail(&limits, user(1), now), Ok(()), "soft: after the delay one is let in");
            waits.push(seconds);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(fail(&limits, user(2), now), Ok(()), "nobody else waits");
        now = now.plus(FORGIVEN);
        for _ in 0..20 {
            assert_eq!(fail(&limits, user(1), now), Ok(()));
        }
    }

    #[test]
    fn a_19_a_thousand_attempts_at_once_are_not_judged_by_one_clean_record() {
        let limits = Limits::default();
        let under_way: Vec<_> = (0..1_000).map(|_| limits.attempt(&[user(1)], NOON)).collect();
        assert_eq!(under_way.iter().filter(|attempt| attempt.is_ok()).count(), 20);
        for attempt in under_way.into_iter().flatten() {
            attempt.succeeded();
        }
        assert_eq!(fail(&limits, user(1), NOON), Ok(()), "who was right is not counted");
    }

    #[test]
    fn a_19_whoever_shares_a_pace_with_a_thousand_guessers_waits_two_seconds_at_most() {
        let limits = Limits::default();
        let everywhere = Caller::User(TenantId(Uuid::nil()), Digest([1; 32]));
        let taken = |now: Timestamp| (0..1_000).filter(|_| fail(&limits, everywhere, now).is_ok()).count();
        assert_eq!(taken(NOON), 100);
        assert_eq!(fail(&limits, everywhere, NOON), Err(Wait(2)), "and however many have tried, no longer");
        assert_eq!((taken(NOON.plus(1)), taken(NOON.plus(2)), taken(NOON.plus(60))), (0, 1, 29));
        assert_eq!(taken(NOON.plus(60)), 0);
        assert_eq!(taken(NOON.plus(100_000)), 100, "no more than that is saved up");
        let now = NOON.plus(100_002);
        limits.attempt(&[everywhere], now).unwrap().succeeded();
        assert_eq!(taken(now), 1, "who was right took nothing");
    }

    #[test]
    fn a_19_memory_is_bounded_and_a_subscriber_has_one_record() {
        let limits = Limits::default();
        for n in 0..100_000_u32 {
            let address = Address::from(Some(IpAddr::from(n.to_be_bytes())));
            let now = NOON.plus(i64::from(n) / 1_000);
            let _ = fail(&limits, Caller::SignInFrom(address), now);
            assert!(!limits.impatient(Digest([u8::try_from(n % 251).unwrap_or(0); 32]), NOON.plus(i64::from(n) * 60)));
        }
        assert!(limits.callers.lock().unwrap().len() <= CALLERS);
        let one: Address = Some("2001:db8:1:2::1".parse().unwrap()).into();
        let other: Address = Some("2001:db8:1:2:ffff::9".parse().unwrap()).into();
        assert_eq!(one, other);
        assert_ne!(one, Address::from(Some("2001:db8:1:3::1".parse().unwrap())));
        let mapped: Address = Some("::ffff:192.0.2.1".parse().unwrap()).into();
        assert_eq!(mapped, Address::from(Some("192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn a_19_a_client_may_ask_so_often_and_no_other_client_waits_for_it() {
        let limits = Limits::requests_per_second(3);
        let requester = |n: u128| Requester::Proven(TenantId(Uuid::nil()), AppId(Uuid::from_u128(n)));
        let granted =
            |who: u128, at: i64| (0..100).take_while(|_| limits.request(requester(who), NOON.plus(at)).is_ok()).count();
        assert_eq!(granted(1, 0), 30, "ten seconds' worth at once");
        assert_eq!(limits.request(requester(1), NOON), Err(Wait(1)));
        assert_eq!(granted(2, 0), 30, "nobody else waits");
        assert_eq!(granted(1, 1), 3, "what is told is kept: a second later there are more");
        assert_eq!(granted(1, 3), 6);
        assert_eq!(granted(1, 2), 0, "a clock that goes back gives nothing");
        assert_eq!(granted(1, 3), 0, "nor does it give the same second twice");
        assert_eq!(granted(1, 1_000), 30, "and no more than that is saved up");
        assert_eq!(limits.request(requester(3), NOON), Ok(()));
        assert_eq!(granted(3, 1_000), 30, "by one that had some left, either");
        let unlimited = Limits::requests_per_second(0);
        assert!((0..100_000).all(|_| unlimited.request(requester(1), NOON).is_ok()));
    }

    #[test]
    fn a_19_requests_are_counted_for_a_bounded_number_of_clients() {
        let limits = Limits::default();
        for n in 0..100_000 {
            let address = Address::from(Some(IpAddr::from(u128::from(u32::MAX - n).to_be_bytes())));
            let address = if n % 2 == 0 { address } else { Address::from(Some(IpAddr::from(n.to_be_bytes()))) };
            let requester = Requester::Unproven(TenantId(Uuid::nil()), AppId(Uuid::from_u128(n.into())), address);
            assert_eq!(limits.request(requester, NOON.plus(i64::from(n) / 1_000)), Ok(()));
        }
        assert!(limits.requests.lock().unwrap().len() <= CALLERS);
    }

    #[test]
    fn a_20_a_device_that_asks_too_fast_must_slow_down_more_each_time() {
        let limits = Limits::default();
        let device = Digest([1; 32]);
        assert!(!limits.impatient(device, NOON));
        assert!(!limits.impatient(device, NOON.plus(5)));
        assert!(limits.impatient(device, NOON.plus(6)), "the interval is ten seconds now");
        assert!(limits.impatient(device, NOON.plus(12)), "fifteen");
        assert!(!limits.impatient(device, NOON.plus(27)));
        assert!(!limits.impatient(Digest([2; 32]), NOON.plus(27)));
    }
}
