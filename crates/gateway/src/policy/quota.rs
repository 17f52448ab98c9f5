//! `quota`: so many calls, or kilobytes, of each subscription, until its next window begins.
use super::narrower::{About, MOST, once};
use super::rate_limit::shared;
use super::{Decided, Part, Pending, Phase, Policy};
use crate::after::Charge;
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Charged, Key, Keys, Limits, Quota, Shared, Spending, Spent};
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
    /// Whether all gateways count together, as `[shared_limits]` says; by default each counts alone.
    shared: Option<Spanned<bool>>,
    /// Quotas of single APIs, beside this one.
    #[serde(default)]
    api: Vec<Spanned<OfApi>>,
}

/// So many calls, or kilobytes, of each subscription to one API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "quota_api")]
struct OfApi {
    /// The API's name.
    name: Spanned<String>,
    /// Calls within a window.
    calls: Option<u64>,
    /// Kilobytes of bodies within a window, both ways.
    bandwidth: Option<u64>,
    /// Seconds of a window; 0 for one that does not end.
    renewal_period: Spanned<i64>,
    /// Quotas of single operations of it, beside this one.
    #[serde(default)]
    operation: Vec<Spanned<OfOperation>>,
}

/// So many calls, or kilobytes, of each subscription to one operation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "quota_operation")]
struct OfOperation {
    /// The operation's name.
    name: Spanned<String>,
    /// Calls within a window.
    calls: Option<u64>,
    /// Kilobytes of bodies within a window, both ways.
    bandwidth: Option<u64>,
    /// Seconds of a window; 0 for one that does not end.
    renewal_period: Spanned<i64>,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let window = |at: &Range<usize>, calls, bandwidth, period| window("quota", at, calls, bandwidth, period);
        let mut windows = vec![(About::All, window(at, self.calls, self.bandwidth, &self.renewal_period)?)];
        once(self.api.iter().map(|api| &api.get_ref().name))?;
        for api in &self.api {
            let OfApi { name, calls, bandwidth, renewal_period, operation } = api.get_ref();
            windows.push((About::api(name, world), window(&api.span(), *calls, *bandwidth, renewal_period)?));
            once(operation.iter().map(|operation| &operation.get_ref().name))?;
            for of_operation in operation {
                let OfOperation { name: operation, calls, bandwidth, renewal_period } = of_operation.get_ref();
                let window = window(&of_operation.span(), *calls, *bandwidth, renewal_period)?;
                windows.push((About::operation(name, operation, world), window));
            }
        }
        let shared = world.shared_limits(self.shared.as_ref())?;
        if let Some(at) = self.shared.as_ref().filter(|_| windows.iter().any(|(_, (_, _, period))| *period == 0)) {
            shared.as_ref().map_or(Ok(()), |_| Err(ends(at)))?;
        }
        Ok(Part::Rule(Arc::new(Rule { place: world.place().into(), windows, limits: world.limits(), shared })))
    }

    fn told(&self) -> String {
        let each = format!("for each subscription{}", shared(self.shared.as_ref()));
        let mut all = vec![told(self.calls, self.bandwidth, *self.renewal_period.get_ref(), &each)];
        for api in &self.api {
            let OfApi { name, calls, bandwidth, renewal_period, operation } = api.get_ref();
            all.push(told(*calls, *bandwidth, *renewal_period.get_ref(), &format!("to {}", name.get_ref())));
            for of_operation in operation {
                let OfOperation { name: operation, calls, bandwidth, renewal_period } = of_operation.get_ref();
                let each = format!("to {}/{}", name.get_ref(), operation.get_ref());
                all.push(told(*calls, *bandwidth, *renewal_period.get_ref(), &each));
            }
        }
        all.join("; ")
    }
}

/// Calls, bytes and seconds of a quota.
pub(super) type Window = (Option<u64>, Option<u64>, i64);

