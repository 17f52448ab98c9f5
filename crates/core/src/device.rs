//! Devices without a browser (RFC 8628): they show a code, and a person types it elsewhere, signs in and approves.
//!
//! The person's side is an ordinary authorization request of the device's client, whose answer comes back to a page of our
//! own: sign-in, second factor, consent and conditional access are those of every other request. What approves the device is
//! that request's code, consumed in the same commit.
use crate::audit::AuditRecord;
use crate::authorize::Browser;
use crate::client_auth::{self, Method};
use crate::denial::{Denial, ErrorContext};
use crate::endpoint::EndpointVersion;
use crate::id::{AppId, TenantId};
use crate::issuance;
use crate::ledger::{Approval, CommitError, DeviceRecord, DeviceStage, Unavailable, Write};
use crate::limits::{Caller, DEVICE_INTERVAL, Wait};
use crate::model::{Application, Digest, Profile};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::{Refusal, TokenRequest, blank, find_tenant, is_alias, unavailable};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use oauth::{ClaimsRequest, Form, Secret};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::net::IpAddr;

/// Life of a device code, in seconds.
const SECONDS: i64 = 900;
/// Consonants only: no words, and nothing that looks like a digit (RFC 8628 section 6.1).
const ALPHABET: [char; 20] =
    ['B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Z'];
/// Characters of a user code.
const LENGTH: usize = 8;
/// Tries to find a code that no other device shows.
const TRIES: usize = 3;

/// What the device is told (RFC 8628 section 3.2). No `verification_uri_complete`: a link with the code filled in is how
/// people are made to approve an attacker's device.
#[derive(Clone, Debug, Serialize)]
pub struct Begun {
    /// The decision's id.
    #[serde(skip)]
    pub decision: String,
    /// What the person types.
    pub user_code: String,
    /// What the device asks with.
    pub device_code: Secret,
    /// Where the person types it.
    pub verification_uri: String,
    /// Seconds that it works.
    pub expires_in: i64,
    /// Seconds between two requests.
    pub interval: i64,
    /// What to show to the person.
    pub message: String,
}

/// Answers a device authorization request (RFC 8628 section 3.1).
///
/// # Errors
/// With the error answer.
pub async fn begin(ports: &Ports, request: TokenRequest<'_>) -> Result<Begun, Refusal> {
    let now = ports.now();
    let decision = issuance::random_uuid(ports).to_string();
    let mut profile = Profile::Entra;
    decide(ports, &request, &decision, now, &mut profile).await.map_err(|denial| {
        let correlation = request.correlation.unwrap_or(&decision);
        let context = ErrorContext { host: &ports.host, decision: &decision, correlation, now };
        Refusal { status: denial.status(), check: denial.id(), body: Box::new(denial.body(profile, &context)) }
    })
}

async fn decide(
    ports: &Ports,
    request: &TokenRequest<'_>,
    decision: &str,
    now: Timestamp,
    profile: &mut Profile,
) -> Result<Begun, Denial> {
    let form = request.form;
    let snapshot = ports.directory.snapshot();
    let (client_id, presented) = client_auth::presented(form, request.basic)?;
    let app: Option<AppId> = client_id.parse().ok();
    let tenant = if is_alias(request.tenant) {
        // Who signs in decides; until then any tenant where the client stands speaks for it.
        snapshot.tenants().find(|tenant| tenant.tenant.enabled && app.is_some_and(|app| tenant.app(app).is_some()))
    } else {
        find_tenant(&snapshot, request.tenant)
    };
    let client = tenant.and_then(|tenant| tenant.app(app?));
    if let Some(client) = client {
        *profile = client.application.deputize.client_profile;
    }
    let mut facts = blank(ports, request.tenant, tenant.map(AsRef::as_ref), &client_id, client.map(AsRef::as_ref));
    facts.authentication = client_auth::gather(presented, client.map(AsRef::as_ref), &*ports.crypto, now);
    let proven = client_auth::decide(&facts, now)?;
    let (Some(tenant), Some(client)) = (tenant, client) else {
        return Err(Denial::new(CheckId::ClientKnown, "a client", "none"));
    };
    if proven.method() == Method::None && !client.application.is_fallback_public_client {
        return Err(not_public(proven.app()));
    }
    if request.origin.is_some() {
        let expected = "a device, which sends no `Origin`";
        return Err(Denial::new(CheckId::ClientOrigin, expected, "a page of another site"));
    }
    // The v1.0 endpoint names a resource, and means all that is registered or granted there.
    let of_resource = |resource: &str| format!("openid profile offline_access {resource}/.default");
    let scope = match request.version {
        EndpointVersion::V1 => form.value("resource").map(of_resource).or(form.value("scope").map(str::to_owned)),
        EndpointVersion::V2 => form.value("scope").map(str::to_owned),
    };
    let scope = scope.filter(|scope| !scope.trim().is_empty());
    let scope = scope.ok_or_else(|| Denial::new(CheckId::ScopePresent, "`scope`", "nothing"))?;
    let claims = form.value("claims");
    if claims.is_some_and(|claims| ClaimsRequest::parse(claims).is_none()) {
        return Err(Denial::new(CheckId::RequestWellFormed, "`claims` as a JSON object", "another text"));
    }
    // Each is a record, made for a stranger.
    if let Err(Wait(seconds)) = ports.limits.attempt(&[Caller::DevicesFrom(request.address.into())], now) {
        let expected = format!("fewer device authorizations from one address; wait {seconds} seconds");
        return Err(Denial::new(CheckId::AttemptsLimited, expected, "too many"));
    }
    for _ in 0..TRIES {
        let (device_code, user_code) = (issuance::secret_text(ports), user_code(ports));
        let record = DeviceRecord {
            tenant: tenant.tenant.id,
            segment: request.tenant.to_owned(),
            client: proven.app(),
            user_code: user_code_digest(ports, &user_code),
            scope: scope.clone(),
            claims: claims.map(str::to_owned),
            address: request.address,
            issued: now,
            expires: now.plus(SECONDS),
            stage: DeviceStage::Pending,
        };
        let digest = ports.crypto.keyed_digest(device_code.expose());
        match ports.ledger.commit(vec![Write::InsertDevice(digest, Box::new(record))]).await {
            Ok(()) => {
                let shown = shown(&user_code);
                let verification_uri = format!("{}/device", ports.host);
                let message = message(form.value("mkt"), &verification_uri, &shown);
                return Ok(Begun {
                    decision: decision.to_owned(),
                    user_code: shown,
                    device_code,
                    verification_uri,
                    expires_in: SECONDS,
                    interval: DEVICE_INTERVAL,
                    message,
                });
            }
            Err(CommitError::Conflict) => {}
            Err(CommitError::Unavailable) => return Err(unavailable(Unavailable)),
        }
    }
    Err(unavailable(Unavailable))
}

