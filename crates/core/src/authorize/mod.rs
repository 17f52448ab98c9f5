//! The authorization endpoint's rules (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2, RFC 7636, RFC 9207).
//!
//! Before client and redirect URI are proved nothing is redirected anywhere: an error is a page of our own.
mod ask;
mod consent;
mod id_token;
mod parameters;
mod redirect_uri;
mod second_factor;
mod standing;

pub use ask::{Asking, asked};
pub use consent::{ConsentRequest, Decided, decided};
pub use redirect_uri::registered;
pub use second_factor::{CodeProblem, SecondFactorRequest, Shown as SecondFactorShown, Step, Stepped, second_factor};

use self::consent::{Dialog, consent_page, gather};
pub use self::parameters::PARAMETERS;
use self::parameters::{Parameters, parameters};
use self::standing::standing;
pub(crate) use self::standing::{Standing, combined, future, with};
use crate::account::{self, AccountsRequest, Choice, Wish};
use crate::admission::{self, Proof};
use crate::audit::AuditRecord;
use crate::consent::consent_address;
use crate::denial::{Denial, Remedy};
use crate::directory::{Registration, TenantDirectory};
use crate::endpoint::EndpointVersion;
use crate::facts::{Facts, ProofFacts, SessionFacts, Target};
use crate::id::{AppId, FamilyId, TenantId};
use crate::issuance;
use crate::ledger::{Amendment, CodeRecord, SessionRecord, SignedInTo, Write};
use crate::loops;
use crate::model::Profile;
use crate::ports::Ports;
use crate::presence::{Present, SSO_SECONDS, account, present};
use crate::scope_request::{self, Parties, Several};
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::{blank, find_tenant, is_alias, unavailable};
use decision::{CheckId, Timestamp};
use oauth::{ClaimsRequest, Form, OIDC_SCOPES};
use std::net::IpAddr;
use std::sync::Arc;

/// Life of a code, in seconds.
const CODE_SECONDS: i64 = 600;
/// How recently someone must have signed in to set up a second factor, in seconds: a stolen cookie is not enough.
const ENROL_SECONDS: i64 = 900;

/// How the answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of a redirect.
    Query,
    /// In the fragment of a redirect.
    Fragment,
    /// In a form that the browser posts.
    FormPost,
}

/// An answer for the client, by way of the browser.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The client's registered address.
    pub uri: String,
    /// How.
    pub mode: ResponseMode,
    /// What, in order. Always has `iss` (RFC 9207).
    pub parameters: Form,
}

/// What the sign-in page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInRequest {
    /// The application that wants to know.
    pub client_name: String,
    /// The tenant, if it is known yet.
    pub tenant_name: Option<String>,
    /// A name to start with.
    pub hint: Option<String>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The browser shows the sign-in page.
    SignIn(SignInRequest),
    /// The browser shows the accounts to pick from.
    Accounts(Box<AccountsRequest>),
    /// The browser shows the consent page.
    Consent(Box<ConsentRequest>),
    /// The browser shows a page about the second factor.
    SecondFactor(Box<SecondFactorRequest>),
    /// The browser shows the page on which the person may ask an administrator to agree.
    AskAdmin(Box<ConsentRequest>),
    /// The browser shows that an administrator was asked, and the way back to the client.
    Asked(Redirect),
    /// The browser goes to the client.
    Redirect(Redirect),
    /// A page of our own says why nothing happens; optionally with a way back to the client.
    Page(Box<Denial>, Option<Redirect>),
}

/// What the browser brings along.
#[derive(Clone, Default)]
pub struct Browser {
    /// The session that this request is about, once that is settled.
    pub session: Option<Arc<SessionRecord>>,
    /// Every session of its cookie that lives, the newest first.
    pub accounts: Vec<Arc<SessionRecord>>,
    /// The cookie's text, for binding pages to it.
    pub cookie: String,
    /// Whether this very request made the person sign in.
    pub fresh: bool,
    /// Whether this very request made the person agree.
    pub agreed: bool,
    /// Where it is.
    pub address: Option<IpAddr>,
}

/// A request whose client and redirect URI are proved.
pub struct Proved {
    /// The tenant.
    pub tenant: Option<Arc<TenantDirectory>>,
    /// The client.
    pub client: Arc<Registration>,
    redirect_uri: String,
    mode: ResponseMode,
    state: Option<String>,
    public: bool,
    version: EndpointVersion,
    acr_values: bool,
}

