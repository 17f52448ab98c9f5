//! Clients that ask for the same thing again and again (AADSTS50196; spec/entra.md section 10.3).
//!
//! What is got is kept: tokens for an hour, codes for one redemption. Whoever asks for the same thing more than a hundred
//! times a minute keeps nothing, or goes in a circle with a browser. How often is counted here, as one more fact; what
//! follows from it is for [`crate::admission`] to say.
//!
//! Only those are counted who were told before: renewals of one authorization, and sign-ins of one session without a
//! person's doing. On-Behalf-Of is not, since libraries without a cache exchange once for each call they take in, nor is a
//! client in its own name. Codes and devices come one to a sign-in.
use crate::facts::{Facts, ProofFacts};
use crate::id::{AppId, SessionId};
use crate::issuance::sha256;
use crate::model::Digest;
use crate::ports::Ports;
use decision::Timestamp;
use oauth::Form;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// More than this many times within [`SECONDS`] is a loop: fifty tabs that a browser opens again at once, or the threads of
/// a server whose token has just ended, are none.
pub const TIMES: u32 = 100;
/// How long the times are counted together, and then forgotten.
pub const SECONDS: i64 = 60;
/// How many things are remembered; those that were begun first are forgotten when there are more.
const THINGS: usize = 20_000;

/// How often things were asked for.
#[derive(Default)]
pub struct Loops(Mutex<HashMap<Digest, Asked>>);

#[derive(Clone, Copy)]
struct Asked {
    since: Timestamp,
    times: u32,
}

impl Loops {
    /// Counts that a thing is asked for; answers how often it was in this minute, this time included.
    pub fn again(&self, thing: Digest, now: Timestamp) -> u32 {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if things.len() >= THINGS && !things.contains_key(&thing) {
            room(&mut things, now);
        }
        let asked = things.entry(thing).or_insert(Asked { since: now, times: 0 });
        if now.since(asked.since) >= SECONDS {
            *asked = Asked { since: now, times: 0 };
        }
        asked.times = asked.times.saturating_add(1);
        asked.times
    }
}

/// What is over goes; if that is not half, the older half goes.
fn room(things: &mut HashMap<Digest, Asked>, now: Timestamp) {
    things.retain(|_, asked| now.since(asked.since) < SECONDS);
    if things.len() < THINGS / 2 {
        return;
    }
    let mut begun: Vec<Timestamp> = things.values().map(|asked| asked.since).collect();
    begun.sort_unstable();
    let middle = begun.get(begun.len() / 2).copied().unwrap_or(now);
    things.retain(|_, asked| asked.since > middle);
}

/// An authorization request that nobody typed or clicked for.
pub(crate) fn at_sign_in(ports: &Ports, request: &Form, client: AppId, session: SessionId, now: Timestamp) -> u32 {
    let value = |name| request.value(name).unwrap_or_default();
    let resources: Vec<&str> = request.values("resource").collect();
    let asked = (value("scope"), resources, value("claims"), value("redirect_uri"), value("response_type"));
    ports.loops.again(thing(&("authorize", client, session, asked)), now)
}

/// A token request, once its facts are gathered.
pub(crate) fn at_token(ports: &Ports, request: &Form, facts: &Facts, now: Timestamp) -> u32 {
    let ProofFacts::Refresh { record: Some(record), .. } = &facts.proof else { return 0 };
    let value = |name| request.value(name).unwrap_or_default();
    let asked = (value("scope"), value("resource"), value("claims"));
    ports.loops.again(thing(&("refresh", record.client, record.family, asked)), now)
}

fn thing(asked: &impl Serialize) -> Digest {
    sha256(&serde_json::to_vec(asked).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_800_000_000);

    #[test]
    fn times_are_counted_by_the_minute() {
        let loops = Loops::default();
        let thing = |n: u32| sha256(&n.to_be_bytes());
        for times in 1..=300 {
            assert_eq!(loops.again(thing(1), NOON.plus(i64::from(times) / 6)), times);
        }
        assert_eq!(loops.again(thing(2), NOON), 1, "another thing");
        assert_eq!(loops.again(thing(1), NOON.plus(59)), 301);
        assert_eq!(loops.again(thing(1), NOON.plus(60)), 1, "a minute later it begins anew");
        assert_eq!(loops.again(thing(1), NOON.plus(119)), 2);
    }

    #[test]
    fn memory_is_bounded_and_what_goes_in_a_circle_now_is_kept() {
        let loops = Loops::default();
        for n in 0..100_000_u32 {
            let now = NOON.plus(i64::from(n) / 1_000);
            loops.again(sha256(&n.to_be_bytes()), now);
            if n > 95_000 {
                loops.again(sha256(b"loop"), now);
            }
        }
        assert!(loops.0.lock().unwrap().len() <= THINGS);
        assert!(loops.again(sha256(b"loop"), NOON.plus(99)) > TIMES);
        // All in one second.
        let loops = Loops::default();
        for n in 0..50_000_u32 {
            loops.again(sha256(&n.to_be_bytes()), NOON);
        }
        assert!(loops.0.lock().unwrap().len() <= THINGS);
    }
}
