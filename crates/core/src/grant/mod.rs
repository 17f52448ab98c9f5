//! The grants. Each is one file: which requests are its own, what it reads, what it proves. What may be issued on that
//! proof is for [`crate::admission`] to say.
//!
//! To add a grant: a file with a [`Grant`] and one line in [`ALL`].

pub mod authorization_code;
pub mod client_credentials;
pub mod device_code;
pub mod on_behalf_of;
pub mod redemption;
pub mod refresh_token;
pub mod work_order;

use crate::admission::{self, Admitted, Proof};
use crate::client_auth::{self, AuthenticatedClient};
use crate::denial::Denial;
use crate::directory::{Registration, TenantDirectory};
use crate::facts::{Facts, ProofFacts};
use crate::ledger::{Unavailable, Write};
use crate::ports::{Pending, Ports};
use decision::{CheckId, Timestamp};
use oauth::{Form, Need, Parameter};
use std::sync::Arc;

/// A grant of the token endpoint.
#[derive(Clone, Copy)]
pub struct Grant {
    /// `grant_type`.
    pub grant_type: oauth::GrantType,
    /// Whether a form with that `grant_type` means this grant (one URN has several meanings).
    pub recognises: fn(&Form) -> bool,
    /// What it reads of the form; it sees nothing else.
    pub parameters: &'static [Parameter],
    /// Refuses forms whose parameters do not fit each other.
    pub parse: fn(&Form) -> Result<(), Denial>,
    /// Reads, through ports, what its decision needs. Judges nothing.
    pub gather: for<'a> fn(Gathering<'a>) -> Pending<'a, Result<Gathered, Unavailable>>,
}

/// Every grant that the authority offers; its metadata is written from this list.
pub const ALL: &[Grant] = &[
    authorization_code::GRANT,
    client_credentials::GRANT,
    device_code::GRANT,
    on_behalf_of::GRANT,
    refresh_token::GRANT,
    redemption::GRANT,
    work_order::GRANT,
];

impl Grant {
    /// Refuses forms that lack what the grant needs.
    ///
    /// # Errors
    /// With what is missing, or does not fit.
    pub fn accepts(&self, form: &Form) -> Result<(), Denial> {
        for parameter in self.parameters.iter().filter(|parameter| parameter.need == Need::Required) {
            required(form, parameter.name)?;
        }
        (self.parse)(form)
    }
}

/// `scope` and `resource` of the grants that ask for a resource.
pub(crate) const SCOPE: Parameter = Parameter::depends(
    "scope",
    "v2.0: scopes of one resource, `{application ID URI}/{scope}` or `{application ID URI}/.default`, and OpenID Connect's. \
     v1.0: OpenID Connect's scopes only.",
);
/// See [`SCOPE`].
pub(crate) const RESOURCE: Parameter = Parameter::depends(
    "resource",
    "v1.0: the application ID URI or client id of one resource; all that is granted there is asked for. \
     v2.0: RFC 8707, only beside `scope` and naming the same resource; alone it is AADSTS901002.",
);

/// What a grant gathers from.
#[derive(Clone, Copy)]
pub struct Gathering<'a> {
    /// The request.
    pub form: &'a Form,
    /// The tenant.
    pub tenant: &'a Arc<TenantDirectory>,
    /// The client.
    pub client: &'a Registration,
    /// The world.
    pub ports: &'a Ports,
}

/// What a grant gathered.
pub struct Gathered {
    /// What was presented.
    pub proof: ProofFacts,
    /// The user it names, with all about them.
    pub user: Option<Arc<crate::directory::UserRecord>>,
    /// The session it stems from.
    pub session: Option<crate::facts::SessionFacts>,
    /// `scope`, if the request's own does not count.
    pub scope: Option<String>,
    /// What to do with scopes of several resources.
    pub several: crate::scope_request::Several,
    /// `claims`, if the request has none.
    pub claims: Option<String>,
}

/// What a decision came to. A refusal can carry writes: a replayed code revokes its family.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What to write, whichever way it went.
    pub writes: Vec<Write>,
    /// What may be issued, or why nothing is.
    pub verdict: Result<Grantable, Denial>,
}

/// A granted request.
#[derive(Clone, Debug, PartialEq)]
pub struct Grantable {
    /// Who asked.
    pub client: AuthenticatedClient,
    /// What may be issued.
    pub admitted: Admitted,
    /// The same at the other APIs of a work order.
    pub also: Vec<Admitted>,
}

/// What a grant's own rules came to, before admission.
pub(crate) struct Proved {
    proof: Result<Proof, Denial>,
    /// Writes if everything is admitted.
    on_success: Vec<Write>,
    /// Writes if the grant's own rules refuse.
    on_refusal: Vec<Write>,
}

impl Proved {
    pub(crate) fn yes(proof: Proof, on_success: Vec<Write>) -> Self {
        Self { proof: Ok(proof), on_success, on_refusal: Vec::new() }
    }
    pub(crate) fn no(denial: Denial, on_refusal: Vec<Write>) -> Self {
        Self { proof: Err(denial), on_success: Vec::new(), on_refusal }
    }
}

