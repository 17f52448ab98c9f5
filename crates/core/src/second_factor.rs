//! The second factor: time-based one-time passwords (RFC 6238) and recovery codes.
//!
//! One record a user, changed by compare-and-set: a code works once because its step must be newer than the last one, and
//! guesses are counted one after another, however many come at once.
use crate::id::{TenantId, UserId};
use crate::issuance;
use crate::model::Digest;
use crate::ports::Ports;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::Secret;
use serde::{Deserialize, Serialize};

/// Life of a code, in seconds (RFC 6238 section 4.1).
const STEP: i64 = 30;
/// Bytes of a secret (RFC 4226 section 4 recommends 160 bits).
pub(crate) const SECRET_BYTES: usize = 20;
/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// Wrong codes before the first delay.
const FREE_FAILURES: u32 = 5;
/// The longest delay, in seconds: who knows the password can slow the user down, and never shut them out. At this pace a
/// guess succeeds once in 38 years.
const LONGEST_DELAY: i64 = 3_600;
/// Letters and digits that nobody confuses when they copy them.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// A user's second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose.
    pub user: UserId,
    /// Counts the changes; the first is 1.
    pub version: u64,
    /// The secret, sealed for this user.
    pub secret: String,
    /// The step of the last code that was taken: none of it or before works again.
    pub last_step: u64,
    /// Keyed digests of the recovery codes that are left.
    pub recovery: Vec<Digest>,
    /// Wrong codes since the last right one.
    pub failures: u32,
    /// When the last of them came.
    pub last_failure: Timestamp,
}

/// What is sealed. The names keep a row of one user from being of use as another's, or a page's ticket as a secret.
#[derive(Serialize, Deserialize)]
struct Sealed {
    second_factor_of: (TenantId, UserId),
    secret: String,
}

/// What came of a code.
pub(crate) enum Tried {
    /// It is right. The record says that it was used.
    Right(SecondFactor),
    /// It is wrong. The record counts it.
    Wrong(SecondFactor),
    /// Not looked at: so many seconds must pass first.
    TooSoon(i64),
}

impl SecondFactor {
    /// A new one, once its owner has shown that their device makes its codes. With it, the recovery codes to show once.
    pub(crate) fn enrol(
        ports: &Ports,
        (tenant, user): (TenantId, UserId),
        secret: &[u8],
        code: &str,
        now: Timestamp,
    ) -> Option<(Self, Vec<Secret>)> {
        let last_step = step_of(ports, secret, code, now)?;
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code(ports)).collect();
        let sealed = Sealed { second_factor_of: (tenant, user), secret: URL_SAFE_NO_PAD.encode(secret) };
        let record = Self {
            tenant,
            user,
            version: 1,
            secret: ports.crypto.seal(&serde_json::to_vec(&sealed).unwrap_or_default()),
            last_step,
            recovery: codes.iter().map(|code| digest(ports, tenant, user, &plain(code))).collect(),
            failures: 0,
            last_failure: Timestamp::default(),
        };
        Some((record, codes.into_iter().map(Secret::new).collect()))
    }

    /// Tries a code. Whatever comes of it counts only once the record is committed.
    pub(crate) fn attempt(&self, ports: &Ports, code: &str, now: Timestamp) -> Tried {
        let wait = self.wait(now);
        if wait > 0 {
            return Tried::TooSoon(wait);
        }
        let next = Self { version: self.version.saturating_add(1), ..self.clone() };
        let code = plain(code);
        let used = self.opened(ports).and_then(|secret| step_of(ports, &secret, &code, now));
        if let Some(step) = used.filter(|step| *step > self.last_step) {
            return Tried::Right(Self { last_step: step, failures: 0, ..next });
        }
        let recovery = digest(ports, self.tenant, self.user, &code);
        if self.recovery.contains(&recovery) {
            let left = self.recovery.iter().filter(|known| **known != recovery).copied().collect();
            return Tried::Right(Self { recovery: left, failures: 0, ..next });
        }
        Tried::Wrong(Self { failures: self.failures.saturating_add(1), last_failure: now, ..next })
    }

    /// Seconds until a code is looked at again.
    fn wait(&self, now: Timestamp) -> i64 {
        if self.failures < FREE_FAILURES {
            return 0;
        }
        let doublings = (self.failures - FREE_FAILURES).min(16);
        let delay = (STEP << doublings).min(LONGEST_DELAY);
        // A clock that was set back must not make the delay longer.
        (delay - now.since(self.last_failure)).clamp(0, delay)
    }

    fn opened(&self, ports: &Ports) -> Option<Vec<u8>> {
        let sealed: Sealed = serde_json::from_slice(&ports.crypto.open(&self.secret)?).ok()?;
        let theirs = sealed.second_factor_of == (self.tenant, self.user);
        theirs.then(|| URL_SAFE_NO_PAD.decode(sealed.secret).ok()).flatten()
    }
}

/// The step at which this is the code: the present one, or one beside it, for clocks differ.
fn step_of(ports: &Ports, secret: &[u8], code: &str, now: Timestamp) -> Option<u64> {
    let code = plain(code);
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (code, present) = (code.parse::<u32>().ok()?, u64::try_from(now.0 / STEP).ok()?);
    // The newest first: an older step that happens to have the same code must not make it work twice.
    [present.saturating_add(1), present, present.saturating_sub(1)]
        .into_iter()
        .find(|step| ports.crypto.one_time_code(secret, *step) == code)
}

/// 50 bits, in two groups.
fn recovery_code(ports: &Ports) -> String {
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte & 31)).map_or('A', |letter| char::from(*letter));
    let text: String = issuance::random::<10>(ports).iter().map(letter).collect();
    let (one, other) = text.split_at(5);
    format!("{one}-{other}")
}

fn digest(ports: &Ports, tenant: TenantId, user: UserId, code: &str) -> Digest {
    ports.crypto.keyed_digest(&format!("recovery\0{tenant}\0{user}\0{code}"))
}

/// As people type it.
fn plain(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace() && *c != '-').take(32).collect::<String>().to_ascii_uppercase()
}