/// Proves client and redirect URI.
///
/// # Errors
/// With a page of our own.
pub fn prove(
    ports: &Ports,
    segment: &str,
    request: &Form,
    session: Option<&SessionRecord>,
) -> Result<Proved, Box<Denial>> {
    let snapshot = ports.directory.snapshot();
    let client_id = request.value("client_id").ok_or_else(|| missing("client_id"))?;
    let app: Option<AppId> = client_id.parse().ok();
    let application = app.and_then(|app| snapshot.application(app));
    let alias = is_alias(segment);
    // Under an alias the person's own tenant decides, and is known once they have signed in.
    let tenant = if alias {
        session.and_then(|session| snapshot.tenant(session.tenant))
    } else {
        find_tenant(&snapshot, segment)
    };
    // Where it does not stand yet, an application of many tenants may come to stand.
    let client = match (tenant, application) {
        (Some(tenant), Some(application)) => tenant.app(application.app_id).cloned().or_else(|| {
            application.may_stand_in(tenant.tenant.id).then(|| Arc::new(future(tenant.tenant.id, application)))
        }),
        (None, Some(application)) if alias => Some(Arc::new(future(application.home_tenant, application))),
        _ => None,
    };
    if alias
        && let Some(application) = application.filter(|application| !application.sign_in_audience.foreign_tenants())
    {
        let expected = "an application with `signInAudience` of `AzureADMultipleOrgs`, or its tenant in the URL";
        return Err(Box::new(Denial::new(CheckId::ClientAudience, expected, format!("`{}`", application.app_id))));
    }
    let facts = blank(ports, segment, tenant.map(AsRef::as_ref), client_id, client.as_deref());
    if tenant.is_some() || !alias {
        admission::tenant_and_client(&facts).map_err(Box::new)?;
    }
    let Some(client) = client else {
        return Err(Box::new(Denial::new(
            CheckId::ClientKnown,
            "an application of this authority",
            "another `client_id`",
        )));
    };
    let redirect_uri = request.value("redirect_uri").ok_or_else(|| missing("redirect_uri"))?;
    let Some(public) = registered(&client.application, redirect_uri)
        .or_else(|| crate::device::registered(ports, &client.application, redirect_uri))
        .or_else(|| crate::work_order::presence::registered(ports, redirect_uri))
    else {
        let expected = format!("a redirect URI that is registered for `{}`", client.application.app_id);
        // A developer needs to see what was sent; anything but an address is somebody's trick, and is not repeated.
        let web = redirect_uri.starts_with("https://") || redirect_uri.starts_with("http://");
        let found = if web { format!("`{}`", admission::short(redirect_uri)) } else { "another one".to_owned() };
        return Err(Box::new(Denial::new(CheckId::RedirectUriRegistered, expected, found)));
    };
    let tokens = request.value("response_type").is_some_and(|it| it.split(' ').any(|word| word.ends_with("token")));
    let mode = match request.value("response_mode") {
        Some("fragment") => ResponseMode::Fragment,
        Some("form_post") => ResponseMode::FormPost,
        // Where a token was asked for, clients look for an error where they would look for the token (OAuth 2.0 Multiple
        // Response Types, section 5).
        None if tokens => ResponseMode::Fragment,
        _ => ResponseMode::Query,
    };
    Ok(Proved {
        tenant: tenant.cloned(),
        client,
        redirect_uri: redirect_uri.to_owned(),
        mode,
        state: request.value("state").map(str::to_owned),
        public,
        version: EndpointVersion::of(request),
        acr_values: request.mentions("acr_values"),
    })
}

impl Proved {
    /// Whether a page that was shown for this tenant fits the request.
    fn may_be_in(&self, tenant: TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.tenant.id == tenant)
    }
}

fn missing(name: &str) -> Box<Denial> {
    Box::new(
        Denial::new(CheckId::ParameterPresent, format!("`{name}`"), "nothing")
            .fix(format!("add `{name}` to the request")),
    )
}