/// A client that may not leave its credential out here.
pub(crate) fn not_public(app: AppId) -> Denial {
    let expected = format!("`isFallbackPublicClient = true` on the application `{app}`");
    Denial::new(CheckId::ClientPublicAllowed, expected, "a client that is not public")
        .fix("set `isFallbackPublicClient` on the application, so that devices may use it without a credential")
}

/// `?mkt=`: the person's language, as far as it is spoken here.
fn message(market: Option<&str>, uri: &str, code: &str) -> String {
    let language = market.and_then(|market| market.split('-').next()).unwrap_or("en").to_ascii_lowercase();
    match language.as_str() {
        "de" => {
            format!("Öffnen Sie zum Anmelden in einem Webbrowser die Seite {uri} und geben Sie den Code {code} ein.")
        }
        "fr" => {
            format!("Pour vous connecter, ouvrez la page {uri} dans un navigateur web et saisissez le code {code}.")
        }
        "es" => format!("Para iniciar sesión, abra la página {uri} en un explorador web y escriba el código {code}."),
        _ => format!("To sign in, use a web browser to open the page {uri} and enter the code {code} to authenticate."),
    }
}

fn user_code(ports: &Ports) -> String {
    let mut code = String::with_capacity(LENGTH);
    while code.len() < LENGTH {
        // Bytes from 240 on would favour the first letters.
        code.extend(
            issuance::random::<16>(ports)
                .iter()
                .filter(|byte| **byte < 240)
                .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
                .take(LENGTH - code.len()),
        );
    }
    code
}

/// As people read it: `WDJB-MJHT`.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at_checked(LENGTH / 2).unwrap_or((code, ""));
    format!("{first}-{second}")
}

/// As people type it: in any case, with or without the dash and blanks. `None` if it can be no code.
fn typed(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_ascii_uppercase())
        .take(LENGTH + 1)
        .collect();
    (code.chars().count() == LENGTH && code.chars().all(|c| ALPHABET.contains(&c))).then_some(code)
}

fn user_code_digest(ports: &Ports, code: &str) -> Digest {
    ports.crypto.keyed_digest(&format!("user code\0{code}"))
}

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
    let attempt = ports.limits.attempt(&callers, now).map_err(|Wait(seconds)| {
        let expected = format!("a wait of {} after so many wrong codes", words(seconds));
        Denial::new(CheckId::AttemptsLimited, expected, "another code at once")
    })?;
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

/// Seconds in words.
pub fn words(seconds: i64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        ..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_euclid(60) + i64::from(seconds % 60 > 0)),
    }
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
    let session = browser.session.as_ref().map(|session| session.id);
    let fits = record.client == at_work.record.client
        && record.redirect_uri == redirect_uri(ports)
        && record.challenge.as_deref() == Some(&at_work.challenge)
        && session == Some(record.session)
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

#[cfg(test)]
mod tests {
    use super::{ALPHABET, shown, typed};

    #[test]
    fn a_20_a_user_code_is_read_as_people_type_it_and_nothing_else_is_one() {
        let code: String = ALPHABET.iter().take(8).collect();
        for text in [&*code, &code.to_lowercase(), &shown(&code), " bcdf ghjk ", "b-c-d-f-g-h-j-k"] {
            assert_eq!(typed(text).as_deref(), Some(&*code), "{text}");
        }
        for text in ["", "BCDFGHJ", "BCDFGHJKL", "BCDFGHJA", "BCDFGHJ1", "ＢＣＤＦＧＨＪＫ", &"B".repeat(100_000)]
        {
            assert_eq!(typed(text), None);
        }
    }
}
