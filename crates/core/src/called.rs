//! What endpoints beside the token endpoint share: the tenant in the path, and a client that proved itself.
use crate::audit::Credential;
use crate::client_auth::{self, AuthenticatedClient, Method};
use crate::denial::{Denial, ErrorContext};
use crate::directory::{Registration, TenantDirectory};
use crate::issuance;
use crate::ledger::{CommitError, OncePurpose, Unavailable, Write};
use crate::model::Profile;
use crate::ports::Ports;
use crate::token_endpoint::{Refusal, TokenRequest, authenticate, find_tenant, opening, same_origin, unavailable};
use decision::{CheckId, Timestamp};
use std::sync::Arc;

/// A call by an authenticated client.
pub(crate) struct Called {
    pub(crate) tenant: Arc<TenantDirectory>,
    pub(crate) client: Arc<Registration>,
    pub(crate) decision: String,
    pub(crate) now: Timestamp,
    proven: AuthenticatedClient,
}

/// Authenticates the client as the token endpoint does, and lets `then` answer it.
pub(crate) async fn called<T>(
    ports: &Ports,
    request: &TokenRequest<'_>,
    then: impl AsyncFnOnce(Called) -> Result<T, Denial>,
) -> Result<(String, T), Refusal> {
    let now = ports.now();
    let decision = issuance::random_uuid(ports).to_string();
    let mut profile = Profile::Entra;
    let answered = match authenticated(ports, request, &decision, now, &mut profile).await {
        Ok(called) => then(called).await,
        Err(denial) => Err(denial),
    };
    answered.map(|answer| (decision.clone(), answer)).map_err(|denial| {
        let correlation = request.correlation.unwrap_or(&decision);
        let context = ErrorContext { host: &ports.host, decision: &decision, correlation, now };
        Refusal::of(&denial, profile, &context)
    })
}

async fn authenticated(
    ports: &Ports,
    request: &TokenRequest<'_>,
    decision: &str,
    now: Timestamp,
    profile: &mut Profile,
) -> Result<Called, Denial> {
    let snapshot = ports.directory.snapshot();
    let tenant = find_tenant(&snapshot, request.tenant).cloned();
    let (client_id, presented) = client_auth::presented(request.form, request.basic)?;
    let client = client_id.parse().ok().and_then(|id| tenant.as_ref()?.app(id)).cloned();
    if let Some(client) = &client {
        *profile = client.application.deputize.client_profile;
    }
    if let Some(origin) = request.origin {
        same_origin(origin, client.as_deref(), &presented)?;
    }
    let parties = (&*snapshot, tenant.as_deref(), client.as_deref());
    let facts = opening(ports, request, parties, &client_id, presented, now).await;
    let proven = authenticate(ports, request, &facts, now)?;
    match (tenant, client) {
        (Some(tenant), Some(client)) => Ok(Called { tenant, client, decision: decision.to_owned(), now, proven }),
        _ => Err(Denial::new(CheckId::ClientKnown, "a client", "none")),
    }
}

impl Called {
    /// Whether it proved nothing.
    pub(crate) fn client_is_public(&self) -> bool {
        self.proven.method() == Method::None
    }

    /// Which of its credentials it used.
    pub(crate) fn credential(&self) -> Option<Credential> {
        self.proven.credential().cloned()
    }

    /// Commits writes, with the use of the client's assertion where those work once.
    pub(crate) async fn spend(&self, ports: &Ports, mut writes: Vec<Write>) -> Result<(), Denial> {
        if let Some((value, expires)) = self.proven.once() {
            writes.push(Write::ConsumeOnce { purpose: OncePurpose::ClientAssertion, value, expires });
        }
        if writes.is_empty() {
            return Ok(());
        }
        ports.ledger.commit(writes).await.map_err(|error| match error {
            // The one condition here.
            CommitError::Conflict => Denial::new(
                CheckId::ClientAssertionOnce,
                "an assertion whose `jti` was not used before",
                "one that was used",
            ),
            CommitError::Unavailable => unavailable(Unavailable),
        })
    }
}
