//! Client credentials (RFC 6749 section 4.4): an application as itself.
use super::{Gathered, Gathering, Grant, Proved};
use crate::admission::Proof;
use crate::client_auth::{AuthenticatedClient, Method};
use crate::denial::Denial;
use crate::facts::ProofFacts;
use crate::ledger::Unavailable;
use crate::ports::Pending;
use crate::scope_request::Several;
use decision::CheckId;
use oauth::Parameter;

pub(crate) const GRANT: Grant = Grant {
    grant_type: oauth::GrantType::ClientCredentials,
    recognises: |_| true,
    parameters: PARAMETERS,
    parse: |_| Ok(()),
    gather,
};

/// What this grant reads.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        behaviour: "v2.0: `{application ID URI}/.default` of one resource; single app roles cannot be named.",
        ..super::SCOPE
    },
    super::RESOURCE,
];

fn gather(_: Gathering<'_>) -> Pending<'_, Result<Gathered, Unavailable>> {
    Box::pin(async {
        Ok(Gathered {
            proof: ProofFacts::ClientCredentials,
            user: None,
            session: None,
            scope: None,
            several: Several::Refuse,
            claims: None,
        })
    })
}

pub(super) fn prove(client: &AuthenticatedClient) -> Proved {
    if client.method() == Method::None {
        let expected = "a client that proves itself with a secret or a certificate";
        return Proved::no(Denial::new(CheckId::ClientCredentialPresent, expected, "a public client"), Vec::new());
    }
    Proved::yes(Proof::App, Vec::new())
}
