//! What may be used once, and was; and sessions that were ended before their time.
use decision::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// So many are remembered of each kind, about 8 MiB in all.
const MOST: usize = 1 << 16;

/// Digests, and until when they matter.
type Held = Mutex<HashMap<[u8; 32], Timestamp>>;

/// What is remembered until it would be refused for its age.
#[derive(Default)]
pub(crate) struct Spent {
    sessions: Held,
    /// Apart, so that whoever begins sign-ins by the thousand makes no session good again.
    states: Held,
}

impl Spent {
    /// Whether a session was ended.
    pub(super) fn has(&self, session: &str, now: Timestamp) -> bool {
        let held = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&digest(session)).is_some_and(|until| now < *until)
    }

    /// Ends a session that could have been used until then.
    pub(super) fn end(&self, session: &str, until: Timestamp, now: Timestamp) {
        spend(&self.sessions, session, until, now);
    }

    /// Uses a state; whether it was unused.
    pub(super) fn once(&self, state: &str, until: Timestamp, now: Timestamp) -> bool {
        spend(&self.states, state, until, now)
    }
}

/// Whether it was not there.
fn spend(held: &Held, text: &str, until: Timestamp, now: Timestamp) -> bool {
    // For a few instructions, save where it is full.
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    if held.len() >= MOST {
        held.retain(|_, until| now < *until);
    }
    if held.len() >= MOST
        && let Some(first) = held.iter().min_by_key(|(_, until)| **until).map(|(digest, _)| *digest)
    {
        held.remove(&first);
    }
    held.insert(digest(text), until).is_none_or(|before| before <= now)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Compares digests, so that the time taken says nothing of the secret.
pub(super) fn same(one: &str, other: &str) -> bool {
    digest(one) == digest(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_remembered_until_it_ends_and_no_more_than_that_of_it() {
        let spent = Spent::default();
        let at = Timestamp;
        assert!(spent.once("a", at(10), at(0)));
        assert!(!spent.once("a", at(10), at(9)));
        assert!(!spent.has("a", at(0)), "states are no sessions");
        spent.end("a", at(10), at(0));
        assert!(spent.has("a", at(9)) && !spent.has("a", at(10)) && !spent.has("b", at(0)));
        for number in 0..MOST + 10 {
            spent.once(&number.to_string(), at(100), at(20));
        }
        assert!(spent.states.lock().unwrap().len() <= MOST);
        assert!(spent.has("a", at(9)), "and sessions are kept apart");
    }
}
