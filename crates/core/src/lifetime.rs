//! How long an access token lives (spec/entra.md sections 9.3 and 12).
//!
//! What can be cut short may live for a day: a token for a resource that hears of cut-offs, got by a client that can meet a
//! challenge. It lives no longer than until a policy would ask something anew, and nothing outlives its session.
use crate::admission::Admitted;
use crate::facts::{Facts, ProofFacts, ResourceFacts, Target, TenantFacts};
use crate::ledger::Unavailable;
use crate::model::{ClaimName, Profile};
use crate::ports::Ports;
use crate::token::AssertionFacts;
use decision::Timestamp;

/// The longest life of a token that nothing can cut short, in seconds.
const UNHEARD: i64 = 5_400;
/// An app-only token's life, in seconds, unless somebody says otherwise.
const APP: i64 = 3_599;
/// A user's token lives at least so long, in seconds, unless somebody says otherwise: alone, and where it can be cut short.
const USER: (i64, i64) = (3_600, 72_000);
/// For how long a resource counts as one that hears of cut-offs after its subscriber was told all of them, in seconds.
const HEARD: i64 = 60;

/// When an access token ends. An organization's policy goes before an application's, and both before what is usual.
pub(crate) fn expires(facts: &Facts, tenant: &TenantFacts, admitted: &Admitted, now: Timestamp) -> Timestamp {
    let settings = &tenant.settings;
    let policy = resource(facts).and_then(|resource| resource.shape.seconds);
    let heard = is_heard(facts, now);
    let Some(chain) = admitted.chain() else {
        let seconds = settings.app_token_seconds.or(policy).unwrap_or(APP);
        return bounded(seconds, heard, admitted.settled, now);
    };
    // Drawn at random, so that what was issued together is not renewed together: 60 to 90 minutes, or 20 to 28 hours.
    let usual = if heard { USER.1 + facts.jitter * 16 } else { USER.0 + facts.jitter };
    let seconds = settings.access_token_seconds.or(policy).unwrap_or(usual);
    let until = bounded(seconds, heard, admitted.settled, now).min(chain.session_ends);
    match &facts.proof {
        ProofFacts::OnBehalfOf { assertion: AssertionFacts::Verified(claims), .. } if facts.native() => {
            until.min(Timestamp(claims.exp))
        }
        // What was allowed until Friday ends on Friday.
        ProofFacts::Redemption(redemption) => redemption.record.as_ref().map_or(until, |it| until.min(it.expires)),
        _ => until,
    }
}

/// Beyond the ordinary a token lives while it can be cut short and no policy asks anything anew.
fn bounded(seconds: i64, heard: bool, settled: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let ordinary = now.plus(UNHEARD);
    let longest = settled.map_or(now.plus(seconds), |settled| settled.max(ordinary));
    now.plus(seconds).min(if heard { longest } else { ordinary })
}

/// Whether resource and client can do with long-lived tokens.
fn is_heard(facts: &Facts, now: Timestamp) -> bool {
    let heard = resource(facts).filter(|_| asks(facts)).and_then(|resource| resource.heard);
    heard.is_some_and(|at| now.since(at) <= HEARD)
}

/// Whether a long-lived token would be possible if the resource hears of cut-offs: the client can meet a challenge and the
/// resource wants to know it. A guest is disabled at home, where this tenant's resources hear nothing.
fn asks(facts: &Facts) -> bool {
    let guest = facts.user.as_ref().is_some_and(|user| user.home.is_some());
    let wanted =
        resource(facts).is_some_and(|it| it.shape.claims.has(ClaimName::XmsCc) && it.shape.profile == Profile::Entra);
    wanted && !guest && facts.claims.handles_challenges()
}

/// Reads whether the resource hears of cut-offs, where it matters.
pub(crate) async fn gather(ports: &Ports, facts: &mut Facts) -> Result<(), Unavailable> {
    if !asks(facts) {
        return Ok(());
    }
    let Some(tenant) = facts.tenant.as_ref().map(|tenant| tenant.id) else { return Ok(()) };
    if let Target::Resource(resource) = &mut facts.target {
        resource.heard = ports.ledger.heard(tenant, resource.app_id).await?;
    }
    Ok(())
}

fn resource(facts: &Facts) -> Option<&ResourceFacts> {
    match &facts.target {
        Target::Resource(resource) => Some(resource),
        _ => None,
    }
}
