//! Refresh (RFC 6749 section 6), with the rotation of each profile (architecture section 6).
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::directory::UserKey;
use crate::facts::{Facts, ProofFacts};
use crate::ledger::{RefreshRecord, Unavailable, Write};
use crate::model::{Digest, Profile};
use crate::ports::Pending;
use crate::scope_request::Several;
use decision::{CheckId, Timestamp};
use oauth::{Need, Parameter, Scopes};

/// How long after rotation a public client of the entra profile gets a sibling instead of a refusal, in seconds: its cache
/// may have raced with itself.
const GRACE: i64 = 10;

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::RefreshToken,
    recognises: |_| true,
    parameters: PARAMETERS,
    parse: |_| Ok(()),
    gather,
};

/// What this grant reads.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::required(
        "refresh_token",
        "One that this client was issued. Confidential clients may use it again (`entra` profile); public clients get a new \
         one each time; in the `native` profile a second use revokes what stems from it.",
    ),
    Parameter {
        need: Need::Optional,
        behaviour: "Scopes of one resource, the first one named if there are several: within the grant in the `native` \
                    profile, within consent in the `entra` profile. Left out: what was granted.",
        ..super::SCOPE
    },
    Parameter { need: Need::Optional, ..super::RESOURCE },
];

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let digest = from.ports.crypto.keyed_digest(from.form.value("refresh_token").unwrap_or_default());
        let record = from.ports.ledger.refresh(digest).await?;
        let (mut user, mut session, mut scope) = (None, None, None);
        if let Some(record) = &record {
            user = from.ports.directory.user(record.tenant, UserKey::Id(record.user)).await?;
            let rests_on = (Some(record.family), record.grants.clone());
            let (actors, proven) = (record.actors.clone(), record.proven.as_ref());
            session = super::session(from.ports, record.session, actors, rests_on, proven).await?;
            scope = from.form.value("scope").is_none().then(|| record.scope.clone());
        }
        let proof = ProofFacts::Refresh { digest, record };
        Ok(Gathered { proof, user, session, scope, several: Several::First, claims: None })
    })
}

pub(super) fn prove(
    facts: &Facts,
    client: &AuthenticatedClient,
    digest: &Digest,
    record: Option<&RefreshRecord>,
    now: Timestamp,
) -> Proved {
    let refuse = |denial| Proved::no(denial, Vec::new());
    let Some(record) = record else {
        return refuse(Denial::new(
            CheckId::RefreshValid,
            "a refresh token that this authority issued",
            "another text",
        ));
    };
    if record.client != client.app() {
        let found = format!("`{}`", client.app());
        return refuse(Denial::new(CheckId::RefreshClient, "the client that the token was issued to", found));
    }
    // An application may stand in several tenants; what was granted in one is worth nothing in another.
    if facts.tenant.as_ref().is_none_or(|tenant| tenant.id != record.tenant) {
        let expected = format!("a refresh token used in its tenant, `{}`", record.tenant);
        return refuse(Denial::new(CheckId::RefreshValid, expected, "another tenant"));
    }
    if client.method() == Method::None && !record.public {
        let expected = "the credential that the client had when it got this token";
        return refuse(Denial::new(CheckId::ClientCredentialPresent, expected, "none"));
    }
    if record.revoked {
        return refuse(Denial::new(CheckId::UserNotRevoked, "a living refresh token", "one whose family was revoked"));
    }
    if let Err(denial) = super::from_pages(facts, record.spa) {
        return refuse(denial);
    }
    if record.spa && record.expires <= now {
        let expected = "a refresh token within 24 hours of the sign-in in the browser";
        let found = format!("one that expired at {}", record.expires);
        return refuse(Denial::new(CheckId::RefreshSpaCurrent, expected, found));
    }
    if record.expires <= now {
        let found = format!("one that expired at {}", record.expires);
        return refuse(Denial::new(CheckId::RefreshCurrent, "a current refresh token", found));
    }
    let native = client.profile() == Profile::Native;
    let mut writes = Vec::new();
    if native || record.public {
        match record.rotated {
            None => writes.push(Write::RotateRefresh(*digest, now)),
            Some(at) if !native && now.since(at) <= GRACE => {}
            Some(_) => {
                let denial =
                    Denial::new(CheckId::RefreshUnused, "a refresh token used once", "one that was used before");
                return Proved::no(denial, vec![Write::RevokeFamily(record.family)]);
            }
        }
    }
    let ceiling = native.then(|| Scopes::from(record.scope.clone()));
    Proved::yes(Proof::User { actors: record.actors.clone(), ceiling }, writes)
}
