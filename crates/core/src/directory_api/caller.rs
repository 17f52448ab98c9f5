//! Who calls the directory API: a token for `api://deputize`, and what stands behind it now.
use crate::admission::{self, Proof};
use crate::built_in;
use crate::chain::Chain;
use crate::conditional_access;
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserKey};
use crate::facts::{Asked, CallerFacts, Facts, ProofFacts, Target, UserFacts};
use crate::grant;
use crate::id::{AppId, PrincipalId, TenantId, UserId};
use crate::ports::Ports;
use crate::scope_request::{Parties, standing};
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::{blank, client_facts, find_tenant, person, unavailable, withdrawn};
use decision::{CheckId, Timestamp};
use oauth::Scopes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Clocks may differ by this much.
const SKEW: i64 = 60;

/// Who calls, with the permissions of their token that still stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// The application that calls.
    pub client: AppId,
    /// For whom.
    pub subject: Subject,
    /// Delegated permissions for a user, app roles for an application.
    pub permissions: Vec<String>,
}

/// For whom an application calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A user.
    User {
        /// Who.
        id: UserId,
        /// Whether they are an administrator of the tenant now.
        administrator: bool,
    },
    /// Itself.
    Application(PrincipalId),
}

/// Reads a token of this tenant for the authority itself, and judges all about it but what stands behind it.
///
/// # Errors
/// If it is another.
pub(crate) fn own_token(
    ports: &Ports,
    segment: &str,
    token: &str,
    now: Timestamp,
) -> Result<(Arc<TenantDirectory>, Box<TokenClaims>), Denial> {
    let refuse = |check, expected: &str, actual: &str| Denial::new(check, expected, actual);
    let AssertionFacts::Verified(claims) = ports.crypto.assertion(token) else {
        return Err(refuse(CheckId::TokenSignature, "an access token of this authority", "another text"));
    };
    let snapshot = ports.directory.snapshot();
    let Some(tenant) = find_tenant(&snapshot, segment) else {
        return Err(refuse(CheckId::TenantKnown, "the id or a domain of a tenant", "another text"));
    };
    let id = tenant.tenant.id;
    if claims.tid != id.to_string() || claims.iss != format!("{}/{id}/v2.0", ports.host) {
        return Err(refuse(CheckId::TokenTenant, "a token of this tenant", "another tenant's"));
    }
    if claims.aud != built_in::APP.to_string() {
        let expected = format!("a token for `{}`", built_in::URI);
        return Err(refuse(CheckId::TokenAudience, &expected, "a token for another resource"));
    }
    if claims.cnf.is_some() {
        return Err(refuse(CheckId::TokenBinding, "proof of possession of the token's key", "none"));
    }
    if claims.nbf > now.0.saturating_add(SKEW) {
        return Err(refuse(CheckId::TokenNotBefore, "a token that is valid already", "one of later"));
    }
    if claims.exp.saturating_add(SKEW) <= now.0 {
        return Err(refuse(CheckId::TokenExpired, "a current token", "an expired one"));
    }
    Ok((Arc::clone(tenant), claims))
}

/// Who a bearer token speaks for: admitted as they stand now, by the one admission function.
///
/// # Errors
/// If the token is none for the authority in this tenant, or what stands behind it does not stand any more.
pub(super) async fn caller(ports: &Ports, segment: &str, token: &str, now: Timestamp) -> Result<Caller, Denial> {
    let (tenant, claims) = own_token(ports, segment, token, now)?;
    let id = tenant.tenant.id;
    let authority = tenant.app(built_in::APP);
    let client = claims.client().parse().ok().and_then(|app: AppId| tenant.app(app));
    let (Some(client), Some(authority)) = (client, authority) else {
        let found = "one that is not known any more";
        return Err(Denial::new(CheckId::ClientKnown, "an application of this tenant", found));
    };
    let user = match (claims.idtyp.as_str(), claims.oid.parse::<UserId>()) {
        ("user", Ok(oid)) => Some(ports.directory.user(id, UserKey::Id(oid)).await.map_err(unavailable)?),
        ("app", _) => None,
        _ => return Err(Denial::new(CheckId::TokenType, "an access token", "another token")),
    };
    let record = user.as_ref().and_then(Option::as_deref);
    let parties = Parties { tenant: &tenant, client, user: record };
    let target = Target::Resource(Box::new(standing(authority, built_in::URI, Asked::Default, parties)));
    let client_id = client.application.app_id.to_string();
    let facts = Facts { target, ..blank(ports, segment, Some(&tenant), &client_id, Some(client)) };
    let (subject, permissions) = if user.is_some() {
        let chain = ports.crypto.open(&claims.aio).and_then(|bytes| Chain::decode(&bytes));
        let Some(chain) = chain else {
            return Err(Denial::new(CheckId::TokenType, "an access token with its chain", "one without"));
        };
        let actors = chain.actors.iter().skip(1).copied().collect();
        let withdrawn = record.and_then(|user| withdrawn(user, &tenant, chain.actors.iter().copied()));
        // As an assertion is judged: what the client may not ask for any more opens nothing.
        let assertion = AssertionFacts::Verified(claims.clone());
        let resource = standing(authority, built_in::URI, Asked::Default, parties);
        let behind = Some(Box::new(CallerFacts { client: client_facts(client), resource }));
        let mut facts = Facts {
            proof: ProofFacts::OnBehalfOf { assertion, caller: behind },
            session: grant::session_behind(ports, &tenant, chain).await.map_err(unavailable)?,
            user: match record {
                Some(record) => {
                    let user = person(ports, record).await.map_err(unavailable)?;
                    Some(UserFacts { consent_withdrawn: withdrawn, ..user })
                }
                None => None,
            },
            ..facts
        };
        // Whoever bears the token may be anywhere; the user is where their browser was last seen.
        let seen = facts.session.as_ref().and_then(|session| session.address);
        conditional_access::gather(&tenant, &mut facts, seen);
        let admitted = admission::admit(&facts, Ok(Proof::User { actors, ceiling: None }), now)?;
        let Some(record) = record else { return Err(Denial::new(CheckId::UserKnown, "a user", "none")) };
        let scopes = Scopes::from(claims.scp.clone()).intersection(admitted.scopes());
        let subject = Subject::User { id: record.user.id, administrator: record.user.is_tenant_admin };
        (subject, scopes.iter().map(str::to_owned).collect())
    } else {
        let mut facts = Facts { proof: ProofFacts::ClientCredentials, ..facts };
        conditional_access::gather(&tenant, &mut facts, None);
        let admitted = admission::admit(&facts, Ok(Proof::App), now)?;
        let stands = |role: &&String| admitted.roles().contains(role);
        (Subject::Application(client.principal.id), claims.roles.iter().filter(stands).cloned().collect())
    };
    Ok(Caller { tenant: id, client: client.application.app_id, subject, permissions })
}
