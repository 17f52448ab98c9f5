//! `rate_limit`: so many calls of each subscription within a while.
use super::narrower::{About, MOST, once};
use super::{Decided, Part, Pending, Phase, Policy};
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Counted, Key, Keys, Limits, Rate, Shared, Wanted};
use crate::settings::{SettingsError, Spanned, World, fault, field_name};
use decision::CheckId;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// So many calls of each subscription within a while. Calls without a key of a subscription are not counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "rate_limit")]
pub(crate) struct Table {
    /// Calls within `renewal_period`.
    calls: Spanned<u64>,
    /// Seconds, 1 to 300. Each call counts for as long from its own second on.
    renewal_period: Spanned<i64>,
    /// The field of refusals that says in how many seconds to try again; by default `Retry-After`.
    retry_after_header_name: Option<Spanned<String>>,
    /// A field of answers that says how many calls are left.
    remaining_calls_header_name: Option<Spanned<String>>,
    /// A field of answers that says `calls`.
    total_calls_header_name: Option<Spanned<String>>,
    /// Whether all gateways count together, as `[shared_limits]` says; by default each counts alone.
    shared: Option<Spanned<bool>>,
    /// Limits of single APIs, beside this one.
    #[serde(default)]
    api: Vec<OfApi>,
}

/// So many calls of each subscription to one API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "rate_limit_api")]
struct OfApi {
    /// The API's name.
    name: Spanned<String>,
    /// Calls within `renewal_period`.
    calls: Spanned<u64>,
    /// Seconds, 1 to 300.
    renewal_period: Spanned<i64>,
    /// Limits of single operations of it, beside this one.
    #[serde(default)]
    operation: Vec<OfOperation>,
}

/// So many calls of each subscription to one operation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "rate_limit_operation")]
struct OfOperation {
    /// The operation's name.
    name: Spanned<String>,
    /// Calls within `renewal_period`.
    calls: Spanned<u64>,
    /// Seconds, 1 to 300.
    renewal_period: Spanned<i64>,
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let mut rates = vec![(About::All, rate(&self.calls, &self.renewal_period)?)];
        once(self.api.iter().map(|api| &api.name))?;
        for api in &self.api {
            rates.push((About::api(&api.name, world), rate(&api.calls, &api.renewal_period)?));
            once(api.operation.iter().map(|operation| &operation.name))?;
            for OfOperation { name, calls, renewal_period } in &api.operation {
                rates.push((About::operation(&api.name, name, world), rate(calls, renewal_period)?));
            }
        }
        Ok(Part::Rule(Arc::new(RateLimit {
            place: world.place().into(),
            rates,
            fields: Fields::read(
                self.retry_after_header_name.as_ref(),
                self.remaining_calls_header_name.as_ref(),
                self.total_calls_header_name.as_ref(),
            )?,
            limits: world.limits(),
            shared: world.shared_limits(self.shared.as_ref())?,
        })))
    }

    fn told(&self) -> String {
        let (calls, period) = (self.calls.get_ref(), self.renewal_period.get_ref());
        let mut told =
            vec![format!("{calls} calls in {period} s for each subscription{}", shared(self.shared.as_ref()))];
        for api in &self.api {
            let (name, calls, period) = (api.name.get_ref(), api.calls.get_ref(), api.renewal_period.get_ref());
            told.push(format!("{calls} calls in {period} s to {name}"));
            for OfOperation { name: operation, calls, renewal_period } in &api.operation {
                let (operation, calls, period) = (operation.get_ref(), calls.get_ref(), renewal_period.get_ref());
                told.push(format!("{calls} calls in {period} s to {name}/{operation}"));
            }
        }
        told.join("; ")
    }
}

/// What is told of limits that are shared.
pub(super) fn shared(said: Option<&Spanned<bool>>) -> &'static str {
    if said.is_some_and(|shared| *shared.get_ref()) { ", of all gateways" } else { "" }
}

/// A rate that can be counted.
pub(super) fn rate(calls: &Spanned<u64>, period: &Spanned<i64>) -> Result<Rate, SettingsError> {
    if *calls.get_ref() == 0 {
        return Err(fault(&calls.span(), "nobody could call at all", "write 1 or more"));
    }
    if !(1..=300).contains(period.get_ref()) {
        return Err(fault(&period.span(), "the period is out of range", "write 1 to 300, in seconds"));
    }
    Ok(Rate { calls: *calls.get_ref(), period: *period.get_ref() })
}

/// The fields that tell callers of a limit.
pub(super) struct Fields {
    retry_after: Option<HeaderName>,
    remaining: Option<HeaderName>,
    total: Option<HeaderName>,
}

