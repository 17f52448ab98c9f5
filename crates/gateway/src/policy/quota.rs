//! `quota`: so many calls, or kilobytes, of each subscription, until its next window begins.
use super::{Decided, Part, Phase, Policy};
use crate::after::Charge;
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Key, Keys, Limits, Quota, Spent};
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
        let (calls, bytes, period) = window("quota", at, self.calls, self.bandwidth, &self.renewal_period)?;
        Ok(Part::Rule(Arc::new(Rule { place: world.place().into(), calls, bytes, period, limits: world.limits() })))
    }

    fn told(&self) -> String {
        told(self.calls, self.bandwidth, *self.renewal_period.get_ref(), "subscription")
    }
}

/// Calls, bytes and seconds of a quota that can be counted.
pub(super) fn window(
    policy: &str,
    at: &Range<usize>,
    calls: Option<u64>,
    bandwidth: Option<u64>,
    period: &Spanned<i64>,
) -> Result<(Option<u64>, Option<u64>, i64), SettingsError> {
    let most = [calls, bandwidth];
    if most.iter().all(Option::is_none) || most.contains(&Some(0)) {
        let hint = "write `calls` or `bandwidth`, 1 or more";
        return Err(fault(at, format!("`{policy}` says no number, or that nobody can call"), hint));
    }
    if !(0..=100 * 366 * 86_400).contains(period.get_ref()) {
        let hint = "write seconds, or 0 for a quota that is never renewed";
        return Err(fault(&period.span(), "the period is out of range", hint));
    }
    Ok((calls, bandwidth.map(|kilobytes| kilobytes.saturating_mul(1_024)), *period.get_ref()))
}

/// What applies, in a line.
pub(super) fn told(calls: Option<u64>, bandwidth: Option<u64>, period: i64, each: &str) -> String {
    let calls = calls.map(|calls| format!("{calls} calls"));
    let bytes = bandwidth.map(|kilobytes| format!("{kilobytes} KB"));
    let most = calls.into_iter().chain(bytes).collect::<Vec<_>>().join(" and ");
    match period {
        0 => format!("{most} for each {each}, once"),
        seconds => format!("{most} in {seconds} s for each {each}"),
    }
}

/// What callers are told whose quota is used up.
pub(super) fn refusal(spent: Spent) -> Denial {
    let (what, until) = match spent {
        Spent::Calls(until) => ("call volume", until),
        Spent::Bytes(until) => ("bandwidth", until),
    };
    let denial = Denial::of(CheckId::LimitQuota);
    match until {
        None => denial.message(format!("Out of {what} quota.")),
        Some(seconds) => {
            let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            let text = format!("Out of {what} quota. Quota will be replenished in {hours:02}:{minutes:02}:{rest:02}.");
            denial.message(text).retry_after(seconds)
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
        let started = call.admission.started.unwrap_or(Timestamp(0));
        let quota = Quota { calls: self.calls, bytes: self.bytes, period: self.period, started };
        let (period, started) = (self.period.to_be_bytes(), started.0.to_be_bytes());
        let key = Key::of([b"quota".as_slice(), self.place.as_bytes(), subscription.as_bytes(), &period, &started]);
        match self.limits.quotas.spend(key, Keys::Configured, &quota, 1, call.now) {
            Ok(charged) => {
                if self.bytes.is_some() {
                    call.after.charges.push(Charge { charged, bytes: true, statuses: None });
                }
                Decided::Pass
            }
            Err(spent) => Decided::Deny(Box::new(refusal(spent))),
        }
    }
}
