//! `rate_limit`: so many calls of each subscription within a while.
use super::{Decided, Part, Phase, Policy};
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Counted, Key, Keys, Limits, Rate};
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
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        Ok(Part::Rule(Arc::new(RateLimit {
            place: world.place().into(),
            rate: rate(&self.calls, &self.renewal_period)?,
            fields: Fields::read(
                self.retry_after_header_name.as_ref(),
                self.remaining_calls_header_name.as_ref(),
                self.total_calls_header_name.as_ref(),
            )?,
            limits: world.limits(),
        })))
    }

    fn told(&self) -> String {
        let (calls, period) = (self.calls.get_ref(), self.renewal_period.get_ref());
        format!("{calls} calls in {period} s for each subscription")
    }
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
    rate: Rate,
    fields: Fields,
    limits: Arc<Limits>,
}

impl Policy for RateLimit {
    fn phase(&self) -> Phase {
        Phase::Limit
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let Some(subscription) = &call.admission.subscription else { return Decided::Pass };
        let key = Key::of([b"rate_limit".as_slice(), self.place.as_bytes(), subscription.as_bytes()]);
        let taken = self.limits.take(key, Keys::Configured, self.rate, 1, call.now);
        self.fields.told(call, self.rate, taken.as_ref().map_err(|seconds| *seconds))
    }
}
