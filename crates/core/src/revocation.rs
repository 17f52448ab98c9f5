//! Token revocation (RFC 7009): a client gives back what it was issued. A refresh token ends its whole authorization, and what
//! stems from that; what was issued to others is none of the caller's business.
use crate::audit::AuditRecord;
use crate::called::{Called, called};
use crate::chain::Chain;
use crate::client_auth;
use crate::denial::Denial;
use crate::grant;
use crate::id::{FamilyId, UserId};
use crate::ledger::Write;
use crate::ports::Ports;
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::{Refusal, TokenRequest, unavailable};
use decision::CheckId;
use oauth::{Parameter, Parameters};

/// What is read.
pub const PARAMETERS: &[Parameters] = &[
    Parameters {
        when: "",
        each: &[Parameter::required(
            "token",
            "A refresh token of the caller, or an access token that a user's sign-in at it gave: the authorization behind it \
             ends, with all that stems from it. Or a work order that the caller made, or may redeem.",
        )],
    },
    client_auth::PARAMETERS,
    client_auth::HEADERS,
];

/// Answers a revocation request with the decision's id. A token that is not the caller's, or none at all, is answered alike.
///
/// # Errors
/// If the caller is not authenticated, or the token is of a kind that cannot be revoked alone.
pub async fn answer(ports: &Ports, request: TokenRequest<'_>) -> Result<String, Refusal> {
    let revoked = called(ports, &request, async |called| {
        let text = grant::required(request.form, "token")?;
        let found = match ports.crypto.assertion(text) {
            AssertionFacts::Verified(claims) => {
                of_access_token(ports, &called, &claims)?.map(|(family, user)| (Ends::Family(family), user))
            }
            _ => match of_work_order(ports, &called, text).await? {
                Some(order) => Some(order),
                None => {
                    of_refresh_token(ports, &called, text).await?.map(|(family, user)| (Ends::Family(family), user))
                }
            },
        };
        let mut writes = Vec::new();
        if let Some((ends, user)) = found {
            let family = match ends {
                Ends::Family(family) => {
                    writes.push(Write::RevokeFamily(family));
                    family
                }
                Ends::WorkOrder(id) => {
                    writes.push(Write::RevokeWorkOrder(id));
                    id
                }
            };
            writes.push(Write::Audit(Box::new(AuditRecord {
                tenant: Some(called.tenant.tenant.id),
                client: Some(called.client.application.app_id),
                credential: called.credential(),
                grants: vec![family],
                subject: Some(user.to_string()),
                ..AuditRecord::new(called.now, called.decision.clone(), "revoke")
            })));
        }
        called.spend(ports, writes).await
    })
    .await;
    revoked.map(|(decision, ())| decision)
}

/// What a revocation ends.
enum Ends {
    Family(FamilyId),
    WorkOrder(FamilyId),
}

/// A work order is given back by the application that made it, and by a worker that it names.
async fn of_work_order(ports: &Ports, called: &Called, text: &str) -> Result<Option<(Ends, UserId)>, Denial> {
    let record = ports.ledger.work_order(ports.crypto.keyed_digest(text)).await.map_err(unavailable)?;
    let app = called.client.application.app_id;
    let own = record.filter(|record| {
        record.tenant == called.tenant.tenant.id
            && !called.client_is_public()
            && (record.issuer == app || record.workers.iter().any(|worker| worker.client == app))
    });
    Ok(own.map(|record| (Ends::WorkOrder(record.id), record.user)))
}

async fn of_refresh_token(ports: &Ports, called: &Called, text: &str) -> Result<Option<(FamilyId, UserId)>, Denial> {
    // By the digest of the whole text.
    let record = ports.ledger.refresh(ports.crypto.keyed_digest(text)).await.map_err(unavailable)?;
    let own = record.filter(|record| {
        record.client == called.client.application.app_id
            && record.tenant == called.tenant.tenant.id
            // Without its credential a client gives back only what it got without.
            && (record.public || !called.client_is_public())
    });
    Ok(own.map(|record| (record.family, record.user)))
}

/// An access token that the client got with the user's own authorization stands for it; one that it got on behalf of a user
/// rests on somebody else's, and ends by itself.
fn of_access_token(ports: &Ports, called: &Called, claims: &TokenClaims) -> Result<Option<(FamilyId, UserId)>, Denial> {
    let own = claims.client() == called.client.application.app_id.to_string()
        && claims.tid == called.tenant.tenant.id.to_string()
        && !claims.idtyp.is_empty();
    if !own {
        return Ok(None);
    }
    let chain = ports.crypto.open(&claims.aio).and_then(|bytes| Chain::decode(&bytes));
    match (chain, claims.oid.parse()) {
        (Some(chain), Ok(user)) if chain.hops() == 0 => Ok(chain.grants.first().map(|family| (*family, user))),
        _ => Err(Denial::new(
            CheckId::RevocationKind,
            "a refresh token, or an access token that a user's sign-in at this client gave",
            "an access token that the client got as itself or on behalf of another's user",
        )),
    }
}
