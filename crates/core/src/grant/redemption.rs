//! Redeeming a work order (RFC 8693): a worker trades the handle for a user's token, and proves itself with its own credential.
//! Nothing is remembered as allowed: each time is decided as if the user had asked now.
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::audit::Credential;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserKey, UserRecord};
use crate::facts::{Asked, CallerFacts, Facts, ProofFacts, RedemptionFacts, Target};
use crate::ledger::{Unavailable, Write};
use crate::ports::Pending;
use crate::scope_request::{Parties, Several, standing};
use crate::token_endpoint::client_facts;
use crate::work_order::{self, Parked, WorkOrderRecord};
use decision::{CheckId, Timestamp};
use oauth::{Parameter, Scopes, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT, TOKEN_TYPE_WORK_ORDER};

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::TokenExchange,
    recognises: |form| form.value("subject_token_type") == Some(TOKEN_TYPE_WORK_ORDER),
    parameters: PARAMETERS,
    parse: |form| {
        if form.mentions("actor_token") {
            return Err(work_order::no_actor_token());
        }
        match form.value("requested_token_type") {
            None | Some(TOKEN_TYPE_ACCESS_TOKEN | TOKEN_TYPE_JWT) => Ok(()),
            Some(_) => {
                let expected = format!("`requested_token_type={TOKEN_TYPE_ACCESS_TOKEN}`, or none");
                Err(Denial::new(CheckId::RequestWellFormed, expected, "another type")
                    .fix("leave `requested_token_type` out"))
            }
        }
    },
    gather,
};

/// What this grant reads.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::required("subject_token_type", "`urn:deputize:params:oauth:token-type:work-order`."),
    Parameter::required("subject_token", "The handle, as it was issued."),
    Parameter::optional(
        "scope",
        "Scopes of one API, within what the order allows there; `{application ID URI}/.default` is all of that. It may be left \
         out where the order is for one API.",
    ),
    Parameter::optional("resource", "Names the API of `scope` again (RFC 8707); another one is refused."),
    Parameter::optional("audience", "The same as `resource`."),
    Parameter::optional(
        "content_digest",
        "`sha-256=:…:` of the message that was queued; needed where the order is bound to one.",
    ),
    Parameter::optional(
        "requested_token_type",
        "`urn:ietf:params:oauth:token-type:access_token` or `…:jwt`; nothing else is offered.",
    ),
    Parameter::optional("actor_token", "Not offered: the actor is the client that authenticates."),
];

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let digest = from.ports.crypto.keyed_digest(from.form.value("subject_token").unwrap_or_default());
        let record = from.ports.ledger.work_order(digest).await?;
        let (mut user, mut session, mut scope, mut issuer) = (None, None, None, Vec::new());
        if let Some(record) = record.as_ref().filter(|record| record.tenant == from.tenant.tenant.id) {
            user = from.ports.directory.user(record.tenant, UserKey::Id(record.user)).await?;
            let before = record.before(from.client.application.app_id);
            let rests_on = (Some(record.id), record.grants.clone());
            session = super::session(from.ports, record.session, before, rests_on, Some(&record.proven)).await?;
            scope = asked(from.form.value("scope"), record, from.tenant);
            issuer = ordered(from.tenant, record, user.as_deref());
        }
        let content = from.form.value("content_digest").and_then(work_order::content);
        let redemption = RedemptionFacts { digest, record, content, issuer };
        Ok(Gathered {
            proof: ProofFacts::Redemption(Box::new(redemption)),
            user,
            session,
            scope,
            several: Several::Refuse,
            claims: None,
        })
    })
}

/// What is asked for, where it does not stand in the request: all that the order allows at the one API it is for, or at the
/// one that `.default` names.
fn asked(scope: Option<&str>, record: &WorkOrderRecord, tenant: &TenantDirectory) -> Option<String> {
    let (name, allowed) = match (scope, record.allowed.as_slice()) {
        (None, [one]) => {
            let name = tenant.app(one.resource).map_or_else(|| one.resource.to_string(), |app| app.resource_name());
            (name, &one.scopes)
        }
        (Some(scope), _) => {
            let name = scope.strip_suffix("/.default").filter(|name| !name.contains(' '))?;
            (name.to_owned(), record.at(tenant.resource(name)?.application.app_id)?)
        }
        (None, _) => return None,
    };
    Some(allowed.iter().map(|scope| format!("{name}/{scope}")).collect::<Vec<_>>().join(" "))
}

/// The application that made the order, with its standing now at each API that the order allows.
fn ordered(tenant: &TenantDirectory, record: &WorkOrderRecord, user: Option<&UserRecord>) -> Vec<CallerFacts> {
    let Some(issuer) = tenant.app(record.issuer) else { return Vec::new() };
    let at = |resource| {
        let resource = tenant.app(resource)?;
        let name = resource.application.app_id.to_string();
        let resource = standing(resource, &name, Asked::Default, Parties { tenant, client: issuer, user });
        Some(CallerFacts { client: client_facts(issuer), resource })
    };
    record.allowed.iter().filter_map(|allowance| at(allowance.resource)).collect()
}