/// Decides a token request: reads `facts` and nothing else.
pub fn decide(facts: &Facts, now: Timestamp) -> Outcome {
    let client = match client_auth::decide(facts, now) {
        Ok(client) => client,
        Err(denial) => return Outcome { writes: Vec::new(), verdict: Err(denial) },
    };
    let proved = match &facts.proof {
        ProofFacts::ClientCredentials => client_credentials::prove(&client),
        ProofFacts::Code { digest, record, redirect_uri, verifier, public_redirect, spa_redirect } => {
            let presented = authorization_code::Presented {
                digest,
                record,
                redirect_uri,
                verifier,
                public: *public_redirect,
                spa: *spa_redirect,
            };
            authorization_code::prove(facts, &client, presented, now)
        }
        ProofFacts::Refresh { digest, record } => refresh_token::prove(facts, &client, digest, record.as_ref(), now),
        ProofFacts::Device { digest, record, impatient } => {
            device_code::prove(facts, &client, digest, record.as_deref(), *impatient, now)
        }
        ProofFacts::OnBehalfOf { assertion, .. } => on_behalf_of::prove(facts, &client, assertion, now),
        ProofFacts::WorkOrder(order) => work_order::prove(facts, &client, order, now),
        ProofFacts::Redemption(presented) => redemption::prove(facts, &client, presented, now),
        ProofFacts::SignIn => Proved::no(Denial::new(CheckId::GrantSupported, "a grant", "a sign-in"), Vec::new()),
    };
    let refused = proved.proof.is_err();
    let others = proved.proof.clone();
    let admitted = admission::admit(facts, proved.proof, now).and_then(|admitted| {
        let also = work_order::others(facts).map(|other| admission::admit(&other, others.clone(), now));
        Ok((admitted, also.collect::<Result<Vec<_>, _>>()?))
    });
    match admitted {
        Ok((admitted, also)) => {
            let mut writes = proved.on_success;
            if let Some((value, expires)) = client.once() {
                writes.push(Write::ConsumeOnce {
                    purpose: crate::ledger::OncePurpose::ClientAssertion,
                    value,
                    expires,
                });
            }
            writes.extend(crate::trace::seen(facts, &client, Some(&admitted), now));
            Outcome { writes, verdict: Ok(Grantable { client, admitted, also }) }
        }
        Err(denial) => {
            let mut writes = if refused { proved.on_refusal } else { Vec::new() };
            let (denial, parked) = if refused { (denial, None) } else { redemption::parked(facts, denial, now) };
            writes.extend(parked);
            writes.extend(crate::trace::seen(facts, &client, None, now));
            Outcome { writes, verdict: Err(denial) }
        }
    }
}

/// What a single-page application got is used in its pages, where no server can keep it; all else is used elsewhere.
pub(crate) fn from_pages(facts: &Facts, spa: bool) -> Result<(), Denial> {
    match (spa, facts.cross_origin) {
        (true, false) => {
            Err(Denial::new(CheckId::ClientOriginPresent, "`Origin`, as the application's pages send it", "none"))
        }
        (false, true) => {
            let expected = "a request without `Origin`, or a redirect URI that is registered under `spa`";
            Err(Denial::new(CheckId::ClientOrigin, expected, "a page of another origin"))
        }
        _ => Ok(()),
    }
}

/// A required parameter.
pub(crate) fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Denial> {
    form.value(name).ok_or_else(|| {
        Denial::new(CheckId::ParameterPresent, format!("`{name}`"), "nothing")
            .fix(format!("add `{name}` to the request"))
    })
}

/// The state now of the session and of the authorizations that a chain rests on, for what was issued when this was proven. A
/// session that the ledger does not know counts as ended. The first authorization is one whose state the grant has read with
/// its record.
pub(crate) async fn session(
    ports: &Ports,
    id: crate::id::SessionId,
    actors: Vec<crate::id::AppId>,
    (own, grants): (Option<crate::id::FamilyId>, Vec<crate::id::FamilyId>),
    proven: Option<&crate::ledger::Proven>,
) -> Result<Option<crate::facts::SessionFacts>, Unavailable> {
    let Some(record) = ports.ledger.session(id).await? else { return Ok(None) };
    let mut grant_revoked = false;
    for grant in &grants {
        grant_revoked |= ports.ledger.family_revoked(*grant).await?;
    }
    let grants = own.into_iter().chain(grants).collect();
    let facts = crate::facts::SessionFacts { grant_revoked, ..crate::facts::SessionFacts::of(&record, actors, grants) };
    Ok(Some(proven.into_iter().fold(facts, crate::facts::SessionFacts::when_proven)))
}

/// The session and the authorizations behind a token, and who acted since, as they stand in its tenant now.
pub(crate) async fn session_behind(
    ports: &Ports,
    tenant: &TenantDirectory,
    chain: crate::chain::Chain,
) -> Result<Option<crate::facts::SessionFacts>, Unavailable> {
    let proven = chain.proven();
    let session = session(ports, chain.session, chain.actors, (None, chain.grants), Some(&proven)).await?;
    Ok(session.map(|session| session.in_tenant(tenant)))
}
