//! What policies leave to be done once the answer is known, be it a service's or a refusal.
use crate::limits::{Charged, Counted, Limits, Shared};
use crate::policy::cors::Cors;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;

/// What is left to be done.
#[derive(Default)]
pub(crate) struct After {
    /// How pages of other origins may read the answer: the rule, and the `Origin` of the request.
    pub(crate) cors: Option<(Arc<Cors>, Option<HeaderValue>)>,
    /// Fields of the answer.
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    /// `Set-Cookie`, beside those of the service.
    pub(crate) cookies: Vec<HeaderValue>,
    /// Calls that count only with some statuses.
    pub(crate) conditions: Vec<Condition>,
    /// Quotas that the call was counted for.
    pub(crate) charges: Vec<Charge>,
}

/// A call that was counted in advance.
pub(crate) struct Condition {
    pub(crate) counted: Counted,
    /// The statuses with which it counts.
    pub(crate) statuses: Arc<[StatusCode]>,
    /// Where it was counted for all gateways.
    pub(crate) shared: Option<Arc<Shared>>,
}

/// A call that was counted for a quota.
pub(crate) struct Charge {
    pub(crate) charged: Charged,
    /// Whether the bytes of its bodies count too.
    pub(crate) bytes: bool,
    /// The statuses with which it counts, if not all.
    pub(crate) statuses: Option<Arc<[StatusCode]>>,
    /// Where it was counted for all gateways.
    pub(crate) shared: Option<Arc<Shared>>,
}

impl After {
    /// Finishes the head of an answer.
    pub(crate) fn head(&mut self, status: StatusCode, headers: &mut HeaderMap, limits: &Limits) {
        for (name, value) in self.fields.drain(..) {
            headers.insert(name, value);
        }
        if !self.cookies.is_empty() {
            // Whoever keeps the answer would hand the session on (RFC 9111 section 7.3).
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        for cookie in self.cookies.drain(..) {
            headers.append(SET_COOKIE, cookie);
        }
        if let Some((cors, origin)) = self.cors.take() {
            cors.answer(origin.as_ref(), headers);
        }
        for condition in self.conditions.drain(..).filter(|condition| !condition.statuses.contains(&status)) {
            match &condition.shared {
                None => limits.give_back(&condition.counted),
                Some(shared) => shared.give_back(limits, &condition.counted),
            }
        }
        self.charges.retain(|Charge { charged, bytes, statuses, shared }| {
            if statuses.as_ref().is_none_or(|statuses| statuses.contains(&status)) {
                return *bytes;
            }
            match shared {
                None => limits.quotas.give_back(charged),
                Some(shared) => shared.give_back_quota(limits, charged),
            }
            false
        });
    }

    /// Counts what went by.
    pub(crate) fn end(&self, bytes: u64, limits: &Limits) {
        for charge in &self.charges {
            match &charge.shared {
                None => limits.quotas.spend_bytes(&charge.charged, bytes),
                Some(shared) => shared.spend_bytes(limits, &charge.charged, bytes),
            }
        }
    }
}
