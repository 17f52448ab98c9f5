//! `rate_limit_by_key`: so many calls within a while of whoever has the same key.
use super::rate_limit::{Fields, rate, shared};
use super::{Decided, Part, Pending, Phase, Policy};
use crate::address::Address;
use crate::after::Condition;
use crate::call::Call;
use crate::denial::Denial;
use crate::limits::{Counted, Key, Keys, Limits, Rate, Shared, Wanted};
use crate::settings::{Look, SettingsError, Spanned, World, fault, field_name};
use http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serve::subscriber;
use std::ops::Range;
use std::sync::Arc;

/// So many calls within a while of whoever has the same key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "rate_limit_by_key")]
pub(crate) struct Table {
    /// Calls within `renewal_period`.
    calls: Spanned<u64>,
    /// Seconds, 1 to 300. Each call counts for as long from its own second on.
    renewal_period: Spanned<i64>,
    /// What makes two calls those of one caller: `"address"`, `"subscription"`, `"api"`, `"operation"`, `{ header = "X-Tenant" }`,
    /// `{ claim = "oid" }` and `{ text = "…" }`, all of them together. What is absent is alike. One key is one counter, wherever it
    /// is written.
    counter_key: Spanned<Vec<Spanned<Element>>>,
    /// How much a call counts.
    #[serde(default = "one")]
    increment_count: Spanned<u64>,
    /// The statuses with which a call counts; by default all. A call counts until its status is known.
    increment_statuses: Option<Spanned<Vec<u16>>>,
    /// The field of refusals that says in how many seconds to try again; by default `Retry-After`.
    retry_after_header_name: Option<Spanned<String>>,
    /// A field of answers that says how many calls are left.
    remaining_calls_header_name: Option<Spanned<String>>,
    /// A field of answers that says `calls`.
    total_calls_header_name: Option<Spanned<String>>,
    /// Whether all gateways count together, as `[shared_limits]` says; by default each counts alone.
    shared: Option<Spanned<bool>>,
}

pub(super) fn one() -> Spanned<u64> {
    Spanned::new(0..0, 1)
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "counter_key_part")]
pub(super) enum Element {
    /// The caller's address; of IPv6 the network of 64 bits, whose addresses are one caller's to choose.
    Address,
    /// The subscription whose key was shown.
    Subscription,
    /// The API that is called.
    Api,
    /// The operation that is called.
    Operation,
    /// A field of the request.
    Header(String),
    /// A claim of the verified token.
    Claim(String),
    /// The same for all.
    Text(String),
}

