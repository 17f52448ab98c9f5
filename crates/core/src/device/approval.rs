//! The person's side of a device: a page for its code, an ordinary authorization request, and a page that asks.
use super::{typed, user_code_digest};
use crate::audit::AuditRecord;
use crate::authorize::Browser;
use crate::denial::Denial;
use crate::id::TenantId;
use crate::issuance;
use crate::ledger::{Approval, CommitError, DeviceRecord, DeviceStage, Unavailable, Write};
use crate::limits::{Caller, Wait};
use crate::model::{Application, Digest};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use oauth::{Form, Secret};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::net::IpAddr;

/// A device that a person's browser is at work on: sealed, and worth nothing in another browser.
#[derive(Serialize, Deserialize)]
struct Handle {
    device: Digest,
    browser: Digest,
    verifier: Secret,
}

impl Handle {
    fn open(ports: &Ports, browser: &Browser, sealed: &str) -> Option<Self> {
        let handle: Self = serde_json::from_slice(&ports.crypto.open(sealed)?).ok()?;
        (handle.browser == ports.crypto.keyed_digest(&browser.cookie)).then_some(handle)
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(self.verifier.expose()))
    }
}

/// Where an authorization request for a device comes back to.
fn redirect_uri(ports: &Ports) -> String {
    format!("{}/device/approve", ports.host)
}

/// Whether a redirect URI is the page on which devices are approved; every public client may come back there.
pub(crate) fn registered(ports: &Ports, application: &Application, uri: &str) -> Option<bool> {
    let confidential = !application.is_fallback_public_client;
    let may = !confidential || !application.password_credentials.is_empty() || !application.key_credentials.is_empty();
    (may && uri == redirect_uri(ports)).then_some(true)
}

/// The ticket of the page on which a code is typed.
pub fn ticket(ports: &Ports, browser: &Browser) -> String {
    Ticket::new(ports, Page::UserCode, &browser.cookie, None, &Form::default(), ports.now()).seal(ports)
}

/// Takes the code that a person typed on our page: where to send the browser, relative to our host.
///
/// # Errors
/// [`CheckId::UserCodeKnown`] if no device shows it; [`CheckId::AttemptsLimited`] after too many wrong ones.
pub async fn enter(ports: &Ports, browser: &Browser, ticket: &str, text: &str) -> Result<String, Denial> {
    let now = ports.now();
    Ticket::open(ports, ticket, Page::UserCode, &browser.cookie, None, &Form::default(), now).ok_or_else(forged)?;
    let cookie = ports.crypto.keyed_digest(&browser.cookie);
    let callers = [Caller::UserCodes(cookie), Caller::UserCodesFrom(browser.address.into())];
    let wait = |wait: Wait| wait.denial("wrong codes", "another code at once");
    let attempt = ports.limits.attempt(&callers, now).map_err(wait)?;
    let known = match typed(text) {
        Some(code) => ports.ledger.device_by_user_code(user_code_digest(ports, &code)).await.map_err(unavailable)?,
        None => None,
    };
    let Some((device, record)) = known.filter(|(_, record)| waits(record, now)) else {
        return Err(Denial::new(CheckId::UserCodeKnown, "the code that your device shows", "another one"));
    };
    attempt.succeeded();
    let handle = Handle { device, browser: cookie, verifier: issuance::secret_text(ports) };
    let sealed = ports.crypto.seal(&serde_json::to_vec(&handle).unwrap_or_default());
    let request = Form::default()
        .with("client_id", &record.client.to_string())
        .with("response_type", "code")
        .with("redirect_uri", &redirect_uri(ports))
        .with("scope", &record.scope)
        .with("code_challenge", &handle.challenge())
        .with("code_challenge_method", "S256")
        .with("state", &sealed);
    let request = record.claims.iter().fold(request, |request, claims| request.with("claims", claims));
    Ok(format!("/{}/oauth2/v2.0/authorize?{}", record.segment, request.encode()))
}

fn waits(record: &DeviceRecord, now: Timestamp) -> bool {
    record.stage == DeviceStage::Pending && record.expires > now
}

/// What the person is asked before a device acts for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The application on the device.
    pub client_name: String,
    /// The tenant.
    pub tenant_name: String,
    /// The name to sign in with of who is signed in.
    pub upn: String,
    /// Where the device asked from.
    pub place: Option<IpAddr>,
    /// How many seconds ago.
    pub asked: i64,
    /// What it asked for.
    pub scope: String,
    /// The hidden field.
    pub ticket: String,
}

/// A request that came back from the authorization endpoint: what is asked of the person now.
///
/// # Errors
/// If it did not come back to the browser that the code was typed in, or was refused there.
pub async fn returned(ports: &Ports, browser: &Browser, answer: &Form) -> Result<DeviceRequest, Denial> {
    let now = ports.now();
    let at_work = at_work(ports, browser, answer, now).await?;
    if answer.value("error") == Some("access_denied") {
        decline(ports, &at_work, None, now).await?;
    }
    let accepted = accepted(ports, browser, answer, &at_work, now).await?;
    let snapshot = ports.directory.snapshot();
    let tenant = snapshot.tenant(accepted.tenant).ok_or_else(forged)?;
    let client = tenant.app(at_work.record.client).ok_or_else(forged)?;
    let key = crate::directory::UserKey::Id(accepted.approval.user);
    let user = ports.directory.user(accepted.tenant, key).await.map_err(unavailable)?.ok_or_else(forged)?;
    let ticket = Ticket::new(ports, Page::Device, &browser.cookie, Some(accepted.approval.session), answer, now);
    Ok(DeviceRequest {
        client_name: client.application.display_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        upn: user.user.user_principal_name.clone(),
        place: at_work.record.address,
        asked: now.since(at_work.record.issued).max(0),
        scope: at_work.record.scope.clone(),
        ticket: ticket.seal(ports),
    })
}

