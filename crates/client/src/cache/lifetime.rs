//! How long a token is kept, and from when on it is renewed ahead.
use crate::Token;
use decision::Timestamp;

/// A clock that was set back by more than this ends what was kept, for its age is no longer known.
const SET_BACK: i64 = 60;
/// A renewal that failed is tried again after so many seconds, and up to as many more.
const AGAIN: i64 = 5;

/// How long before its end a token is given up: clocks differ, and a call takes time.
///
/// ```
/// let leeway = client::Leeway::default();
/// let kept = |life: i64| leeway.kept(life).as_millis();
/// assert_eq!([3600, 121, 120, 30, 1, 0].map(kept), [3_480_000, 1_000, 60_000, 15_000, 500, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// So many seconds, for tokens that live longer than that.
    pub seconds: i64,
    /// Of a shorter life, so many percent.
    pub percent: i64,
}

impl Default for Leeway {
    fn default() -> Self {
        Self { seconds: 120, percent: 50 }
    }
}

impl Leeway {
    /// How long a token is kept that lives so many seconds.
    pub fn kept(self, life: i64) -> std::time::Duration {
        let millis = if life > self.seconds {
            life.saturating_sub(self.seconds.max(0)).saturating_mul(1000)
        } else {
            life.max(0).saturating_mul(10).saturating_mul((100 - self.percent).clamp(0, 100))
        };
        std::time::Duration::from_millis(millis.unsigned_abs())
    }
}

/// When an entry begins, is renewed ahead, and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    asked: i64,
    /// In milliseconds since 1970.
    until: i64,
    pub(super) renew: i64,
}

impl Lifetime {
    /// Of a token; `None` if it is not kept. `dice` spreads renewals.
    pub(super) fn of(token: &Token, leeway: Leeway, dice: u64) -> Option<Self> {
        let asked = token.asked_at.0;
        let kept = i64::try_from(leeway.kept(token.expires_at.since(token.asked_at)).as_millis()).ok()?;
        let own = asked.checked_mul(1000)?.checked_add(kept)?;
        let subject = token.subject_ends.map_or(i64::MAX, |ends| ends.0.saturating_mul(1000));
        let until = own.min(subject);
        if !token.stated || until <= asked.saturating_mul(1000) {
            return None;
        }
        // From 20 % of life left on, and somewhere in the next 10 %. What ends with its subject token cannot be renewed.
        let spread = i64::try_from(dice % 1000).unwrap_or_default();
        let tenth = kept / 10_000;
        let renew = asked.saturating_add(tenth * 8).saturating_add(tenth.saturating_mul(spread) / 1000);
        let renew = if until == subject { i64::MAX } else { renew };
        Some(Self { asked, until, renew })
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now.0.saturating_mul(1000) >= self.until || now.0.saturating_add(SET_BACK) < self.asked
    }

    /// Whole seconds until it is over.
    pub(super) fn left(&self, now: Timestamp) -> i64 {
        (self.until / 1000).saturating_sub(now.0).max(0)
    }

    /// When a renewal that begins now may begin again.
    pub(super) fn again(now: Timestamp, dice: u64) -> i64 {
        now.0.saturating_add(AGAIN + i64::try_from(dice % AGAIN.unsigned_abs()).unwrap_or_default())
    }
}