impl super::Table for Table {
    fn part(&self, _: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let rate = rate(&self.calls, &self.renewal_period)?;
        let count = *self.increment_count.get_ref();
        if !(1..=rate.calls).contains(&count) {
            let hint = "write 1 to `calls`";
            return Err(fault(&self.increment_count.span(), "a call counts nothing, or more than there is", hint));
        }
        Ok(Part::Rule(Arc::new(RateLimitByKey {
            rate,
            count,
            sources: sources("rate_limit_by_key", &self.counter_key, world)?,
            statuses: statuses(self.increment_statuses.as_ref())?,
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
        format!("{calls} calls in {period} s for each {}{}", told(&self.counter_key), shared(self.shared.as_ref()))
    }
}

/// Where the parts of a key of this policy are read.
pub(super) fn sources(
    policy: &'static str,
    key: &Spanned<Vec<Spanned<Element>>>,
    world: &mut World<'_>,
) -> Result<Vec<Source>, SettingsError> {
    if key.get_ref().is_empty() {
        return Err(fault(&key.span(), "the key has no part", "write `counter_key = [\"address\"]`"));
    }
    for element in key.get_ref() {
        match element.get_ref() {
            Element::Claim(_) => world.looks_at(policy, Look::Claim),
            Element::Subscription => world.looks_at(policy, Look::Subscription),
            _ => {}
        }
    }
    let source = |element: &Spanned<Element>| {
        Ok(match element.get_ref() {
            Element::Address => Source::Address,
            Element::Subscription => Source::Subscription,
            Element::Api => Source::Api,
            Element::Operation => Source::Operation,
            Element::Header(name) => Source::Header(field_name(&Spanned::new(element.span(), name.clone()))?),
            Element::Claim(name) => Source::Claim(name.clone()),
            Element::Text(text) => Source::Text(text.clone()),
        })
    };
    key.get_ref().iter().map(source).collect()
}

/// The statuses with which a call counts, if not all.
pub(super) fn statuses(codes: Option<&Spanned<Vec<u16>>>) -> Result<Option<Arc<[StatusCode]>>, SettingsError> {
    let Some(codes) = codes else { return Ok(None) };
    let read: Result<Vec<_>, _> = codes.get_ref().iter().map(|code| StatusCode::from_u16(*code)).collect();
    let is_sent = |status: &StatusCode| status.as_u16() < 600;
    let read = read.ok().filter(|statuses| !statuses.is_empty() && statuses.iter().all(is_sent));
    let wrong = || fault(&codes.span(), "these are no statuses", "write `[200, 201]`");
    Ok(Some(read.ok_or_else(wrong)?.into()))
}

/// What has one counter, in words.
pub(super) fn told(key: &Spanned<Vec<Spanned<Element>>>) -> String {
    let parts = key.get_ref().iter().map(|element| match element.get_ref() {
        Element::Address => "address".to_owned(),
        Element::Subscription => "subscription".to_owned(),
        Element::Api => "API".to_owned(),
        Element::Operation => "operation".to_owned(),
        Element::Header(name) => format!("`{name}`"),
        Element::Claim(name) => format!("claim `{name}`"),
        Element::Text(text) => format!("`{text}`"),
    });
    parts.collect::<Vec<_>>().join(" and ")
}

/// The key of a call: of the policy and of numbers of it, and of what the call has of each source.
pub(super) fn key(policy: &[u8], numbers: &[i64], sources: &[Source], call: &Call) -> Key {
    let mut parts = vec![policy.to_vec()];
    parts.extend(numbers.iter().map(|number| number.to_be_bytes().to_vec()));
    for source in sources {
        source.add(call, &mut parts);
    }
    Key::of(parts.iter().map(Vec::as_slice))
}

/// A part of a key that can be read.
pub(super) enum Source {
    Address,
    Subscription,
    Api,
    Operation,
    Header(HeaderName),
    Claim(String),
    Text(String),
}

impl Source {
    /// Adds what the call has of it: nothing at all where it is absent, so that this is another key than an empty text.
    fn add(&self, call: &Call, parts: &mut Vec<Vec<u8>>) {
        let (name, values): (&[u8], Vec<Vec<u8>>) = match self {
            Self::Address => (
                b"address",
                match call.caller {
                    Address::Known(address) => vec![subscriber(address).to_string().into_bytes()],
                    Address::Unreadable => Vec::new(),
                },
            ),
            Self::Subscription => {
                (b"subscription", call.admission.subscription.iter().map(|name| name.as_bytes().to_vec()).collect())
            }
            Self::Api => (b"api", vec![call.operation.api_name.as_bytes().to_vec()]),
            Self::Operation => (b"operation", vec![call.operation.name.as_bytes().to_vec()]),
            // Every line counts: of two, the service could read the other.
            Self::Header(name) => {
                (b"header", call.request.headers().get_all(name).iter().map(|line| line.as_bytes().to_vec()).collect())
            }
            Self::Claim(name) => {
                let claims = call.principal.as_ref().map(|(principal, _)| principal.all_claims());
                let claim = claims.as_ref().and_then(|claims| claims.get(name)).filter(|claim| !claim.is_null());
                (b"claim", claim.map(|claim| claim.to_string().into_bytes()).into_iter().collect())
            }
            Self::Text(text) => (b"text", vec![text.as_bytes().to_vec()]),
        };
        parts.push(name.to_vec());
        parts.push(values.len().to_be_bytes().to_vec());
        parts.extend(values);
    }
}

struct RateLimitByKey {
    rate: Rate,
    count: u64,
    sources: Vec<Source>,
    statuses: Option<Arc<[StatusCode]>>,
    fields: Fields,
    limits: Arc<Limits>,
    shared: Option<Arc<Shared>>,
}

impl RateLimitByKey {
    fn told(&self, call: &mut Call, taken: Result<Counted, u64>) -> Decided {
        if let (Some(statuses), Ok(counted)) = (&self.statuses, &taken) {
            let (counted, statuses, shared) = (*counted, Arc::clone(statuses), self.shared.clone());
            call.after.conditions.push(Condition { counted, statuses, shared });
        }
        self.fields.told(call, self.rate, taken.as_ref().map_err(|seconds| *seconds))
    }
}

impl Policy for RateLimitByKey {
    fn phase(&self) -> Phase {
        Phase::Limit
    }

    fn decide(&self, call: &mut Call) -> Decided {
        if self.shared.is_some() {
            return Decided::Wait;
        }
        // Counters of other periods are others: one that forgets sooner would let the other's callers by.
        let key = key(b"rate_limit_by_key", &[self.rate.period], &self.sources, call);
        let taken = self.limits.take(key, Keys::OfCallers, self.rate, self.count, call.now);
        self.told(call, taken)
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let Some(shared) = &self.shared else { return Ok(()) };
            let key = key(b"shared rate_limit_by_key", &[self.rate.period], &self.sources, call);
            let wanted = Wanted { key, keys: Keys::OfCallers, rate: self.rate, count: self.count };
            let taken = shared.take(&self.limits, &[wanted], call.now).await;
            let taken = taken.map_err(|(_, seconds)| seconds);
            // One was wanted, and one was counted.
            let taken = taken.and_then(|counted| counted.first().copied().ok_or(1));
            self.told(call, taken).outcome()
        })
    }
}
