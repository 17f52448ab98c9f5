//! On-Behalf-Of: a middle tier trades the user's token for one at a downstream API (spec/entra.md section 6).
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::chain::Chain;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::directory::{UserKey, UserRecord};
use crate::endpoint::EndpointVersion;
use crate::facts::{Asked, CallerFacts, Facts, ProofFacts, SessionFacts};
use crate::id::AppId;
use crate::ledger::Unavailable;
use crate::model::Profile;
use crate::ports::Pending;
use crate::scope_request::{Parties, Several, standing};
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::client_facts;
use decision::{CheckId, Timestamp};
use oauth::Parameter;
use std::sync::Arc;

/// Clocks may differ by this much.
const SKEW: i64 = 60;

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::JwtBearer,
    recognises: |form| form.value("requested_token_use") == Some("on_behalf_of"),
    parameters: PARAMETERS,
    parse: |form| match form.value("requested_token_type") {
        None | Some("urn:ietf:params:oauth:token-type:access_token" | "urn:ietf:params:oauth:token-type:jwt") => Ok(()),
        Some(_) => Err(Denial::new(CheckId::GrantSupported, "an access token", "another `requested_token_type`")),
    },
    gather,
};

/// What this grant reads. It never falls back to the client's own rights when the assertion is missing.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::required("requested_token_use", "`on_behalf_of`."),
    Parameter::required(
        "assertion",
        "The access token of a user that this client received; its audience is this client's id or one of its application \
         ID URIs. ID tokens and app-only tokens are refused.",
    ),
    super::SCOPE,
    super::RESOURCE,
    Parameter::optional(
        "requested_token_type",
        "`urn:ietf:params:oauth:token-type:access_token` or `…:jwt`; SAML assertions are not offered.",
    ),
];

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let text = from.form.value("assertion").unwrap_or_default();
        let Presented { facts: assertion, caller, user, session } = presented(from, text).await?;
        let proof = ProofFacts::OnBehalfOf { assertion, caller };
        Ok(Gathered { proof, user, session, scope: None, several: Several::Refuse, claims: None })
    })
}

/// A token that a client presents as the one it was called with, and what stands behind it.
pub(super) struct Presented {
    pub(super) facts: AssertionFacts,
    pub(super) caller: Option<Box<CallerFacts>>,
    pub(super) user: Option<Arc<UserRecord>>,
    pub(super) session: Option<SessionFacts>,
}

pub(super) async fn presented(from: Gathering<'_>, text: &str) -> Result<Presented, Unavailable> {
    let facts = from.ports.crypto.assertion(text);
    let (mut user, mut session, mut caller) = (None, None, None);
    if let AssertionFacts::Verified(claims) = &facts
        && claims.tid == from.tenant.tenant.id.to_string()
    {
        if let Ok(oid) = claims.oid.parse() {
            user = from.ports.directory.user(from.tenant.tenant.id, UserKey::Id(oid)).await?;
        }
        if let Some(chain) = from.ports.crypto.open(&claims.aio).and_then(|bytes| Chain::decode(&bytes)) {
            session = super::session_behind(from.ports, from.tenant, chain).await?;
        }
        caller = who_called(from, claims, user.as_deref()).map(Box::new);
    }
    Ok(Presented { facts, caller, user, session })
}

/// The client that the assertion was issued to, and its standing at this middle tier.
fn who_called(from: Gathering<'_>, claims: &TokenClaims, user: Option<&UserRecord>) -> Option<CallerFacts> {
    let client = from.tenant.app(claims.client().parse().ok()?)?;
    let name = from.client.application.app_id.to_string();
    let parties = Parties { tenant: from.tenant, client, user };
    let resource = standing(from.client, &name, Asked::Default, parties);
    Some(CallerFacts { client: client_facts(client), resource })
}

pub(super) fn prove(facts: &Facts, client: &AuthenticatedClient, assertion: &AssertionFacts, now: Timestamp) -> Proved {
    // Step 1e: only a client that proved itself may act for someone.
    if client.method() == Method::None {
        let denial = Denial::new(CheckId::ClientConfidential, "a confidential client", "a public client");
        return Proved::no(denial, Vec::new());
    }
    if let Err(denial) = judge(facts, client, assertion, now) {
        return Proved::no(denial, Vec::new());
    }
    let actors = facts.session.as_ref().map(|session| session.chain.actors.clone()).unwrap_or_default();
    Proved::yes(Proof::User { actors, ceiling: None }, Vec::new())
}

