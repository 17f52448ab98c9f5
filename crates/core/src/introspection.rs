//! Token introspection (RFC 7662): whether a token is good now, told to the API it is for and to nobody else.
//!
//! What stands behind the token is asked of the one admission function, as at issuance: what would not be issued any more is
//! not active, and what would be issued with less is told with less.
use crate::admission::{self, Admitted, Proof};
use crate::called::{Called, called};
use crate::chain::Chain;
use crate::client_auth;
use crate::conditional_access;
use crate::denial::Denial;
use crate::directory::{Registration, UserKey, UserRecord};
use crate::facts::{Asked, CallerFacts, Facts, ProofFacts, ResourceFacts, SessionFacts, Target, UserFacts};
use crate::grant;
use crate::id::{AppId, UserId};
use crate::ledger::{Unavailable, Write};
use crate::model::Profile;
use crate::ports::Ports;
use crate::scope_request::{Parties, standing};
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::{Refusal, TokenRequest, blank, client_facts, unavailable, user_facts, withdrawn};
use crate::trace::{Carried, UserInTrace};
use decision::{CheckId, Timestamp};
use oauth::{Parameter, Parameters, Scopes};
use serde_json::{Map, Value, json};

/// Clocks may differ by this much.
const SKEW: i64 = 60;

/// What is read.
pub const PARAMETERS: &[Parameters] = &[
    Parameters {
        when: "",
        each: &[Parameter::required(
            "token",
            "An access token for the calling API, or a refresh token of the caller. Anything else is `active: false`.",
        )],
    },
    client_auth::PARAMETERS,
    client_auth::HEADERS,
];

/// Answers an introspection request of an API.
///
/// # Errors
/// If the caller is not an authenticated, confidential client. What is wrong with the token is no error.
pub async fn answer(ports: &Ports, request: TokenRequest<'_>) -> Result<(String, Map<String, Value>), Refusal> {
    called(ports, &request, async |called| {
        if called.client_is_public() {
            let expected = "an API that proves itself with a secret or a certificate";
            return Err(Denial::new(CheckId::ClientCredentialPresent, expected, "no credential"));
        }
        called.spend(ports, Vec::new()).await?;
        let text = grant::required(request.form, "token")?;
        let active = active(ports, &called, text).await.map_err(unavailable)?;
        if let (Some(told), Some(trace)) = (&active, request.trace)
            && told.get("idtyp").is_some_and(|kind| kind == "user")
        {
            let (tenant, client) = (called.tenant.tenant.id, called.client.application.app_id);
            let user = UserInTrace::new(tenant, client, trace, Carried::Introspected, called.now);
            // The answer does not hang on it; and a store that writes nothing issues no app-only token either.
            let _ = ports.ledger.commit(vec![Write::CarryUser(user)]).await;
        }
        Ok(active.unwrap_or_else(|| Map::from_iter([("active".to_owned(), Value::Bool(false))])))
    })
    .await
}

/// What is told of a token that is good for the caller.
async fn active(ports: &Ports, called: &Called, text: &str) -> Result<Option<Map<String, Value>>, Unavailable> {
    match ports.crypto.assertion(text) {
        AssertionFacts::Verified(claims) => access_token(ports, called, &claims).await,
        _ => refresh_token(ports, called, text).await,
    }
}

async fn access_token(
    ports: &Ports,
    called: &Called,
    claims: &TokenClaims,
) -> Result<Option<Map<String, Value>>, Unavailable> {
    let now = called.now;
    let tid = called.tenant.tenant.id.to_string();
    let issuer =
        if claims.ver == "1.0" { format!("{}/{tid}/", ports.host) } else { format!("{}/{tid}/v2.0", ports.host) };
    let current = claims.exp > now.0 && claims.nbf <= now.0.saturating_add(SKEW);
    let sound = claims.tid == tid && claims.iss == issuer && claims.cnf.is_none() && current;
    let application = &called.client.application;
    let exact = application.deputize.resource_profile == Profile::Native;
    if !sound || !grant::on_behalf_of::is_for(&claims.aud, application.app_id, &application.identifier_uris, exact) {
        return Ok(None);
    }
    let Some(client) = claims.client().parse().ok().and_then(|id: AppId| called.tenant.app(id)) else {
        return Ok(None);
    };
    let admitted = match claims.idtyp.as_str() {
        "user" => {
            let Ok(oid) = claims.oid.parse::<UserId>() else { return Ok(None) };
            let Some(chain) = ports.crypto.open(&claims.aio).and_then(|bytes| Chain::decode(&bytes)) else {
                return Ok(None);
            };
            let user = ports.directory.user(called.tenant.tenant.id, UserKey::Id(oid)).await?;
            let actors: Vec<AppId> = chain.actors.iter().skip(1).copied().collect();
            let session = grant::session_behind(ports, &called.tenant, chain).await?;
            // As an assertion is judged: what the caller may not exchange any more is not active.
            let assertion = AssertionFacts::Verified(Box::new(claims.clone()));
            let resource = at_caller(called, client, user.as_deref());
            let caller = Some(Box::new(CallerFacts { client: client_facts(client), resource }));
            let proof = ProofFacts::OnBehalfOf { assertion, caller };
            let facts = facts(ports, called, client, user.as_deref(), session, proof);
            admission::admit(&facts, Ok(Proof::User { actors, ceiling: None }), now)
        }
        "app" => {
            let facts = facts(ports, called, client, None, None, ProofFacts::ClientCredentials);
            admission::admit(&facts, Ok(Proof::App), now)
        }
        _ => return Ok(None),
    };
    Ok(admitted.ok().and_then(|admitted| told(claims, &admitted)))
}

