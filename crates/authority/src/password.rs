//! Passwords: argon2id on a bounded pool.
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// As many at once as keep memory and latency bounded: each takes 19 MiB.
const AT_ONCE: usize = 2;
/// As many may wait: about three seconds' work. More are sent away, so that nobody's sign-in waits for a flood.
const WAITING: usize = 64;

/// What a hash costs. There is one way to get one that is safe: [`PasswordCost::default`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct PasswordCost {
    kibibytes: u32,
    passes: u32,
}

impl Default for PasswordCost {
    /// OWASP's recommendation of 2025: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { kibibytes: 19_456, passes: 2 }
    }
}

impl PasswordCost {
    /// Next to nothing, so that whatever else takes time at a sign-in can be measured. Protects no password.
    pub const FOR_STOPWATCHES_ONLY: Self = Self { kibibytes: 8, passes: 1 };

    fn argon2id(self) -> Argon2<'static> {
        let params = Params::new(self.kibibytes, self.passes, 1, None).unwrap_or_default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    /// Hashes a password for storage, in PHC form.
    pub fn hash(self, password: &str, salt: [u8; 16]) -> String {
        let hash = self.argon2id().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).unwrap_or_default()
    }
}

/// Hashes a password for storage, in PHC form.
pub fn password_hash(password: &str, salt: [u8; 16]) -> String {
    PasswordCost::default().hash(password, salt)
}

/// Verifies passwords, a bounded number at once.
pub(crate) struct Passwords {
    pool: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Compared with where there is no user, so that it takes the same time.
    decoy: Arc<OnceLock<Arc<str>>>,
    salt: [u8; 16],
    cost: PasswordCost,
}

impl Passwords {
    pub(crate) fn new(salt: [u8; 16], cost: PasswordCost) -> Self {
        Self { pool: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::default(), decoy: Arc::default(), salt, cost }
    }

    /// Nothing if too many wait already.
    pub(crate) async fn matches(&self, password: &str, hash: Option<&str>) -> Option<bool> {
        let place = Place::take(&self.waiting)?;
        let permit = self.pool.clone().acquire_owned().await.ok()?;
        drop(place);
        let known = hash.is_some();
        // Copied also where there is none: the cost of a copy would tell.
        let hash = Arc::<str>::from(hash.unwrap_or_default());
        let password = password.to_owned();
        let (decoy, salt, cost) = (Arc::clone(&self.decoy), self.salt, self.cost);
        let verified = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // Made at the first sign-in, whoever it is: starting is quick, and the first stranger takes no longer.
            let decoy = decoy.get_or_init(|| cost.hash("decoy", salt).into());
            let hash = if known { &hash } else { decoy };
            cost.argon2id().verify_password(password.as_bytes(), &**hash).is_ok()
        });
        Some(verified.await.unwrap_or(false) && known)
    }
}

/// A place in the queue, given back however the wait ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::AcqRel) < WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::{PasswordCost, Passwords, password_hash};

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::new([7; 16], PasswordCost::default());
        let hash = password_hash("correct horse", [1; 16]);
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.matches("correct horse", Some(&hash)).await, Some(true));
        assert_eq!(passwords.matches("battery staple", Some(&hash)).await, Some(false));
        assert_eq!(passwords.matches("decoy", None).await, Some(false), "nobody's password is no password");
        assert_eq!(passwords.matches("", Some("not a hash")).await, Some(false));
    }

    #[tokio::test]
    async fn a_19_a_flood_of_sign_ins_is_sent_away_rather_than_queued() {
        let passwords = std::sync::Arc::new(Passwords::new([7; 16], PasswordCost::default()));
        let held = passwords.pool.clone().acquire_many_owned(2).await.unwrap();
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let passwords = std::sync::Arc::clone(&passwords);
            flood.spawn(async move { passwords.matches("guess", Some("not a hash")).await });
        }
        let mut away = 0;
        while away < 200 - super::WAITING {
            assert_eq!(flood.join_next().await.unwrap().unwrap(), None);
            away += 1;
        }
        drop(held);
        while let Some(waited) = flood.join_next().await {
            assert_eq!(waited.unwrap(), Some(false));
        }
        assert_eq!(passwords.matches("guess", Some("not a hash")).await, Some(false), "places are given back");
    }
}
