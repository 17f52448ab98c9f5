//! `quota_by_key`: so many calls, or kilobytes, of whoever has the same key, until its next window begins.
use super::quota::{ends, refusal, window};
use super::rate_limit_by_key::{Element, Source, key, sources, statuses};
use super::{Decided, Part, Pending, Phase, Policy};
use crate::after::Charge;
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Charged, Keys, Limits, Quota, Shared, Spending, Spent};
use crate::settings::{SettingsError, Spanned, World, fault, moment};
use decision::Timestamp;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// 0001-01-01T00:00:00Z, from which API Management counts windows: days and hours begin as in UTC, weeks on Mondays.
const FIRST: Timestamp = Timestamp(-62_135_596_800);

/// So many calls, or kilobytes, of whoever has the same key, within a window.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "quota_by_key")]
pub(crate) struct Table {
    /// Calls within a window.
    calls: Option<u64>,
    /// Kilobytes of bodies within a window, both ways. The call that uses up the last one goes through whole.
    bandwidth: Option<u64>,
    /// Seconds of a window, 300 or more; 0 for one that does not end.
    renewal_period: Spanned<i64>,
    /// What makes two calls those of one caller, as in `rate_limit_by_key`. One key is one counter, wherever it is written.
    counter_key: Spanned<Vec<Spanned<Element>>>,
    /// How much a call counts.
    #[serde(default = "super::rate_limit_by_key::one")]
    increment_count: Spanned<u64>,
    /// The statuses with which a call counts; by default all. A call counts until its status is known.
    increment_statuses: Option<Spanned<Vec<u16>>>,
    /// The moment that windows are counted from; by default 0001-01-01T00:00:00Z.
    #[schemars(with = "Option<crate::settings::schema::Moment>")]
    first_period_start: Option<Spanned<toml::value::Datetime>>,
    /// Whether all gateways count together, as `[shared_limits]` says; by default each counts alone.
    shared: Option<Spanned<bool>>,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let (calls, bytes, period) = window("quota_by_key", at, self.calls, self.bandwidth, &self.renewal_period)?;
        if (1..300).contains(&period) {
            let hint = "write 300 or more, or 0; for less there is `rate_limit_by_key`";
            return Err(fault(&self.renewal_period.span(), "the period is out of range", hint));
        }
        let count = *self.increment_count.get_ref();
        if count == 0 || calls.is_some_and(|calls| count > calls) {
            let hint = "write 1 to `calls`";
            return Err(fault(&self.increment_count.span(), "a call counts nothing, or more than there is", hint));
        }
        let shared = world.shared_limits(self.shared.as_ref())?;
        if let Some(at) = self.shared.as_ref().filter(|_| shared.is_some() && period == 0) {
            return Err(ends(at));
        }
        let started = moment(self.first_period_start.as_ref())?.unwrap_or(FIRST);
        Ok(Part::Rule(Arc::new(Rule {
            quota: Quota { calls, bytes, period, started },
            count,
            sources: sources("quota_by_key", &self.counter_key, world)?,
            statuses: statuses(self.increment_statuses.as_ref())?,
            limits: world.limits(),
            shared,
        })))
    }

    fn told(&self) -> String {
        let shared = super::rate_limit::shared(self.shared.as_ref());
        let each = format!("for each {}{shared}", super::rate_limit_by_key::told(&self.counter_key));
        super::quota::told(self.calls, self.bandwidth, *self.renewal_period.get_ref(), &each)
    }
}

struct Rule {
    quota: Quota,
    count: u64,
    sources: Vec<Source>,
    statuses: Option<Arc<[StatusCode]>>,
    limits: Arc<Limits>,
    shared: Option<Arc<Shared>>,
}

impl Rule {
    fn told(&self, call: &mut Call, spent: Result<Charged, Spent>) -> Decided {
        match spent {
            Ok(charged) => {
                let (bytes, statuses) = (self.quota.bytes.is_some(), self.statuses.clone());
                if bytes || statuses.is_some() {
                    call.after.charges.push(Charge { charged, bytes, statuses, shared: self.shared.clone() });
                }
                Decided::Pass
            }
            Err(spent) => Decided::Deny(Box::new(refusal(spent))),
        }
    }
}

impl Policy for Rule {
    fn phase(&self) -> Phase {
        Phase::Spend
    }

    fn decide(&self, call: &mut Call) -> Decided {
        if self.shared.is_some() {
            return Decided::Wait;
        }
        // Counters of other windows are others: what is over in one would be over in the other.
        let numbers = [self.quota.period, self.quota.started.0];
        let key = key(b"quota_by_key", &numbers, &self.sources, call);
        let spent = self.limits.quotas.spend(key, Keys::OfCallers, &self.quota, self.count, call.now);
        self.told(call, spent)
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let Some(shared) = &self.shared else { return Ok(()) };
            let numbers = [self.quota.period, self.quota.started.0];
            let key = key(b"shared quota_by_key", &numbers, &self.sources, call);
            let wanted = Spending { key, keys: Keys::OfCallers, quota: self.quota, count: self.count };
            let spent = shared.spend(&self.limits, &[wanted], call.now).await;
            // One was wanted, and one was charged.
            let spent = spent.and_then(|charged| charged.first().copied().ok_or(Spent::Calls(Some(1))));
            self.told(call, spent).outcome()
        })
    }
}