/// Answers an authorization request.
pub async fn authorize(ports: &Ports, segment: &str, request: &Form, browser: &Browser) -> Answer {
    let settled;
    let browser = if browser.session.is_none() && !browser.accounts.is_empty() {
        match settle(ports, segment, request, browser).await {
            Ok(session) => settled = Browser { session, ..browser.clone() },
            Err(answer) => return *answer,
        }
        &settled
    } else {
        browser
    };
    let proved = match prove(ports, segment, request, browser.session.as_deref()) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None),
    };
    match proceed(ports, segment, request, browser, &proved).await {
        Ok(answer) => answer,
        Err(denial) => refuse(ports, &proved, *denial, request.value("prompt") == Some("none")),
    }
}

/// Which of the browser's accounts the request is about; nobody if somebody else must sign in.
async fn settle(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
) -> Result<Option<Arc<SessionRecord>>, Box<Answer>> {
    let now = ports.now();
    let proved = prove(ports, segment, request, None).map_err(|denial| Answer::Page(denial, None))?;
    let silent = request.value("prompt") == Some("none");
    let refused = |denial: Box<Denial>| Box::new(refuse(ports, &proved, *denial, silent));
    let asked = parameters(request, &proved).map_err(refused)?;
    let candidates = account::candidates(ports, proved.tenant.as_ref(), browser, now).await.map_err(refused)?;
    let wish = Wish::of(ports, request, asked.select_account);
    match account::choose(candidates, &wish) {
        Choice::Nobody => Ok(None),
        Choice::One(session) => Ok(Some(session)),
        Choice::Several(accounts) if asked.prompt_none => {
            let found = format!("{} of them, and no `login_hint`", accounts.len());
            Err(refused(Box::new(Denial::new(CheckId::AccountChosen, "one account in this browser", found))))
        }
        Choice::Several(accounts) => Err(Box::new(Answer::Accounts(Box::new(AccountsRequest {
            client_name: proved.client.application.display_name.clone(),
            tenant_name: proved.tenant.as_ref().map(|tenant| tenant.tenant.display_name.clone()),
            accounts,
            ticket: Ticket::new(ports, Page::Accounts, &browser.cookie, None, request, now).seal(ports),
        })))),
    }
}

/// Takes what a person picked on the page of accounts, a session's id or `other`, and goes on.
pub async fn picked(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    picked: &str,
    ticket: &str,
) -> Answer {
    let now = ports.now();
    let proved = match prove(ports, segment, request, None) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None),
    };
    let ticket = Ticket::open(ports, ticket, Page::Accounts, &browser.cookie, None, request, now);
    let session = match account::taken(ports, browser, picked, ticket).await {
        Ok(session) => session,
        Err(denial) => return Answer::Page(Box::new(denial), None),
    };
    match session {
        Some(_) => authorize(ports, segment, request, &Browser { session, ..browser.clone() }).await,
        None => Answer::SignIn(sign_in_request(&proved, None)),
    }
}

fn sign_in_request(proved: &Proved, hint: Option<String>) -> SignInRequest {
    SignInRequest {
        client_name: proved.client.application.display_name.clone(),
        tenant_name: proved.tenant.as_ref().map(|tenant| tenant.tenant.display_name.clone()),
        hint,
    }
}

