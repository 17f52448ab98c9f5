//! `quota`: so many calls, or kilobytes, of each subscription, until its next window begins.
use super::{Decided, Part, Phase, Policy};
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Key, Limits, Quota, Spent};
use crate::settings::{SettingsError, Spanned, World, fault};
use decision::{CheckId, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// So many calls, or kilobytes, of each subscription within a window. Calls without a key of a subscription are not counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "quota")]
pub(crate) struct Table {
    /// Calls within a window.
    calls: Option<u64>,
    /// Kilobytes of bodies within a window, both ways. The call that uses up the last one goes through whole.
    bandwidth: Option<u64>,
    /// Seconds of a window. They follow one another from the moment that the subscription `started`; 0 for one that does not end.
    renewal_period: Spanned<i64>,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let most = [self.calls, self.bandwidth];
        if most.iter().all(Option::is_none) || most.contains(&Some(0)) {
            let hint = "write `calls` or `bandwidth`, 1 or more";
            return Err(fault(at, "`quota` says no number, or that nobody can call", hint));
        }
        let period = *self.renewal_period.get_ref();
        if !(0..=100 * 366 * 86_400).contains(&period) {
            let hint = "write seconds, or 0 for a quota that is never renewed";
            return Err(fault(&self.renewal_period.span(), "the period is out of range", hint));
        }
        Ok(Part::Rule(Arc::new(Rule {
            place: world.place().into(),
            calls: self.calls,
            bytes: self.bandwidth.map(|kilobytes| kilobytes.saturating_mul(1_024)),
            period,
            limits: world.limits(),
        })))
    }

    fn told(&self) -> String {
        let calls = self.calls.map(|calls| format!("{calls} calls"));
        let bytes = self.bandwidth.map(|kilobytes| format!("{kilobytes} KB"));
        let most = calls.into_iter().chain(bytes).collect::<Vec<_>>().join(" and ");
        match self.renewal_period.get_ref() {
            0 => format!("{most} for each subscription, once"),
            seconds => format!("{most} in {seconds} s for each subscription"),
        }
    }
}

struct Rule {
    /// Where it is written: the same subscription is counted there alone.
    place: Arc<str>,
    calls: Option<u64>,
    bytes: Option<u64>,
    period: i64,
    limits: Arc<Limits>,
}

impl Policy for Rule {
    fn phase(&self) -> Phase {
        Phase::Spend
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let Some(subscription) = &call.admission.subscription else { return Decided::Pass };
        let key = Key::of([b"quota".as_slice(), self.place.as_bytes(), subscription.as_bytes()]);
        let started = call.admission.started.unwrap_or(Timestamp(0));
        let quota = Quota { calls: self.calls, bytes: self.bytes, period: self.period, started };
        let (what, until) = match self.limits.spend(key, &quota, call.now) {
            Ok(()) => {
                if self.bytes.is_some() {
                    call.after.bytes.push(key);
                }
                return Decided::Pass;
            }
            Err(Spent::Calls(until)) => ("call volume", until),
            Err(Spent::Bytes(until)) => ("bandwidth", until),
        };
        let denial = Denial::of(CheckId::LimitQuota);
        Decided::Deny(Box::new(match until {
            None => denial.message(format!("Out of {what} quota.")),
            Some(seconds) => {
                let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
                let text =
                    format!("Out of {what} quota. Quota will be replenished in {hours:02}:{minutes:02}:{rest:02}.");
                denial.message(text).retry_after(seconds)
            }
        }))
    }
}
