//! Authorization code with PKCE (RFC 6749 section 4.1.3, RFC 7636).
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::directory::UserKey;
use crate::facts::{Facts, ProofFacts, Verifier};
use crate::ledger::{CodeRecord, Unavailable, Write};
use crate::model::{Digest, Profile};
use crate::ports::Pending;
use crate::scope_request::Several;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use oauth::{Need, Parameter, Scopes};
use sha2::{Digest as _, Sha256};

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::AuthorizationCode,
    recognises: |_| true,
    parameters: PARAMETERS,
    parse: |_| Ok(()),
    gather,
};

/// What this grant reads.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::required("code", "The code, within ten minutes and once; a second use revokes what the first one gave."),
    Parameter::depends("redirect_uri", "Exactly the one of the authorization request."),
    Parameter::depends(
        "code_verifier",
        "The verifier of the `code_challenge` that was sent (RFC 7636); refused where none was sent.",
    ),
    Parameter {
        need: Need::Optional,
        behaviour: "Scopes of one resource, of those that were asked for (`native` profile) or consented to (`entra` \
                    profile). Left out: those of the authorization request, of the first resource.",
        ..super::SCOPE
    },
    Parameter { need: Need::Optional, ..super::RESOURCE },
];

fn gather(from: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async move {
        let digest = from.ports.crypto.keyed_digest(from.form.value("code").unwrap_or_default());
        let record = from.ports.ledger.code(digest).await?;
        let (mut user, mut session, mut scope) = (None, None, None);
        if let Some(record) = &record {
            user = from.ports.directory.user(record.tenant, UserKey::Id(record.user)).await?;
            let proven = record.proven.as_ref();
            session = super::session(from.ports, record.session, Vec::new(), (Some(record.family), Vec::new()), proven)
                .await?;
            scope = from.form.value("scope").is_none().then(|| record.scope.clone());
        }
        let application = &from.client.application;
        let public_redirect =
            record.as_ref().is_some_and(|record| !application.web.redirect_uris.contains(&record.redirect_uri));
        let spa_redirect =
            record.as_ref().is_some_and(|record| application.spa.redirect_uris.contains(&record.redirect_uri));
        Ok(Gathered {
            several: if scope.is_some() { Several::First } else { Several::Refuse },
            scope,
            user,
            session,
            claims: record.as_ref().and_then(|record| record.claims.clone()),
            proof: ProofFacts::Code {
                digest,
                record,
                redirect_uri: from.form.value("redirect_uri").map(str::to_owned),
                verifier: verifier(from.form.value("code_verifier")),
                public_redirect,
                spa_redirect,
            },
        })
    })
}

fn verifier(sent: Option<&str>) -> Verifier {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    match sent {
        None => Verifier::Absent,
        Some(text) if !(43..=128).contains(&text.len()) || !text.bytes().all(unreserved) => Verifier::Malformed,
        Some(text) => Verifier::Challenge(URL_SAFE_NO_PAD.encode(Sha256::digest(text))),
    }
}

pub(super) struct Presented<'a> {
    pub(super) digest: &'a Digest,
    pub(super) record: &'a Option<CodeRecord>,
    pub(super) redirect_uri: &'a Option<String>,
    pub(super) verifier: &'a Verifier,
    pub(super) public: bool,
    pub(super) spa: bool,
}

pub(super) fn prove(facts: &Facts, client: &AuthenticatedClient, presented: Presented<'_>, now: Timestamp) -> Proved {
    let Some(record) = presented.record else {
        return Proved::no(
            Denial::new(CheckId::CodeValid, "a code that this authority issued", "another text"),
            Vec::new(),
        );
    };
    // Whoever presents a code wrongly may have stolen it: it is dead, also for its owner.
    let kill = || vec![Write::KillCode(*presented.digest)];
    if record.client != client.app() {
        let denial =
            Denial::new(CheckId::CodeClient, "the client that the code was issued to", format!("`{}`", client.app()));
        return Proved::no(denial, kill());
    }
    if record.consumed {
        // A replay: whoever redeemed it first may be the thief, so nothing that stems from it lives on (RFC 9700 section 4.14).
        return Proved::no(
            Denial::new(CheckId::CodeUnused, "a code that has not been redeemed", "one that has"),
            vec![Write::RevokeFamily(record.family)],
        );
    }
    if let Err(denial) = judge(facts, client, record, &presented, now) {
        return Proved::no(denial, kill());
    }
    // In the native profile the user authorized this and no more; in Entra's, consent alone is the limit.
    let ceiling = (client.profile() == Profile::Native).then(|| Scopes::from(record.scope.clone()));
    Proved::yes(Proof::User { actors: Vec::new(), ceiling }, vec![Write::ConsumeCode(*presented.digest)])
}

fn judge(
    facts: &Facts,
    client: &AuthenticatedClient,
    record: &CodeRecord,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<(), Denial> {
    if facts.tenant.as_ref().is_none_or(|tenant| tenant.id != record.tenant) {
        return Err(Denial::new(CheckId::CodeTenant, format!("the tenant `{}`", record.tenant), "another tenant"));
    }
    if record.revoked {
        let found = "one whose family was revoked";
        return Err(Denial::new(CheckId::UserNotRevoked, "a code whose grant stands", found));
    }
    if record.expires <= now {
        return Err(Denial::new(
            CheckId::CodeValid,
            "a current code",
            format!("one that expired at {}", record.expires),
        ));
    }
    if presented.redirect_uri.as_deref() != Some(&record.redirect_uri) {
        return Err(Denial::new(CheckId::CodeRedirectUri, format!("`{}`", record.redirect_uri), "another value"));
    }
    // A confidential client may leave its credential out only for a code that went to its public platform, and such
    // a code has a challenge, unless its redirect URI has changed platforms since.
    if client.method() == Method::None && (!presented.public || record.challenge.is_none()) {
        let expected = "the credential of a client whose redirect URI is of a web application";
        return Err(Denial::new(CheckId::ClientCredentialPresent, expected, "none"));
    }
    super::from_pages(facts, presented.spa)?;
    match (&record.challenge, presented.verifier) {
        (Some(challenge), Verifier::Challenge(sent)) if challenge == sent => Ok(()),
        (None, Verifier::Absent) => Ok(()),
        (Some(_), Verifier::Absent) => Err(Denial::new(CheckId::PkceMatches, "`code_verifier`", "none")),
        (Some(_), Verifier::Malformed) => {
            Err(Denial::new(CheckId::PkceMatches, "`code_verifier` of 43 to 128 unreserved characters", "another text"))
        }
        (Some(_), Verifier::Challenge(_)) => {
            Err(Denial::new(CheckId::PkceMatches, "the verifier of the challenge", "another one"))
        }
        // RFC 9700 section 4.8.2: a verifier without a challenge is a sign of a downgrade.
        (None, _) => Err(Denial::new(CheckId::PkceMatches, "no `code_verifier`, since no challenge was sent", "one")),
    }
}