async fn proceed(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    proved: &Proved,
) -> Result<Answer, Box<Denial>> {
    let now = ports.now();
    let asked = parameters(request, proved)?;
    let ask = async || {
        // Whom the request is about signs in again, unless it names somebody else.
        let hint = match (request.value("login_hint"), &browser.session) {
            (Some(hint), _) => Some(hint.to_owned()),
            (None, Some(session)) => account::name(ports, session).await?,
            (None, None) => None,
        };
        Ok(Answer::SignIn(sign_in_request(proved, hint)))
    };
    let Some(signed_in) = signed_in(ports, browser, proved, Some(&asked), now).await? else {
        if asked.prompt_none {
            return Err(Box::new(Denial::new(CheckId::SignInNeeded, "a sign-in session", "none")));
        }
        return ask().await;
    };
    let snapshot = ports.directory.snapshot();
    let (place, client, mut all) = wanted(ports, segment, request, browser, proved, &signed_in, &asked);
    // Whoever has just typed or clicked something is no loop.
    if !browser.fresh {
        let times = loops::at_sign_in(ports, request, proved.client.application.app_id, signed_in.session.id, now);
        for facts in &mut all {
            facts.times = times;
        }
    }
    // Who they are comes before what they agree to: a consent lasts, and must not be had for a stolen password.
    for facts in &all {
        let Err(denial) = admission::reaches(facts, now) else { continue };
        let recent = browser.fresh || now.since(signed_in.session.auth_time) <= ENROL_SECONDS;
        let has = signed_in.person.second_factor;
        return match denial.remedy {
            Some(Remedy::SecondFactor) if asked.prompt_none => Err(Box::new(silent(denial, has))),
            Some(Remedy::SecondFactor) if has || recent => {
                // Guests have their second factor at home, where they signed in.
                let (tenant, user) = account(ports, &signed_in).await?;
                let session = &signed_in.session;
                let person = second_factor::Person { proved, tenant: &tenant, user: &user, session };
                Ok(person.asked(ports, request, browser, now))
            }
            Some(_) if !browser.fresh && !asked.prompt_none => ask().await,
            _ => Err(Box::new(denial)),
        };
    }
    let mut dialog = Dialog::default();
    for facts in &all {
        let verdict = admission::admit(facts, Ok(Proof::User { actors: Vec::new(), ceiling: None }), now).map(drop);
        gather(&mut dialog, facts, verdict, &place, &snapshot, &asked, browser, (&client, &signed_in))?;
    }
    dialog.add(&place, &client, &signed_in);
    let ticket = |page| Ticket::new(ports, page, &browser.cookie, Some(signed_in.session.id), request, now);
    if let Some(denial) = dialog.needs_admin.take() {
        if signed_in.tenant.tenant.settings.admin_consent_requests && !asked.prompt_none {
            let shown = consent_page(ports, ticket(Page::AskAdmin), proved, &signed_in, dialog);
            return Ok(Answer::AskAdmin(Box::new(shown)));
        }
        let tenant = &signed_in.tenant.tenant;
        let address = consent_address(&ports.host, tenant.id, client.application.app_id, request);
        let fix = format!("ask an administrator of {} to allow it at `{address}`", tenant.display_name);
        return Err(Box::new(denial.fix(fix)));
    }
    if !dialog.is_empty() {
        if asked.prompt_none {
            return Err(Box::new(Denial::new(CheckId::ConsentGranted, "consent", "none")));
        }
        let shown = consent_page(ports, ticket(Page::Consent), proved, &signed_in, dialog);
        return Ok(Answer::Consent(Box::new(shown)));
    }
    match (&asked.id_token, all.first()) {
        (Some(nonce), Some(facts)) => {
            id_token::issue(ports, request, browser, (proved, &signed_in), facts, nonce, now).await
        }
        _ => issue(ports, request, browser, proved, &signed_in, &asked, now).await,
    }
}

/// What is asked of each resource, for who is signed in; and where the client stands for them.
fn wanted(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    proved: &Proved,
    signed_in: &Present,
    asked: &Parameters,
) -> (Standing, Arc<Registration>, Vec<Facts>) {
    let scope = request.value("scope");
    let claims = asked.claims.as_deref();
    let place = standing(&ports.directory.snapshot(), &signed_in.tenant, proved, scope);
    let client = place.tenant.app(proved.client.application.app_id).cloned().unwrap_or_else(|| proved.client.clone());
    let groups = by_resource(scope, request, &place.tenant, proved);
    let of = |scope: Option<String>| {
        facts(ports, segment, request, scope.as_deref(), claims, (&place.tenant, &client), signed_in, browser)
    };
    let all = groups.into_iter().map(of).collect();
    (place, client, all)
}

/// `prompt=none` finds out that the person would have to do something.
fn silent(denial: Denial, second_factor: bool) -> Denial {
    let check = if second_factor { CheckId::SecondFactorShown } else { CheckId::SecondFactorSetUp };
    let found = Denial::new(check, denial.check.expected.clone(), denial.check.actual.clone());
    denial.claims.into_iter().fold(found, Denial::challenge)
}

/// The session, if it may answer this request without asking the person again.
async fn signed_in(
    ports: &Ports,
    browser: &Browser,
    proved: &Proved,
    asked: Option<&Parameters>,
    now: Timestamp,
) -> Result<Option<Present>, Box<Denial>> {
    let Some(session) = browser.session.clone() else { return Ok(None) };
    let snapshot = ports.directory.snapshot();
    let Some(tenant) = proved.tenant.clone().or_else(|| snapshot.tenant(session.tenant).cloned()) else {
        return Ok(None);
    };
    let age = now.since(session.auth_time);
    let longest = asked.and_then(|asked| asked.max_age);
    let again = asked.is_some_and(|asked| asked.prompt_login);
    let stale = age > SSO_SECONDS || longest.is_some_and(|max_age| age > max_age) || again;
    if stale && !browser.fresh {
        return Ok(None);
    }
    present(ports, &tenant, &session, browser.fresh, now).await
}

