//! Workload identity federation: another issuer's token in place of a credential (spec/entra.md section 5.1).
//!
//! The issuer is one that the application named; its keys verify the token before subject and audience are compared, so that
//! nobody learns by guessing what is registered. Tokens of this authority's own tenants are verified here, without a request.
use super::{Proven, SKEW, peek};
use crate::admission::short;
use crate::audit::Credential;
use crate::client_auth::{Method, Presented};
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot};
use crate::facts::{AuthenticationFacts, ClientFacts};
use crate::id::{PrincipalId, TenantId};
use crate::model::Digest;
use crate::ports::Ports;
use crate::token::{AssertionFacts, FederatedClaims, FederatedFacts, OwnToken, TokenClaims};
use crate::workload::{FederatedIdentityCredential, TOKEN_EXCHANGE, TOKEN_EXCHANGE_ID};
use decision::{CheckId, Timestamp};
use sha2::{Digest as _, Sha256};

/// What was sent, if it is an assertion of another issuer: one whose `iss` is not the client.
pub(crate) async fn gather(
    presented: &Presented<'_>,
    client: Option<&Registration>,
    ports: &Ports,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<AuthenticationFacts> {
    let (Presented::Assertion(text), Some(client)) = (presented, client) else { return None };
    let application = &client.application;
    let issuer = peek(text, "iss")?;
    // Whether its spelling will do is for the client's profile to say.
    if issuer.eq_ignore_ascii_case(&application.app_id.to_string()) {
        return None;
    }
    let named = application.federated_identity_credentials.iter().filter(|credential| credential.issuer == issuer);
    let credentials: Vec<FederatedIdentityCredential> = named.cloned().collect();
    let assertion = if credentials.is_empty() {
        // Nothing of it is verified and nobody's keys are fetched: that no credential names the issuer is all there is to say.
        FederatedFacts::Refused { check: CheckId::FederatedIssuer, reason: format!("`{}`", short(&issuer)) }
    } else if issuer.strip_prefix(&*ports.host).is_some_and(|rest| rest.starts_with('/')) {
        own(text, ports, snapshot)
    } else {
        ports.crypto.federated_assertion(text, &issuer, now).await
    };
    Some(AuthenticationFacts::Federated { assertion, credentials })
}

/// A token of a tenant of this authority.
fn own(text: &str, ports: &Ports, snapshot: &Snapshot) -> FederatedFacts {
    let refused = |check, reason: &str| FederatedFacts::Refused { check, reason: reason.to_owned() };
    let claims = match ports.crypto.assertion(text) {
        AssertionFacts::Verified(claims) => claims,
        AssertionFacts::Malformed { reason } => return refused(CheckId::ClientAssertionClaims, &reason),
        AssertionFacts::OtherKind { typ } => return refused(CheckId::ClientAssertionTyped, &typ),
        AssertionFacts::Unverified { reason } => return refused(CheckId::ClientAssertionSignature, &reason),
    };
    let TokenClaims { iss, aud, exp, nbf, iat, sub, tid, idtyp, uti, oid, cnf, .. } = *claims;
    if cnf.is_some() {
        return refused(CheckId::ClientAssertionClaims, "a sender-constrained token, without its proof");
    }
    let tenant = tid.parse::<TenantId>().ok().and_then(|id| snapshot.tenant(id));
    let principal = oid.parse::<PrincipalId>().ok().and_then(|id| tenant?.principal(id));
    let stands = tenant.is_some_and(|it| it.tenant.enabled) && principal.is_some_and(|it| it.principal.account_enabled);
    // Version 2 tokens name the resource by its id.
    let aud = if aud.eq_ignore_ascii_case(TOKEN_EXCHANGE_ID) { TOKEN_EXCHANGE.to_owned() } else { aud };
    FederatedFacts::Verified(Box::new(FederatedClaims {
        iss,
        sub,
        aud: vec![aud],
        jti: Some(uti),
        exp: Timestamp(exp),
        nbf: Some(Timestamp(nbf)),
        iat: Some(Timestamp(iat)),
        own: Some(OwnToken { app_only: idtyp == "app", stands }),
    }))
}

/// Which of the application's credentials the assertion is.
pub(super) fn decide(
    client: &ClientFacts,
    assertion: &FederatedFacts,
    credentials: &[FederatedIdentityCredential],
    now: Timestamp,
) -> Result<Proven, Denial> {
    let app = client.app_id;
    let claims = match assertion {
        FederatedFacts::Verified(claims) => claims,
        FederatedFacts::Refused { check, reason } => {
            let expected = match check {
                CheckId::FederatedIssuer => format!("an issuer of a federated identity credential of `{app}`"),
                CheckId::FederatedKeys => "the keys of the assertion's issuer".to_owned(),
                _ => format!("an assertion of an issuer that `{app}` trusts"),
            };
            let denial = Denial::new(*check, expected, reason.as_str());
            // The catalogue's advice is for clients that sign for themselves.
            return Err(match check {
                CheckId::ClientAssertionSignature => denial.fix("send the token exactly as its issuer signed it"),
                CheckId::ClientAssertionKey => denial.fix(
                    "send a token whose `kid` is in its issuer's key set; if that is new, try again in half a minute",
                ),
                CheckId::ClientAssertionAlgorithm => {
                    denial.fix("have the issuer sign with the algorithm that its key is for")
                }
                CheckId::ClientAssertionClaims => {
                    denial.fix("send a token of the issuer with `iss`, `sub`, `aud` and `exp`, for this workload")
                }
                _ => denial,
            });
        }
    };
    if let Some(own) = claims.own {
        if !own.app_only {
            return Err(Denial::new(CheckId::FederatedAppOnly, "an app-only token", "another token of this authority"));
        }
        if !own.stands {
            let denial = Denial::new(CheckId::ClientEnabled, "an enabled application behind the assertion", "another");
            return Err(denial.fix("enable the tenant and the service principal that the assertion was issued to"));
        }
    }
    let begun = claims.nbf.into_iter().chain(claims.iat).all(|moment| moment <= now.plus(SKEW));
    if claims.exp.plus(SKEW) <= now || !begun {
        let expected = format!("an assertion valid at {now}");
        return Err(Denial::new(CheckId::ClientAssertionCurrent, expected, format!("`exp` of {}", claims.exp)));
    }
    // The issuer once more, now that it is verified.
    let mut of_issuer = credentials.iter().filter(|credential| credential.issuer == claims.iss).peekable();
    if of_issuer.peek().is_none() {
        let expected = format!("an issuer of a federated identity credential of `{app}`");
        return Err(Denial::new(CheckId::FederatedIssuer, expected, format!("`{}`", short(&claims.iss))));
    }
    let mut of_subject = of_issuer.filter(|credential| credential.subject == claims.sub).peekable();
    if of_subject.peek().is_none() {
        let expected = format!("a subject of a federated identity credential of `{app}` with this issuer");
        return Err(Denial::new(CheckId::FederatedSubject, expected, format!("`{}`", short(&claims.sub))));
    }
    // One audience: a token that is good elsewhere too could be sent here by whoever received it there.
    let [audience] = claims.aud.as_slice() else {
        return Err(Denial::new(CheckId::FederatedAudience, "one audience", format!("{} of them", claims.aud.len())));
    };
    let Some(credential) = of_subject.find(|credential| credential.audiences.contains(audience)) else {
        let expected = format!("an audience of that federated identity credential, such as `{TOKEN_EXCHANGE}`");
        return Err(Denial::new(CheckId::FederatedAudience, expected, format!("`{}`", short(audience))));
    };
    let used = Credential::Federated {
        name: credential.name.clone(),
        issuer: claims.iss.clone(),
        subject: claims.sub.clone(),
    };
    Ok(Proven { method: Method::Assertion, credential: Some(used), once: once(client, claims)? })
}

/// Platforms hand out one token for an hour and more: it works once only where the application asks for that.
fn once(client: &ClientFacts, claims: &FederatedClaims) -> Result<Option<(Digest, Timestamp)>, Denial> {
    if !client.one_time_federated {
        return Ok(None);
    }
    let Some(jti) = &claims.jti else {
        let expected = "`jti`, since this client's assertions work once";
        return Err(Denial::new(CheckId::ClientAssertionOnce, expected, "none"));
    };
    let mut digest = Sha256::new_with_prefix(client.app_id.to_string().as_bytes());
    for part in [&claims.iss, jti] {
        digest.update([0]);
        digest.update(part.as_bytes());
    }
    Ok(Some((Digest(digest.finalize().into()), claims.exp.plus(SKEW))))
}