/// The facts of asking now for all that this client may have at the caller.
fn facts(
    ports: &Ports,
    called: &Called,
    client: &Registration,
    user: Option<&UserRecord>,
    session: Option<SessionFacts>,
    proof: ProofFacts,
) -> Facts {
    let target = Target::Resource(Box::new(at_caller(called, client, user)));
    let client_id = client.application.app_id.to_string();
    let acting = session.iter().flat_map(|session| session.chain.actors.iter().copied());
    let withdrawn = user.and_then(|user| withdrawn(user, &called.tenant, acting));
    let mut facts = Facts {
        target,
        proof,
        user: user.map(|user| UserFacts { consent_withdrawn: withdrawn, ..user_facts(user) }),
        session: session.map(|session| session.in_tenant(&called.tenant)),
        ..blank(ports, &called.tenant.tenant.id.to_string(), Some(&called.tenant), &client_id, Some(client))
    };
    policies(called, &mut facts);
    facts
}

fn at_caller(called: &Called, client: &Registration, user: Option<&UserRecord>) -> ResourceFacts {
    let parties = Parties { tenant: &called.tenant, client, user };
    let name = called.client.application.app_id.to_string();
    standing(&called.client, &name, Asked::Default, parties)
}

/// Whoever bears the token may be anywhere; the user is where their browser was last seen.
fn policies(called: &Called, facts: &mut Facts) {
    let seen = facts.session.as_ref().and_then(|session| session.address);
    conditional_access::gather(&called.tenant, facts, seen);
}

/// A token that lost all its scopes is worth nothing; one that lost some is told without them.
fn told(claims: &TokenClaims, admitted: &Admitted) -> Option<Map<String, Value>> {
    let scopes = Scopes::from(claims.scp.clone()).intersection(admitted.scopes());
    let roles: Vec<&String> = claims.roles.iter().filter(|role| admitted.roles().contains(role)).collect();
    if claims.idtyp == "user" && scopes.is_empty() {
        return None;
    }
    let mut told = json!({
        "active": true, "token_type": "Bearer", "iss": claims.iss, "aud": claims.aud, "sub": claims.sub,
        "client_id": claims.client(), "exp": claims.exp, "iat": claims.iat, "nbf": claims.nbf, "jti": claims.uti,
        "tid": claims.tid, "oid": claims.oid, "idtyp": claims.idtyp,
    });
    let members = told.as_object_mut()?;
    if !scopes.is_empty() {
        members.insert("scope".into(), scopes.to_string().into());
    }
    if !roles.is_empty() {
        members.insert("roles".into(), json!(roles));
    }
    if let Some(chain) = admitted.chain().filter(|chain| !chain.acrs.is_empty()) {
        members.insert("acrs".into(), json!(chain.acrs));
    }
    Some(std::mem::take(members))
}

/// A refresh token is for the authority alone; the client that holds it may ask about it.
async fn refresh_token(ports: &Ports, called: &Called, text: &str) -> Result<Option<Map<String, Value>>, Unavailable> {
    // By the digest of the whole text: a part of it, or more than it, is another text.
    let digest = ports.crypto.keyed_digest(text);
    let Some(record) = ports.ledger.refresh(digest).await? else { return Ok(None) };
    let now: Timestamp = called.now;
    let own = record.client == called.client.application.app_id && record.tenant == called.tenant.tenant.id;
    if !own || record.revoked || record.rotated.is_some() || record.expires <= now {
        return Ok(None);
    }
    let user = ports.directory.user(record.tenant, UserKey::Id(record.user)).await?;
    let (actors, grants) = (record.actors.clone(), record.grants.clone());
    let rests_on = (Some(record.family), grants);
    let session = grant::session(ports, record.session, actors.clone(), rests_on, record.proven.as_ref()).await?;
    let client_id = record.client.to_string();
    let acting = actors.iter().copied().chain([record.client]);
    let withdrawn = user.as_deref().and_then(|user| withdrawn(user, &called.tenant, acting));
    let mut facts = Facts {
        target: Target::Authority,
        proof: ProofFacts::Refresh { digest, record: Some(record.clone()) },
        user: user.as_deref().map(|user| UserFacts { consent_withdrawn: withdrawn, ..user_facts(user) }),
        session: session.map(|session| session.in_tenant(&called.tenant)),
        ..blank(ports, &record.tenant.to_string(), Some(&called.tenant), &client_id, Some(&called.client))
    };
    policies(called, &mut facts);
    if admission::admit(&facts, Ok(Proof::User { actors, ceiling: None }), now).is_err() {
        return Ok(None);
    }
    let told = json!({
        "active": true, "client_id": client_id, "scope": record.scope, "exp": record.expires.0, "iat": record.issued.0,
        "iss": format!("{}/{}/v2.0", ports.host, record.tenant),
    });
    Ok(told.as_object().cloned())
}