pub(super) fn prove(
    facts: &Facts,
    client: &AuthenticatedClient,
    presented: &RedemptionFacts,
    now: Timestamp,
) -> Proved {
    match judge(facts, client, presented, now) {
        Ok(record) => {
            let proof = Proof::User { actors: record.before(client.app()), ceiling: Some(ceiling(facts, record)) };
            Proved::yes(proof, vec![Write::RedeemWorkOrder(presented.digest)])
        }
        Err(denial) => Proved::no(denial, Vec::new()),
    }
}

/// What is only the worker's to know is told to workers alone: first who asks, then how the order stands.
fn judge<'a>(
    facts: &Facts,
    client: &AuthenticatedClient,
    presented: &'a RedemptionFacts,
    now: Timestamp,
) -> Result<&'a WorkOrderRecord, Denial> {
    let unknown = || Denial::new(CheckId::WorkOrderKnown, "a work order of this tenant", "another text");
    let record = presented.record.as_ref().ok_or_else(unknown)?;
    if facts.tenant.as_ref().is_none_or(|tenant| tenant.id != record.tenant) {
        return Err(unknown());
    }
    if client.method() == Method::None {
        return Err(Denial::new(CheckId::ClientConfidential, "a confidential client", "a public client"));
    }
    let mut own = record.workers.iter().filter(|worker| worker.client == client.app()).peekable();
    if own.peek().is_none() {
        let found = format!("`{}`", client.app());
        return Err(Denial::new(CheckId::WorkOrderClient, "a worker that the order names", found));
    }
    let key = match client.credential() {
        Some(Credential::Certificate { thumbprint, .. }) => Some(thumbprint),
        _ => None,
    };
    if !own.any(|worker| worker.thumbprint.is_none() || worker.thumbprint.as_ref() == key) {
        let found = if key.is_some() { "another certificate" } else { "no certificate" };
        return Err(Denial::new(CheckId::WorkOrderKey, "the certificate that the order is bound to", found));
    }
    if record.revoked {
        return Err(Denial::new(CheckId::WorkOrderRevoked, "a work order that stands", "one that was revoked"));
    }
    if record.expires <= now {
        let found = format!("one that ended at {}", record.expires);
        return Err(Denial::new(CheckId::WorkOrderCurrent, "a work order that has not ended", found));
    }
    if record.redeemed >= record.redemptions {
        let expected = format!("a work order redeemed fewer than {} times", record.redemptions);
        return Err(Denial::new(CheckId::WorkOrderUnused, expected, format!("one redeemed {} times", record.redeemed)));
    }
    if record.content.is_some() && record.content != presented.content {
        let found = if presented.content.is_some() { "another digest" } else { "no digest that can be read" };
        return Err(Denial::new(CheckId::WorkOrderContent, "the digest of the message that was queued", found));
    }
    let another = match &facts.target {
        Target::Resource(resource) => record.at(resource.app_id).is_none().then(|| resource.name.clone()),
        Target::Authority => Some("userinfo".to_owned()),
        // For admission to say.
        _ => None,
    };
    if let Some(name) = another {
        let expected = "an API that the order allows";
        return Err(Denial::new(CheckId::WorkOrderAudience, expected, format!("`{name}`")));
    }
    Ok(record)
}

/// The order's scopes, in the words of this request.
fn ceiling(facts: &Facts, record: &WorkOrderRecord) -> Scopes {
    let Target::Resource(resource) = &facts.target else { return Scopes::default() };
    let Some(allowed) = record.at(resource.app_id) else { return Scopes::default() };
    let mut ceiling: Scopes = allowed.iter().map(|scope| format!("{}/{scope}", resource.name)).collect();
    if let Asked::Named(named) = &resource.asked {
        let within = named.iter().filter(|(_, known)| known.as_deref().is_some_and(|known| allowed.contains(known)));
        within.for_each(|(written, _)| ceiling.insert(written.clone()));
    }
    ceiling
}

/// A refusal that the user can mend by being there parks the order: whoever redeems it is told where they can.
pub(super) fn parked(facts: &Facts, denial: Denial, now: Timestamp) -> (Denial, Option<Write>) {
    let (ProofFacts::Redemption(presented), Some(tenant)) = (&facts.proof, &facts.tenant) else {
        return (denial, None);
    };
    if !work_order::needs_presence(&denial) {
        return (denial, None);
    }
    let parked = Parked { check: denial.id(), since: now };
    let address = work_order::address(&facts.host, tenant.id);
    let fix = format!("have the user open {address}, where the order is parked, and redeem it again after that");
    (denial.fix(fix).presence(address), Some(Write::ParkWorkOrder(presented.digest, parked)))
}