/// What can be counted.
pub(super) fn window(
    policy: &str,
    at: &Range<usize>,
    calls: Option<u64>,
    bandwidth: Option<u64>,
    period: &Spanned<i64>,
) -> Result<Window, SettingsError> {
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

/// What is kept for all gateways ends some day, so that made-up keys do not fill their memory for good.
pub(super) fn ends(shared: &Spanned<bool>) -> SettingsError {
    let hint = "write a period, or leave out `shared`";
    fault(&shared.span(), "a quota that is never renewed is not shared", hint)
}

/// What applies, in a line.
pub(super) fn told(calls: Option<u64>, bandwidth: Option<u64>, period: i64, each: &str) -> String {
    let calls = calls.map(|calls| format!("{calls} calls"));
    let bytes = bandwidth.map(|kilobytes| format!("{kilobytes} KB"));
    let most = calls.into_iter().chain(bytes).collect::<Vec<_>>().join(" and ");
    match period {
        0 => format!("{most} {each}, once"),
        seconds => format!("{most} in {seconds} s {each}"),
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
    /// At most [`MOST`] are about one call.
    windows: Vec<(About, Window)>,
    limits: Arc<Limits>,
    shared: Option<Arc<Shared>>,
}

impl Rule {
    /// The quotas that a call of this subscription is to count for, by what names their counters.
    fn wanted(&self, policy: &[u8], call: &Call, subscription: &str) -> impl Iterator<Item = Spending> {
        let started = call.admission.started.unwrap_or(Timestamp(0));
        let windows = self.windows.iter().filter(|(about, _)| about.covers(call));
        windows.map(move |(about, (calls, bytes, period))| {
            let quota = Quota { calls: *calls, bytes: *bytes, period: *period, started };
            let ([what, name], numbers) = (about.parts(), [period.to_be_bytes(), started.0.to_be_bytes()]);
            let (here, whose, numbers) = (self.place.as_bytes(), subscription.as_bytes(), numbers.as_flattened());
            let key = Key::of([policy, here, whose, what, name, numbers]);
            Spending { key, keys: Keys::Configured, quota, count: 1 }
        })
    }
}

impl Policy for Rule {
    fn phase(&self) -> Phase {
        Phase::Spend
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let Some(subscription) = &call.admission.subscription else { return Decided::Pass };
        if self.shared.is_some() {
            return Decided::Wait;
        }
        let mut taken: [Option<(Charged, bool)>; MOST] = [None; MOST];
        for (it, place) in self.wanted(b"quota", call, subscription).zip(&mut taken) {
            match self.limits.quotas.spend(it.key, it.keys, &it.quota, it.count, call.now) {
                Ok(charged) => *place = Some((charged, it.quota.bytes.is_some())),
                Err(spent) => {
                    // What one of them refuses counts for none.
                    taken.iter().flatten().for_each(|(charged, _)| self.limits.quotas.give_back(charged));
                    return Decided::Deny(Box::new(refusal(spent)));
                }
            }
        }
        let with_bytes = taken.into_iter().flatten().filter(|(_, bytes)| *bytes);
        let charge = |(charged, bytes)| Charge { charged, bytes, statuses: None, shared: None };
        call.after.charges.extend(with_bytes.map(charge));
        Decided::Pass
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let (Some(shared), Some(subscription)) = (&self.shared, &call.admission.subscription) else {
                return Ok(());
            };
            let wanted: Vec<_> = self.wanted(b"shared quota", call, subscription).collect();
            let spent = shared.spend(&self.limits, &wanted, call.now).await;
            let charged = spent.map_err(|spent| Box::new(refusal(spent)))?;
            let with_bytes = wanted.iter().zip(charged).filter(|(it, _)| it.quota.bytes.is_some());
            call.after.charges.extend(with_bytes.map(|(_, charged)| Charge {
                charged,
                bytes: true,
                statuses: None,
                shared: Some(Arc::clone(shared)),
            }));
            Ok(())
        })
    }
}
