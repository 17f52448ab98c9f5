//! From an admitted request for a work order to its handle and its record.
use super::{Prepared, random, random_uuid, record, reported};
use crate::audit::AuditRecord;
use crate::chain::Chain;
use crate::facts::{Facts, OrderFacts, ResourceFacts, Target};
use crate::grant::Grantable;
use crate::id::FamilyId;
use crate::ledger::{Unavailable, Write};
use crate::ports::Ports;
use crate::work_order::{Allowance, MOST, WorkOrderRecord};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::Timestamp;
use oauth::{Secret, TOKEN_TYPE_WORK_ORDER, TokenResponse};

pub(super) fn prepare(
    facts: &Facts,
    order: &OrderFacts,
    granted: &Grantable,
    decision: &str,
    ports: &Ports,
    now: Timestamp,
) -> Result<Prepared, Unavailable> {
    let (Some(tenant), Some(user), Some(chain)) = (&facts.tenant, &facts.user, granted.admitted.chain()) else {
        return Err(Unavailable);
    };
    let targets = std::iter::once(&facts.target).chain(order.also.iter().map(|also| &also.target));
    let resources: Vec<&ResourceFacts> = targets.filter_map(resource).collect();
    let admitted = || std::iter::once(&granted.admitted).chain(&granted.also);
    let allowed = resources.iter().zip(admitted());
    let allowed = allowed.map(|(at, admitted)| Allowance { resource: at.app_id, scopes: admitted.scopes().clone() });
    let allowed: Vec<Allowance> = allowed.collect();
    let whole = |(at, allowance): (&&ResourceFacts, &Allowance)| {
        allowance.scopes.iter().map(|scope| format!("{}/{scope}", at.name)).collect::<Vec<_>>()
    };
    let scope = resources.iter().zip(&allowed).flat_map(whole).collect::<Vec<_>>().join(" ");
    let Chain { session, actors, grants, .. } = chain.clone();
    let terms = order.terms.clone();
    let made = WorkOrderRecord {
        id: FamilyId(random_uuid(ports)),
        tenant: tenant.id,
        issuer: granted.client.app(),
        user: user.id,
        session,
        proven: chain.proven(),
        actors,
        grants,
        workers: terms.workers,
        allowed,
        purpose: terms.purpose,
        content: terms.content,
        redemptions: terms.redemptions,
        issued: now,
        expires: now.plus(terms.seconds),
        redeemed: 0,
        parked: None,
        revoked: false,
    };
    let audit = AuditRecord {
        resource: resources.first().map(|resource| resource.app_id),
        scope: scope.clone(),
        actors: made.actors.clone(),
        object: Some(made.path()),
        ..record(facts, granted.client.credential(), decision, now)
    };
    let response = TokenResponse {
        token_type: "N_A".to_owned(),
        issued_token_type: Some(TOKEN_TYPE_WORK_ORDER.to_owned()),
        scope: Some(scope),
        expires_in: terms.seconds,
        ext_expires_in: None,
        refresh_in: None,
        access_token: Secret::new(format!("wo1.{}", URL_SAFE_NO_PAD.encode(random::<32>(ports)))),
        refresh_token: None,
        id_token: None,
        client_info: None,
    };
    let digest = ports.crypto.keyed_digest(response.access_token.expose());
    let mut writes = vec![Write::InsertWorkOrder(digest, Box::new(made), MOST), Write::Audit(Box::new(audit))];
    writes.extend(reported(facts, granted, decision, now));
    Ok(Prepared { writes, response, v1: None })
}

fn resource(target: &Target) -> Option<&ResourceFacts> {
    match target {
        Target::Resource(resource) => Some(resource),
        _ => None,
    }
}