impl Fields {
    pub(super) fn read(
        retry_after: Option<&Spanned<String>>,
        remaining: Option<&Spanned<String>>,
        total: Option<&Spanned<String>>,
    ) -> Result<Self, SettingsError> {
        let name = |text: Option<&Spanned<String>>| text.map(field_name_of_answer).transpose();
        Ok(Self { retry_after: name(retry_after)?, remaining: name(remaining)?, total: name(total)? })
    }

    /// Goes on or refuses, as the limit says, and tells the caller.
    pub(super) fn told(&self, call: &mut Call, rate: Rate, taken: Result<&Counted, u64>) -> Decided {
        let remaining = taken.map_or(0, |counted| counted.remaining);
        let told = [(&self.remaining, remaining), (&self.total, rate.calls)];
        for (name, number) in told {
            call.after.fields.extend(name.clone().map(|name| (name, HeaderValue::from(number))));
        }
        let Err(seconds) = taken else { return Decided::Pass };
        let denial =
            Denial::of(CheckId::LimitRate).message(format!("Rate limit is exceeded. Try again in {seconds} seconds."));
        Decided::Deny(Box::new(match &self.retry_after {
            None => denial.retry_after(seconds),
            Some(name) => {
                call.after.fields.push((name.clone(), HeaderValue::from(seconds)));
                denial
            }
        }))
    }
}

/// A field that says something of a limit, and nothing else.
fn field_name_of_answer(text: &Spanned<String>) -> Result<HeaderName, SettingsError> {
    let name = field_name(text)?;
    let framing =
        ["connection", "content-length", "content-type", "date", "set-cookie", "trailer", "transfer-encoding"];
    let means_else = framing.contains(&name.as_str()) || name.as_str().starts_with("access-control-");
    if means_else || name.as_str() == "www-authenticate" {
        return Err(fault(&text.span(), "this field says something else already", "write a name of its own"));
    }
    Ok(name)
}

struct RateLimit {
    /// Where it is written: the same subscription is counted there alone.
    place: Arc<str>,
    /// At most [`MOST`] are about one call.
    rates: Vec<(About, Rate)>,
    fields: Fields,
    limits: Arc<Limits>,
    shared: Option<Arc<Shared>>,
}

impl RateLimit {
    /// The counters of all gateways that a call is to count under.
    fn wanted(&self, call: &Call, subscription: &str) -> Vec<Wanted> {
        let rates = self.rates.iter().filter(|(about, _)| about.covers(call));
        let wanted = rates.map(|(about, rate)| {
            let ([what, name], period) = (about.parts(), rate.period.to_be_bytes());
            let (here, whose) = (self.place.as_bytes(), subscription.as_bytes());
            let key = Key::of([b"shared rate_limit".as_slice(), &period, here, whose, what, name]);
            Wanted { key, keys: Keys::Configured, rate: *rate, count: 1 }
        });
        wanted.collect()
    }
}

impl Policy for RateLimit {
    fn phase(&self) -> Phase {
        Phase::Limit
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let Some(subscription) = &call.admission.subscription else { return Decided::Pass };
        if self.shared.is_some() {
            return Decided::Wait;
        }
        let mut taken: [Option<(Rate, Counted)>; MOST] = [None; MOST];
        for ((about, rate), place) in self.rates.iter().filter(|(about, _)| about.covers(call)).zip(&mut taken) {
            let [what, name] = about.parts();
            let key = Key::of([b"rate_limit".as_slice(), self.place.as_bytes(), subscription.as_bytes(), what, name]);
            match self.limits.take(key, Keys::Configured, *rate, 1, call.now) {
                Ok(counted) => *place = Some((*rate, counted)),
                Err(seconds) => {
                    // What one of them refuses counts for none.
                    taken.iter().flatten().for_each(|(_, counted)| self.limits.give_back(counted));
                    return self.fields.told(call, *rate, Err(seconds));
                }
            }
        }
        let Some((rate, counted)) = taken.iter().flatten().min_by_key(|(_, counted)| counted.remaining) else {
            return Decided::Pass;
        };
        self.fields.told(call, *rate, Ok(counted))
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let (Some(shared), Some(subscription)) = (&self.shared, &call.admission.subscription) else {
                return Ok(());
            };
            let wanted = self.wanted(call, subscription);
            let taken = shared.take(&self.limits, &wanted, call.now).await;
            let told = match &taken {
                Ok(counted) => wanted
                    .iter()
                    .zip(counted)
                    .min_by_key(|(_, counted)| counted.remaining)
                    .map(|(it, counted)| (it, Ok(counted))),
                Err((at, seconds)) => wanted.get(*at).or(wanted.first()).map(|it| (it, Err(*seconds))),
            };
            told.map_or(Ok(()), |(it, taken)| self.fields.told(call, it.rate, taken).outcome())
        })
    }
}