/// Steps 2 and 3 of spec/entra.md section 6.3, in that order.
pub(super) fn judge(
    facts: &Facts,
    client: &AuthenticatedClient,
    assertion: &AssertionFacts,
    now: Timestamp,
) -> Result<(), Denial> {
    let claims = match assertion {
        AssertionFacts::Malformed { reason } => {
            return Err(Denial::new(CheckId::AssertionForm, "a signed token", reason.as_str()));
        }
        AssertionFacts::OtherKind { typ } => return Err(other_kind(typ)),
        AssertionFacts::Unverified { reason } => {
            return Err(Denial::new(CheckId::AssertionSignature, "a token signed by this authority", reason.as_str()));
        }
        AssertionFacts::Verified(claims) => claims,
    };
    // What may not outlive its assertion would be dead when it is issued.
    let skew = if facts.native() { 0 } else { SKEW };
    if now.0 >= claims.exp.saturating_add(skew) {
        let found = format!("one that expired at {}", Timestamp(claims.exp));
        return Err(Denial::new(CheckId::AssertionCurrent, "a current token", found));
    }
    if claims.nbf > now.0.saturating_add(SKEW) {
        let found = format!("one valid from {}", Timestamp(claims.nbf));
        return Err(Denial::new(CheckId::AssertionNotBefore, "a token that is valid already", found));
    }
    issuer(facts, claims)?;
    audience(facts, client, claims)?;
    // Our access tokens always say who they are for: ID tokens and client assertions carry neither of these.
    if claims.idtyp.is_empty() || claims.client().is_empty() {
        return Err(Denial::new(
            CheckId::AssertionAccessToken,
            "an access token",
            "an ID token or a token of another kind",
        ));
    }
    if claims.idtyp != "user" || claims.scp.is_empty() {
        let found = format!("an app-only token of `{}`", claims.client());
        return Err(Denial::new(CheckId::AssertionUser, "a token that carries a user", found));
    }
    if claims.cnf.is_some() {
        return Err(Denial::new(CheckId::AssertionBinding, "proof of possession of the assertion's key", "none"));
    }
    Ok(())
}

fn issuer(facts: &Facts, claims: &TokenClaims) -> Result<(), Denial> {
    let tid = facts.tenant.as_ref().map(|tenant| tenant.id.to_string()).unwrap_or_default();
    let version = if claims.ver == EndpointVersion::V1.claim() { EndpointVersion::V1 } else { EndpointVersion::V2 };
    let expected = version.issuer(&facts.host, &tid);
    if claims.iss != expected || claims.tid != tid {
        return Err(Denial::new(CheckId::AssertionIssuer, format!("a token of `{expected}`"), "one of another issuer"));
    }
    Ok(())
}

fn audience(facts: &Facts, client: &AuthenticatedClient, claims: &TokenClaims) -> Result<(), Denial> {
    let own = facts.client.as_ref().map(|client| client.identifier_uris.as_slice()).unwrap_or_default();
    let app = client.app().to_string();
    if is_for(&claims.aud, client.app(), own, client.profile() == Profile::Native) {
        return Ok(());
    }
    let names = std::iter::once(&app).chain(own).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let found = format!("`{}`", claims.aud);
    Err(Denial::new(CheckId::AssertionAudience, format!("a token with `aud` {names}"), found))
}

/// Whether a token's `aud` means this application. The native profile compares exactly, Entra's without regard to case.
pub(crate) fn is_for(aud: &str, app: AppId, uris: &[String], exact: bool) -> bool {
    let app = app.to_string();
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let same = |name: &str| if exact { name == aud } else { bare(name).eq_ignore_ascii_case(&bare(aud)) };
    // Only URIs are ever issued with a trailing slash, as the client asked for them.
    let id = if exact { app == aud } else { app.eq_ignore_ascii_case(aud) };
    id || uris.iter().any(|uri| same(uri))
}

fn other_kind(typ: &str) -> Denial {
    Denial::new(
        CheckId::AssertionKindAccepted,
        "an access token (`typ` of `JWT` or `at+jwt`)",
        format!("a token of `typ` `{typ}`"),
    )
}
