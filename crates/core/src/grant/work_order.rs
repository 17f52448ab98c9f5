//! Asking for a work order (RFC 8693): an API trades the token it was called with for a handle that a worker redeems later.
use super::{Gathered, Gathering, Grant, Proved, on_behalf_of};
use crate::admission::Proof;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::conditional_access;
use crate::denial::Denial;
use crate::facts::{AlsoFacts, Facts, OrderFacts, ProofFacts, Target, WorkerFacts};
use crate::ledger::Unavailable;
use crate::ports::Pending;
use crate::scope_request::{self, Parties, Several};
use crate::work_order::{MOST, PARAMETERS, Terms};
use decision::{CheckId, Timestamp};
use oauth::{ClaimsRequest, OIDC_SCOPES, TOKEN_TYPE_WORK_ORDER};
use std::collections::BTreeMap;

/// The most APIs of one order.
const AUDIENCES: usize = 8;

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::TokenExchange,
    recognises: |form| form.value("requested_token_type") == Some(TOKEN_TYPE_WORK_ORDER),
    parameters: PARAMETERS,
    parse: |form| Terms::read(form).map(drop),
    gather,
};

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let text = from.form.value("subject_token").unwrap_or_default();
        let assertion = on_behalf_of::presented(from, text).await?;
        let of = assertion.user.as_ref().map(|user| user.user.id).unwrap_or_default();
        let outstanding =
            from.ports.ledger.work_orders_outstanding(from.tenant.tenant.id, of, from.ports.now()).await?;
        let parties = Parties { tenant: from.tenant, client: from.client, user: assertion.user.as_deref() };
        let (first, also) = audiences(from, parties);
        // What cannot be read was refused before anything was gathered.
        let Ok(terms) = Terms::read(from.form) else { return Err(Unavailable) };
        let stands = |client| {
            from.tenant
                .app(client)
                .is_some_and(|worker| worker.principal.account_enabled && worker.application.is_confidential())
        };
        let workers =
            terms.workers.iter().map(|worker| WorkerFacts { client: worker.client, stands: stands(worker.client) });
        let workers = workers.collect();
        let order =
            OrderFacts { assertion: assertion.facts, caller: assertion.caller, terms, workers, also, outstanding };
        Ok(Gathered {
            proof: ProofFacts::WorkOrder(Box::new(order)),
            user: assertion.user,
            session: assertion.session,
            scope: Some(first),
            several: Several::Refuse,
            claims: None,
        })
    })
}

/// The scopes of the first API, and what is asked of the others. `audience` and `resource` may only repeat what `scope` says.
fn audiences(from: Gathering<'_>, parties: Parties<'_>) -> (String, Vec<AlsoFacts>) {
    let form = from.form;
    let mut order: Vec<String> = Vec::new();
    let mut words: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    // They belong to no API: they stand with the first, so that all of them are seen where they are refused.
    let mut oidc: Vec<&str> = Vec::new();
    for word in form.value("scope").unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        if OIDC_SCOPES.contains(&word) {
            oidc.push(word);
            continue;
        }
        let name = word.rsplit_once('/').map_or("", |(resource, _)| resource);
        // One API by whatever name.
        let key = from.tenant.resource(name).map_or_else(|| name.to_owned(), |it| it.application.app_id.to_string());
        if !order.contains(&key) {
            order.push(key.clone());
        }
        words.entry(key).or_default().push(word);
    }
    let claims = form.value("claims").and_then(ClaimsRequest::parse).unwrap_or_default();
    let mut others: Vec<AlsoFacts> = Vec::new();
    let (first, rest) = order.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
    for key in rest.iter().take(AUDIENCES) {
        let scope = words.get(key).map(|words| words.join(" ")).unwrap_or_default();
        let (_, target) = scope_request::resolve(Some(&scope), &[], parties, Several::Refuse);
        others.push(AlsoFacts { policies: conditional_access::binding(from.tenant, &target, &claims), target });
    }
    let named = form.values("audience").chain(form.values("resource"));
    let unsaid = named.filter(|name| {
        let key = from.tenant.resource(name).map(|it| it.application.app_id.to_string());
        !key.is_some_and(|key| order.contains(&key))
    });
    others.extend(unsaid.take(1).map(|name| {
        let target = Target::Unknown { name: scope_request::excerpt(name) };
        AlsoFacts { target, policies: Vec::new() }
    }));
    let first = first.and_then(|key| words.get(key)).into_iter().flatten();
    (first.chain(&oidc).copied().collect::<Vec<_>>().join(" "), others)
}

pub(super) fn prove(facts: &Facts, client: &AuthenticatedClient, order: &OrderFacts, now: Timestamp) -> Proved {
    match judge(facts, client, order, now) {
        Ok(()) => {
            let actors = facts.session.as_ref().map(|session| session.chain.actors.clone()).unwrap_or_default();
            Proved::yes(Proof::User { actors, ceiling: None }, Vec::new())
        }
        Err(denial) => Proved::no(denial, Vec::new()),
    }
}

fn judge(facts: &Facts, client: &AuthenticatedClient, order: &OrderFacts, now: Timestamp) -> Result<(), Denial> {
    if client.method() == Method::None {
        return Err(Denial::new(CheckId::ClientConfidential, "a confidential client", "a public client"));
    }
    on_behalf_of::judge(facts, client, &order.assertion, now)?;
    if order.also.len() >= AUDIENCES {
        let expected = format!("scopes of at most {AUDIENCES} APIs");
        return Err(Denial::new(CheckId::WorkOrderTerms, expected, "more"));
    }
    // OpenID Connect's scopes are no work: they belong to no API, and nothing that is admitted for them may count for one.
    if !facts.oidc.is_empty() {
        let expected = "scopes of APIs, and none of OpenID Connect's";
        return Err(Denial::new(CheckId::ScopeValid, expected, "`openid` or one of its kin"));
    }
    if let Some(worker) = order.workers.iter().find(|worker| !worker.stands) {
        let expected = "workers that stand in this tenant, enabled and with a credential";
        return Err(Denial::new(CheckId::WorkOrderWorker, expected, format!("`{}`, which does not", worker.client)));
    }
    if order.outstanding.of_user >= MOST.of_user || order.outstanding.of_tenant >= MOST.of_tenant {
        let expected =
            format!("fewer than {} outstanding orders of a user, and {} of a tenant", MOST.of_user, MOST.of_tenant);
        return Err(Denial::new(CheckId::WorkOrderCapacity, expected, "as many").retry_after(3_600));
    }
    Ok(())
}

/// The same request for each other API of an order: all of it is admitted, or nothing.
pub(super) fn others(facts: &Facts) -> impl Iterator<Item = Facts> + '_ {
    let also = match &facts.proof {
        ProofFacts::WorkOrder(order) => order.also.as_slice(),
        _ => &[],
    };
    also.iter().map(|also| Facts { target: also.target.clone(), policies: also.policies.clone(), ..facts.clone() })
}