/// Splits `scope` by resource: several may be asked for at once here, for consent.
fn by_resource(scope: Option<&str>, request: &Form, tenant: &TenantDirectory, proved: &Proved) -> Vec<Option<String>> {
    let Some(scope) = scope else { return vec![None] };
    // Each once: what is put beside every resource must not grow with the request.
    let oidc: Vec<&str> = OIDC_SCOPES.into_iter().filter(|known| scope.split(' ').any(|word| word == *known)).collect();
    let resources: Vec<&str> = request.values("resource").collect();
    let mut groups: Vec<(Option<AppId>, Vec<&str>)> = Vec::new();
    for word in scope.split(' ').filter(|word| !word.is_empty() && !OIDC_SCOPES.contains(word)) {
        let parties = Parties { tenant, client: &proved.client, user: None };
        let app = match scope_request::resolve(Some(word), &resources, parties, Several::Refuse).1 {
            Target::Resource(resource) => Some(resource.app_id),
            _ => None,
        };
        match groups.iter_mut().find(|(known, _)| *known == app) {
            Some((_, words)) => words.push(word),
            None => groups.push((app, vec![word])),
        }
        // It is refused whatever follows; a group for each of ten thousand unknown words would cost memory for nothing.
        if app.is_none() {
            break;
        }
    }
    if groups.is_empty() {
        return vec![Some(scope.to_owned())];
    }
    groups.into_iter().map(|(_, words)| Some([words, oidc.clone()].concat().join(" "))).collect()
}

#[expect(clippy::too_many_arguments, reason = "facts are gathered from all of these")]
fn facts(
    ports: &Ports,
    segment: &str,
    request: &Form,
    scope: Option<&str>,
    claims: Option<&str>,
    (tenant, client): (&TenantDirectory, &Registration),
    signed_in: &Present,
    browser: &Browser,
) -> Facts {
    let parties = Parties { tenant, client, user: Some(&signed_in.user) };
    let resources: Vec<&str> = request.values("resource").collect();
    let (oidc, target) = scope_request::resolve(scope, &resources, parties, Several::Refuse);
    let mut facts = Facts {
        oidc,
        target,
        user: Some(signed_in.person.clone()),
        session: Some(SessionFacts::of(&signed_in.session, Vec::new(), Vec::new())),
        claims: claims.and_then(ClaimsRequest::parse).unwrap_or_default(),
        proof: ProofFacts::SignIn,
        ..blank(ports, segment, Some(tenant), &client.application.app_id.to_string(), Some(client))
    };
    crate::conditional_access::gather(tenant, &mut facts, browser.address);
    facts
}

async fn issue(
    ports: &Ports,
    request: &Form,
    browser: &Browser,
    proved: &Proved,
    signed_in: &Present,
    asked: &Parameters,
    now: Timestamp,
) -> Result<Answer, Box<Denial>> {
    let Present { session, tenant, person, .. } = signed_in;
    let code = issuance::secret_text(ports);
    let client = proved.client.application.app_id;
    let record = CodeRecord {
        tenant: tenant.tenant.id,
        client,
        user: person.id,
        session: session.id,
        family: FamilyId(issuance::random_uuid(ports)),
        redirect_uri: proved.redirect_uri.clone(),
        challenge: asked.challenge.clone(),
        scope: request.value("scope").unwrap_or_default().to_owned(),
        nonce: request.value("nonce").map(str::to_owned),
        claims: asked.claims.clone(),
        proven: Some(session.proven()),
        expires: now.plus(CODE_SECONDS),
        consumed: false,
        revoked: false,
    };
    // Entra's confidential clients without PKCE are accepted, and flagged.
    let action = if record.challenge.is_some() { "authorize" } else { "authorize without pkce" };
    let audit = AuditRecord {
        tenant: Some(tenant.tenant.id),
        client: Some(client),
        subject: Some(person.id.to_string()),
        scope: record.scope.clone(),
        session: Some(session.id),
        grants: vec![record.family],
        ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), action)
    };
    let digest = ports.crypto.keyed_digest(code.expose());
    let mut writes = vec![Write::InsertCode(digest, record), Write::Audit(Box::new(audit))];
    writes.extend(visited(proved, signed_in, browser));
    ports.ledger.commit(writes).await.map_err(|_| Box::new(unavailable(crate::ledger::Unavailable)))?;
    Ok(answer(ports, request, proved, signed_in, Form::default().with("code", code.expose())))
}

