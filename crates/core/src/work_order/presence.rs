//! A user gives their presence to an order that waits for it: an ordinary authorization request of the application that made
//! the order, which asks of the person whatever the policies ask, and comes back here. The order stems from that sign-in then.
use super::WorkOrderRecord;
use crate::audit::AuditRecord;
use crate::authorize::Browser;
use crate::denial::Denial;
use crate::directory::TenantDirectory;
use crate::id::TenantId;
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::model::Digest;
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::token_endpoint::unavailable;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::CheckId;
use oauth::{Form, Secret};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// An order that a person's browser is at work on: sealed, and worth nothing in another browser.
#[derive(Serialize, Deserialize)]
struct Handle {
    order: Digest,
    browser: Digest,
    verifier: Secret,
}

impl Handle {
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(self.verifier.expose()))
    }
}

/// Where the authorization request comes back to.
fn redirect_uri(ports: &Ports) -> String {
    format!("{}/work-orders/present", ports.host)
}

/// Whether a redirect URI is this page of ours: every application's users may come back there.
pub(crate) fn registered(ports: &Ports, uri: &str) -> Option<bool> {
    (uri == redirect_uri(ports)).then_some(true)
}

/// Where the browser goes, relative to our host.
pub(super) fn begin(
    ports: &Ports,
    browser: &Browser,
    order: Digest,
    record: &WorkOrderRecord,
    tenant: &TenantDirectory,
) -> String {
    let browser = ports.crypto.keyed_digest(&browser.cookie);
    let handle = Handle { order, browser, verifier: issuance::secret_text(ports) };
    let scopes = record.allowed.iter().take(1).filter_map(|allowance| {
        let name = tenant.app(allowance.resource)?.resource_name();
        Some(allowance.scopes.iter().map(|scope| format!("{name}/{scope}")).collect::<Vec<_>>().join(" "))
    });
    let request = Form::default()
        .with("client_id", &record.issuer.to_string())
        .with("response_type", "code")
        .with("redirect_uri", &redirect_uri(ports))
        .with("scope", &scopes.collect::<Vec<_>>().join(" "))
        .with("code_challenge", &handle.challenge())
        .with("code_challenge_method", "S256")
        .with("state", &ports.crypto.seal(&serde_json::to_vec(&handle).unwrap_or_default()));
    format!("/{}/oauth2/v2.0/authorize?{}", record.tenant, request.encode())
}

/// The request has come back: the order stems from this sign-in now. Answers with the tenant, whose page is shown next.
///
/// # Errors
/// If it came back to another browser, with another person, or was refused on the way.
pub async fn returned(ports: &Ports, browser: &Browser, answer: &Form) -> Result<TenantId, Denial> {
    let now = ports.now();
    let sealed = answer.value("state").and_then(|state| ports.crypto.open(state));
    let handle: Handle = sealed.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(forged)?;
    if handle.browser != ports.crypto.keyed_digest(&browser.cookie) {
        return Err(forged());
    }
    let order = ports.ledger.work_order(handle.order).await.map_err(unavailable)?;
    let Some(order) = order.filter(|order| !order.revoked && order.expires > now) else {
        return Err(Denial::new(CheckId::WorkOrderCurrent, "a work order that stands", "one that has ended"));
    };
    let Some(code) = answer.value("code") else {
        let what = answer.value("error_description").or(answer.value("error")).unwrap_or("no answer");
        let what: String = what.chars().take(300).filter(|c| !c.is_control()).collect();
        return Err(Denial::new(CheckId::ConsentDeclined, "a completed sign-in", what)
            .fix("go back to your work orders and try again"));
    };
    let digest = ports.crypto.keyed_digest(code);
    let code = ports.ledger.code(digest).await.map_err(unavailable)?.ok_or_else(forged)?;
    let fits = code.client == order.issuer
        && code.redirect_uri == redirect_uri(ports)
        && code.challenge.as_deref() == Some(&handle.challenge())
        // Nobody else's presence counts.
        && (code.tenant, code.user) == (order.tenant, order.user)
        && browser.accounts.iter().any(|account| account.id == code.session)
        && !code.consumed
        && !code.revoked
        && code.expires > now;
    let Some(proven) = code.proven.filter(|_| fits) else { return Err(forged()) };
    let audit = AuditRecord {
        tenant: Some(order.tenant),
        client: Some(order.issuer),
        subject: Some(order.user.to_string()),
        session: Some(code.session),
        grants: vec![order.id],
        object: Some(order.path()),
        purpose: Some(order.purpose.clone()),
        ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), "approve work order")
    };
    let (before, tenant) = (order.session, order.tenant);
    let rooted = WorkOrderRecord { session: code.session, proven, ..order };
    let writes = vec![
        Write::ConsumeCode(digest),
        Write::RootWorkOrder(handle.order, before, Box::new(rooted)),
        Write::Audit(Box::new(audit)),
    ];
    ports.ledger.commit(writes).await.map_err(|error| match error {
        CommitError::Conflict => forged(),
        CommitError::Unavailable => unavailable(Unavailable),
    })?;
    Ok(tenant)
}
