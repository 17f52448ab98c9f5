//! Userinfo (OpenID Connect Core section 5.3): who the bearer of a token of this authority's own acts for.
use crate::admission::{self, Proof};
use crate::denial::Denial;
use crate::directory::UserKey;
use crate::facts::{Facts, Target, UserFacts};
use crate::id::{AppId, UserId};
use crate::ports::Ports;
use crate::token::AssertionFacts;
use crate::token_endpoint::{blank, person, unavailable};
use crate::{chain::Chain, grant};
use decision::CheckId;
use oauth::Scopes;
use serde_json::{Map, Value};

const SKEW: i64 = 60;

/// Who a token of this authority's own acts for, and by which client: the facts, admitted as they stand now.
pub(crate) struct Bearer {
    /// Facts about tenant, client and user.
    pub(crate) facts: Facts,
    /// The client.
    pub(crate) client: AppId,
    /// The user, as they stand now.
    pub(crate) user: UserFacts,
}

/// Answers with the claims that the token's scopes allow.
///
/// # Errors
/// If the token is not one of this authority's own, or what stands behind it does not stand any more.
pub async fn userinfo(ports: &Ports, token: &str) -> Result<Map<String, Value>, Denial> {
    let Bearer { facts, client, user } = bearer(ports, token).await?;
    let scopes = &facts.oidc;
    // The same pairwise `sub` as in the client's ID token (section 5.3.2).
    let tid = facts.tenant.as_ref().map(|tenant| tenant.id).unwrap_or_default();
    let sub = crate::reference::user(&*ports.crypto, tid, user.id, client);
    let mut answer = Map::new();
    answer.insert("sub".into(), sub.into());
    if scopes.contains("profile") {
        let names = [("name", Some(user.display_name)), ("given_name", user.given_name), ("family_name", user.surname)];
        answer.extend(names.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        answer.insert("preferred_username".into(), user.upn.into());
    }
    if let Some(mail) = user.mail.filter(|_| scopes.contains("email")) {
        answer.insert("email".into(), mail.into());
    }
    Ok(answer)
}

/// Reads a token of this authority's own.
///
/// # Errors
/// If it is not one, or what stands behind it does not stand any more.
pub(crate) async fn bearer(ports: &Ports, token: &str) -> Result<Bearer, Denial> {
    let now = ports.now();
    let refuse = |check, expected: &str, actual: &str| Denial::new(check, expected, actual);
    let AssertionFacts::Verified(claims) = ports.crypto.assertion(token) else {
        return Err(refuse(CheckId::TokenSignature, "an access token of this authority", "another text"));
    };
    let snapshot = ports.directory.snapshot();
    let tenant = claims.tid.parse().ok().and_then(|id| snapshot.tenant(id));
    let (Some(tenant), Ok(client), Ok(oid)) = (tenant, claims.azp.parse::<AppId>(), claims.oid.parse::<UserId>())
    else {
        return Err(refuse(CheckId::TokenType, "an access token that carries a user", "another token"));
    };
    if claims.aud != *ports.host
        || claims.iss != format!("{}/{}/v2.0", ports.host, tenant.tenant.id)
        || claims.idtyp != "user"
    {
        return Err(refuse(
            CheckId::TokenAudience,
            "a token got with OpenID Connect scopes alone",
            "a token for another resource",
        ));
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
    let scopes = Scopes::from(claims.scp.clone());
    if !scopes.contains("openid") {
        return Err(refuse(CheckId::ScopeSufficient, "the scope `openid`", "a token without it"));
    }
    let registration = tenant.app(client);
    let user = ports.directory.user(tenant.tenant.id, UserKey::Id(oid)).await.map_err(unavailable)?;
    let chain = ports.crypto.open(&claims.aio).and_then(|bytes| Chain::decode(&bytes));
    let session = match chain {
        Some(chain) => grant::session_behind(ports, tenant, chain).await.map_err(unavailable)?,
        None => None,
    };
    let person_behind = match user.as_deref() {
        Some(user) => Some(person(ports, user).await.map_err(unavailable)?),
        None => None,
    };
    let mut facts = Facts {
        oidc: scopes,
        target: Target::Authority,
        user: person_behind,
        session,
        ..blank(ports, &claims.tid, Some(tenant), &claims.azp, registration.map(AsRef::as_ref))
    };
    // Whoever bears the token may be anywhere; the user is where their browser was last seen.
    let seen = facts.session.as_ref().and_then(|session| session.address);
    crate::conditional_access::gather(tenant, &mut facts, seen);
    admission::admit(&facts, Ok(Proof::User { actors: Vec::new(), ceiling: None }), now)?;
    let Some(user) = facts.user.clone() else { return Err(refuse(CheckId::UserKnown, "a user", "none")) };
    Ok(Bearer { facts, client, user })
}