/// What was asked for, and what goes along with it.
fn answer(ports: &Ports, request: &Form, proved: &Proved, signed_in: &Present, mut answer: Form) -> Answer {
    let Present { session, tenant, .. } = signed_in;
    if request.value("client_info") == Some("1") {
        use base64::Engine as _;
        // Clients know a person by who they are at home, in every tenant.
        let info = serde_json::json!({"uid": session.user, "utid": session.tenant}).to_string();
        answer = answer.with("client_info", &base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(info));
    }
    let answer = answer.with("session_state", &session.id.to_string());
    Answer::Redirect(redirect(ports, proved, &tenant.tenant.id.to_string(), answer))
}

/// What the session learns of this: where it signed in, and where its browser is. Servers act for the user from elsewhere:
/// for them, the user is where this browser is.
fn visited(proved: &Proved, signed_in: &Present, browser: &Browser) -> Option<Write> {
    let Present { session, tenant, .. } = signed_in;
    let client = SignedInTo {
        tenant: tenant.tenant.id,
        client: proved.client.application.app_id,
        session: session.id,
        version: proved.version,
    };
    let amendment = Amendment {
        client: Some(client).filter(|client| !session.clients.contains(client)),
        address: browser.address.filter(|_| browser.address != session.address),
        ..Amendment::default()
    };
    (amendment != Amendment::default()).then(|| Write::AmendSession(session.id, amendment))
}

fn redirect(ports: &Ports, proved: &Proved, tid: &str, answer: Form) -> Redirect {
    let answer = match &proved.state {
        Some(state) => answer.with("state", state),
        None => answer,
    };
    let parameters = answer.with("iss", &proved.version.issuer(&ports.host, tid));
    Redirect { uri: proved.redirect_uri.clone(), mode: proved.mode, parameters }
}

/// A refusal, to the client by redirect, or on a page of our own where the person is the one to act.
fn refuse(ports: &Ports, proved: &Proved, denial: Denial, silent: bool) -> Answer {
    let tid = match &proved.tenant {
        Some(tenant) => tenant.tenant.id,
        None => proved.client.principal.tenant,
    };
    let profile = proved.client.application.deputize.client_profile;
    let error = match denial.id() {
        // OpenID Connect Core section 3.1.2.6; Entra says that the person has to act.
        CheckId::AccountChosen if profile == Profile::Native => "account_selection_required",
        CheckId::ConsentGranted => "consent_required",
        // OpenID Connect Core section 3.1.2.6: what `prompt=none` could not settle in silence.
        CheckId::ConsentAdmin if silent => "consent_required",
        CheckId::ConsentAdmin
        | CheckId::ConsentRequested
        | CheckId::UserAssigned
        | CheckId::UserEnabled
        | CheckId::UserGuest => "access_denied",
        // RFC 9470 section 5: what was asked for by `acr_values` and cannot be had.
        CheckId::ContextSatisfied if denial.remedy.is_none() && proved.acr_values => {
            "unmet_authentication_requirements"
        }
        CheckId::ResourceDeclared | CheckId::ResourceProvisioned | CheckId::RequiredAccessSound
            if profile == Profile::Entra =>
        {
            "invalid_client"
        }
        _ => match denial.error(profile) {
            "invalid_grant" => "interaction_required",
            error => error,
        },
    };
    let mut answer = Form::default().with("error", error).with("error_description", &denial.description(profile));
    if let Some(claims) = &denial.claims {
        answer = answer.with("claims", claims);
    }
    let back = redirect(ports, proved, &tid.to_string(), answer);
    if denial.id() == CheckId::ConsentRequested {
        return Answer::Asked(back);
    }
    // A person who can only ask an administrator is told so before being sent back.
    match denial.id() {
        // Sent back, a loop would go on.
        CheckId::ConsentAdmin | CheckId::UserGuest | CheckId::ClientLoop if !silent => {
            Answer::Page(Box::new(denial), Some(back))
        }
        _ => Answer::Redirect(back),
    }
}