/// What the person decided.
#[derive(Clone, Copy)]
pub struct DeviceDecided<'a> {
    /// Whether they pressed "Continue".
    pub accepted: bool,
    /// Whether they said that the device is theirs.
    pub own: bool,
    /// The hidden field.
    pub ticket: &'a str,
}

/// Takes a decision about a device, in the browser and session that the page was shown to, once: the code of the
/// authorization request is consumed with it. Answers whether the device was approved.
///
/// # Errors
/// If the page was another's, or the device does not wait any more.
pub async fn decided(
    ports: &Ports,
    browser: &Browser,
    answer: &Form,
    decided: DeviceDecided<'_>,
) -> Result<bool, Denial> {
    let now = ports.now();
    let at_work = at_work(ports, browser, answer, now).await?;
    let accepted = accepted(ports, browser, answer, &at_work, now).await?;
    let session = Some(accepted.approval.session);
    let ticket = Ticket::open(ports, decided.ticket, Page::Device, &browser.cookie, session, answer, now);
    let ticket = ticket.ok_or_else(forged)?;
    if !decided.accepted {
        decline(ports, &at_work, Some(&ticket), now).await?;
        return Ok(false);
    }
    if !decided.own {
        return Err(Denial::new(
            CheckId::UserCodeKnown,
            "a device of yours, by the box on the page",
            "no such statement",
        )
        .fix("go back and tick the box if you started this on a device of yours; else cancel"));
    }
    let stage = DeviceStage::Approved(accepted.approval.clone());
    let record = DeviceRecord { stage, tenant: accepted.tenant, ..at_work.record.clone() };
    let writes = vec![
        Write::ConsumeCode(accepted.code),
        Write::AdvanceDevice(at_work.device, Box::new(record)),
        ticket.consume(),
        audit(ports, &at_work, "approve device", Some(&accepted), now),
    ];
    commit(ports, writes).await?;
    Ok(true)
}

struct AtWork {
    device: Digest,
    record: DeviceRecord,
    challenge: String,
}

/// The device that a browser is at work on, if it still waits.
async fn at_work(ports: &Ports, browser: &Browser, answer: &Form, now: Timestamp) -> Result<AtWork, Denial> {
    let state = answer.value("state").unwrap_or_default();
    let handle = Handle::open(ports, browser, state).ok_or_else(forged)?;
    let record = ports.ledger.device(handle.device).await.map_err(unavailable)?;
    let Some(record) = record.filter(|record| waits(record, now)) else {
        return Err(Denial::new(
            CheckId::UserCodeKnown,
            "a device that still waits",
            "one that has expired or was decided about",
        ));
    };
    Ok(AtWork { device: handle.device, record, challenge: handle.challenge() })
}

struct Accepted {
    code: Digest,
    tenant: TenantId,
    approval: Approval,
}

/// What the authorization endpoint answered: the code of this device's own request, not yet used, in this very session.
async fn accepted(
    ports: &Ports,
    browser: &Browser,
    answer: &Form,
    at_work: &AtWork,
    now: Timestamp,
) -> Result<Accepted, Denial> {
    let Some(code) = answer.value("code") else {
        let what = answer.value("error_description").or(answer.value("error")).unwrap_or("no answer");
        let what: String = what.chars().take(300).filter(|c| !c.is_control()).collect();
        return Err(Denial::new(CheckId::ConsentDeclined, "a completed sign-in", what)
            .fix("start again on the device if this was a mistake"));
    };
    let digest = ports.crypto.keyed_digest(code);
    let record = ports.ledger.code(digest).await.map_err(unavailable)?.ok_or_else(forged)?;
    let fits = record.client == at_work.record.client
        && record.redirect_uri == redirect_uri(ports)
        && record.challenge.as_deref() == Some(&at_work.challenge)
        && browser.accounts.iter().any(|account| account.id == record.session)
        && !record.consumed
        && !record.revoked
        && record.expires > now;
    let approval =
        Approval { user: record.user, session: record.session, proven: record.proven.clone(), family: record.family };
    fits.then_some(Accepted { code: digest, tenant: record.tenant, approval }).ok_or_else(forged)
}

async fn decline(ports: &Ports, at_work: &AtWork, ticket: Option<&Ticket>, now: Timestamp) -> Result<(), Denial> {
    let record = DeviceRecord { stage: DeviceStage::Declined, ..at_work.record.clone() };
    let mut writes = vec![Write::AdvanceDevice(at_work.device, Box::new(record))];
    writes.extend(ticket.map(Ticket::consume));
    writes.push(audit(ports, at_work, "decline device", None, now));
    commit(ports, writes).await
}

async fn commit(ports: &Ports, writes: Vec<Write>) -> Result<(), Denial> {
    ports.ledger.commit(writes).await.map_err(|error| match error {
        CommitError::Conflict => forged(),
        CommitError::Unavailable => unavailable(Unavailable),
    })
}

fn audit(ports: &Ports, at_work: &AtWork, action: &str, accepted: Option<&Accepted>, now: Timestamp) -> Write {
    Write::Audit(Box::new(AuditRecord {
        tenant: Some(accepted.map_or(at_work.record.tenant, |accepted| accepted.tenant)),
        client: Some(at_work.record.client),
        subject: accepted.map(|accepted| accepted.approval.user.to_string()),
        scope: at_work.record.scope.clone(),
        ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), action)
    }))
}
