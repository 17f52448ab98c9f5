//! Users who get lost on the way: an API that received a user's token must call others on behalf of that user, and never as
//! itself (F5 of the design, "detector of dropped user context").
//!
//! The authority sees one request as a whole by the trace-id of its W3C `traceparent`, which instrumented HTTP clients send
//! along with every request, those for tokens too. `client-request-id` is no trace: clients of Microsoft's libraries make a
//! new one for each request, so it would cost a write each and tie nothing together.
//!
//! What counts is what the authority saw itself, by authenticated client: [`Carried`]. It is written in the commit of the
//! request that proved it, so that every process of a store knows it, and forgotten after [`REMEMBERED`] seconds. A request
//! without `traceparent` costs nothing. What a client can add is bounded by what it may ask (`limits`) in that time.
//!
//! The detector is advisory. A client that sends no trace, or a false one, is not noticed; nor is one that uses an app-only
//! token of before. So whoever is refused can only be a client that tied a user to the trace with its own credential:
//! nobody can have another client refused, for what others say ([`Carried::Addressed`]) is recorded and never refused.
use crate::admission::Admitted;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::facts::{Facts, Target};
use crate::grant::on_behalf_of::is_for;
use crate::id::{AppId, TenantId};
use crate::ledger::Write;
use crate::model::Profile;
use crate::token::TokenClaims;
use decision::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How long a user stays tied to a trace, in seconds: longer than gateways let a request run.
pub const REMEMBERED: i64 = 300;

/// The trace-id of a `traceparent` (W3C Trace Context section 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

impl TraceId {
    /// Reads a `traceparent`; `None` if it is not one, which means the same as none at all (section 3.2).
    ///
    /// ```
    /// use deputize_core::trace::TraceId;
    /// let trace = TraceId::of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    /// assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    /// assert_eq!(TraceId::of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    /// ```
    pub fn of(traceparent: &str) -> Option<Self> {
        let mut fields = traceparent.split('-');
        let mut hex = |length: usize| {
            let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
            fields.next().filter(|field| field.len() == length && field.bytes().all(lower))
        };
        let (version, trace, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        // Later versions may say more behind these.
        let sound = version != "ff" && (version != "00" || fields.next().is_none());
        let named = |field: &str| u128::from_str_radix(field, 16).ok().filter(|number| *number != 0);
        named(parent).filter(|_| sound)?;
        named(trace).map(Self)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// How the authority saw that a client carries a user in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carried {
    /// It asked to exchange a user's token for one at this API, whatever came of it.
    Exchanged(AppId),
    /// It asked what a user's token that is for it is worth.
    Introspected,
    /// Another client got a user's token for it. That need not have arrived.
    Addressed,
}

/// A client that carries a user in a trace, as the ledger keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserInTrace {
    /// The tenant.
    pub tenant: TenantId,
    /// The client.
    pub client: AppId,
    /// The trace.
    pub trace: TraceId,
    /// How it is known.
    pub how: Carried,
    /// Until when it is remembered.
    pub expires: Timestamp,
}

impl UserInTrace {
    pub(crate) fn new(tenant: TenantId, client: AppId, trace: TraceId, how: Carried, now: Timestamp) -> Self {
        Self { tenant, client, trace, how, expires: now.plus(REMEMBERED) }
    }
}

/// The user whom an app-only request would drop: the strongest that is known, and whether the client itself tied them to
/// what it asks for.
pub(crate) fn dropped(facts: &Facts) -> Option<(Carried, bool)> {
    let Target::Resource(resource) = &facts.target else { return None };
    let own = |how: &Carried| match how {
        Carried::Exchanged(downstream) => *downstream == resource.app_id,
        // Which API it would be passed on to, nobody said.
        Carried::Introspected => true,
        Carried::Addressed => false,
    };
    let strongest = facts.carried.iter().max_by_key(|how| (own(how), std::cmp::Reverse(**how)))?;
    Some((*strongest, own(strongest)))
}

/// What a decision shows of users in its trace.
pub(crate) fn seen(
    facts: &Facts,
    proven: &AuthenticatedClient,
    admitted: Option<&Admitted>,
    now: Timestamp,
) -> Vec<Write> {
    let (Some(trace), Some(tenant), Some(client)) = (facts.trace, &facts.tenant, &facts.client) else {
        return Vec::new();
    };
    let Target::Resource(resource) = &facts.target else { return Vec::new() };
    let carries = |client, how| Write::CarryUser(UserInTrace::new(tenant.id, client, trace, how, now));
    let mut seen = Vec::new();
    if let Some(claims) = facts.proof.verified()
        // Anyone could say so in the name of a client that proves nothing.
        && proven.method() != Method::None
        // One that has expired, or that nobody consented to, was received all the same.
        && is_users(claims, tenant.id)
        && is_for(&claims.aud, client.app_id, &client.identifier_uris, client.profile == Profile::Native)
    {
        seen.push(carries(client.app_id, Carried::Exchanged(resource.app_id)));
    }
    if admitted.is_some_and(|admitted| admitted.chain().is_some()) && resource.app_id != client.app_id {
        seen.push(carries(resource.app_id, Carried::Addressed));
    }
    seen
}

/// Whether a token is one of a user of this tenant.
pub(crate) fn is_users(claims: &TokenClaims, tenant: TenantId) -> bool {
    claims.idtyp == "user" && claims.tid == tenant.to_string()
}

#[cfg(test)]
mod tests {
    use super::TraceId;

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(TraceId::of(good).is_some());
        assert!(
            TraceId::of("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some(),
            "a later version"
        );
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::of(bad), None, "{bad}");
        }
    }
}
