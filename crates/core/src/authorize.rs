//! The authorization endpoint's rules (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2, RFC 7636, RFC 9207).
//!
//! Before client and redirect URI are proved nothing is redirected anywhere: an error is a page of our own.
use crate::admission::{self, Proof};
use crate::denial::Denial;
use crate::directory::{Registration, TenantDirectory, UserKey, UserRecord};
use crate::facts::{Asked, Facts, ProofFacts, Published, SessionFacts, Target};
use crate::id::{AppId, FamilyId, PrincipalId};
use crate::issuance;
use crate::ledger::{CodeRecord, CommitError, SessionRecord, Write};
use crate::model::{Application, ConsentType, PermissionGrant, Profile};
use crate::ports::Ports;
use crate::scope_request::{self, Parties, Several};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::{blank, covering, find_tenant, is_alias, unavailable, user_facts};
use decision::{CheckId, Timestamp};
use oauth::{ClaimsRequest, Form, OIDC_SCOPES, Scopes};
use std::sync::Arc;

/// Life of a code, in seconds.
const CODE_SECONDS: i64 = 600;
/// How long a browser's session signs in to further applications without asking, in seconds.
const SSO_SECONDS: i64 = 86_400;

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

/// What the person is asked to agree to.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRequest {
    /// The application that will act for them.
    pub client_name: String,
    /// Who they are.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// The tenant.
    pub tenant_name: String,
    /// What it may do, by resource.
    pub permissions: Vec<(String, Vec<Published>)>,
    /// Whether they may agree for everyone.
    pub may_grant_for_all: bool,
    /// The hidden field.
    pub ticket: String,
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
    /// The browser shows the consent page.
    Consent(Box<ConsentRequest>),
    /// The browser goes to the client.
    Redirect(Redirect),
    /// A page of our own says why nothing happens; optionally with a way back to the client.
    Page(Box<Denial>, Option<Redirect>),
}

/// What the browser brings along.
#[derive(Clone, Default)]
pub struct Browser {
    /// The session of its cookie, if it is known.
    pub session: Option<Arc<SessionRecord>>,
    /// The cookie's text, for binding pages to it.
    pub cookie: String,
    /// Whether this very request made the person sign in.
    pub fresh: bool,
    /// Whether this very request made the person agree.
    pub agreed: bool,
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
    let (tenant, client) = if is_alias(segment) {
        let candidates: Vec<_> = snapshot.tenants().filter_map(|tenant| Some((tenant, tenant.app(app?)?))).collect();
        let of_session = session.and_then(|session| snapshot.tenant(session.tenant));
        let chosen = of_session.and_then(|tenant| Some((tenant, tenant.app(app?)?)));
        let decided = chosen.or(if let [only] = candidates.as_slice() { Some(*only) } else { None });
        // With several tenants and no session, the domain of the name that the person types decides; until then any tenant
        // where the client works speaks for it.
        let works = |(tenant, client): &(&Arc<TenantDirectory>, &Arc<Registration>)| {
            tenant.tenant.enabled && client.principal.account_enabled
        };
        let client = decided.or_else(|| candidates.into_iter().find(works)).map(|(_, client)| client);
        (decided.map(|(tenant, _)| tenant), client)
    } else {
        let tenant = find_tenant(&snapshot, segment);
        (tenant, tenant.and_then(|tenant| tenant.app(app?)))
    };
    let facts = blank(ports, segment, tenant.map(AsRef::as_ref), client_id, client.map(AsRef::as_ref));
    if tenant.is_some() || !is_alias(segment) {
        admission::tenant_and_client(&facts).map_err(Box::new)?;
    }
    let Some(client) = client.filter(|client| client.principal.account_enabled) else {
        return Err(Box::new(Denial::new(
            CheckId::ClientKnown,
            "an application of this authority",
            "another `client_id`",
        )));
    };
    let redirect_uri = request.value("redirect_uri").ok_or_else(|| missing("redirect_uri"))?;
    let Some(public) = registered(&client.application, redirect_uri) else {
        let expected = format!("a redirect URI that is registered for `{}`", client.application.app_id);
        // A developer needs to see what was sent; anything but an address is somebody's trick, and is not repeated.
        let web = redirect_uri.starts_with("https://") || redirect_uri.starts_with("http://");
        let found = if web { format!("`{}`", admission::short(redirect_uri)) } else { "another one".to_owned() };
        return Err(Box::new(Denial::new(CheckId::RedirectUriRegistered, expected, found)));
    };
    let mode = match request.value("response_mode") {
        Some("fragment") => ResponseMode::Fragment,
        Some("form_post") => ResponseMode::FormPost,
        _ => ResponseMode::Query,
    };
    Ok(Proved {
        tenant: tenant.cloned(),
        client: client.clone(),
        redirect_uri: redirect_uri.to_owned(),
        mode,
        state: request.value("state").map(str::to_owned),
        public,
    })
}

fn missing(name: &str) -> Box<Denial> {
    Box::new(
        Denial::new(CheckId::ParameterPresent, format!("`{name}`"), "nothing")
            .fix(format!("add `{name}` to the request")),
    )
}

/// Whether a redirect URI is registered, and if so whether for a public client. Strings are compared, never parsed: two
/// parsers that disagree are how wildcards got exploited. The one exception is the port of a loopback address.
pub fn registered(application: &Application, uri: &str) -> Option<bool> {
    if application.web.redirect_uris.iter().any(|known| known == uri) {
        return Some(false);
    }
    if application.spa.redirect_uris.iter().any(|known| known == uri) {
        return Some(true);
    }
    let any_port: &[&str] = match application.deputize.client_profile {
        Profile::Entra => &["http://localhost", "http://127.0.0.1"],
        Profile::Native => &["http://127.0.0.1", "http://[::1]"],
    };
    let matches = |known: &String| known == uri || any_port.iter().any(|host| same_but_port(known, uri, host));
    application.public_client.redirect_uris.iter().any(matches).then_some(true)
}

fn same_but_port(known: &str, uri: &str, host: &str) -> bool {
    let (Some(path), Some(rest)) = (known.strip_prefix(host), uri.strip_prefix(host)) else { return false };
    let Some(rest) = rest.strip_prefix(':') else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, after) = rest.split_at(digits);
    port.parse::<u16>().is_ok_and(|port| port > 0) && (path.is_empty() || path.starts_with('/')) && after == path
}

/// Answers an authorization request.
pub async fn authorize(ports: &Ports, segment: &str, request: &Form, browser: &Browser) -> Answer {
    let proved = match prove(ports, segment, request, browser.session.as_deref()) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None),
    };
    match proceed(ports, segment, request, browser, &proved).await {
        Ok(answer) => answer,
        Err(denial) => refuse(ports, &proved, *denial, request.value("prompt") == Some("none")),
    }
}

/// What the person decided on the consent page.
pub struct Decided<'a> {
    /// Whether they agreed.
    pub accepted: bool,
    /// Whether for everyone in the tenant.
    pub for_all: bool,
    /// The hidden field.
    pub ticket: &'a str,
}

/// Takes a decision of the consent page and goes on. What was shown is what is granted, to the session that it was shown
/// to, for the request that it was shown for, once.
pub async fn decided(ports: &Ports, segment: &str, request: &Form, browser: Browser, decided: Decided<'_>) -> Answer {
    let now = ports.now();
    let proved = match prove(ports, segment, request, browser.session.as_deref()) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None),
    };
    let session = browser.session.clone();
    let ticket = session.as_ref().and_then(|session| {
        Ticket::open(ports, decided.ticket, Page::Consent, &browser.cookie, Some(session.id), request, now)
    });
    let (Some(session), Some(ticket)) = (session, ticket) else { return Answer::Page(Box::new(forged()), None) };
    if proved.tenant.as_ref().is_some_and(|tenant| tenant.tenant.id != session.tenant) {
        return Answer::Page(Box::new(forged()), None);
    }
    if !decided.accepted {
        // Refused is refused: the page cannot be posted again with another answer.
        match ports.ledger.commit(vec![ticket.consume()]).await {
            Ok(()) => {}
            Err(CommitError::Conflict) => return Answer::Page(Box::new(forged()), None),
            Err(CommitError::Unavailable) => {
                return refuse(ports, &proved, unavailable(crate::ledger::Unavailable), false);
            }
        }
        let denial = Denial::new(CheckId::ConsentDeclined, "consent", "a refusal by the user");
        return refuse(ports, &proved, denial, false);
    }
    let user = match ports.directory.user(session.tenant, UserKey::Id(session.user)).await {
        Ok(user) => user.filter(|record| stands(&session, record, now)),
        Err(failure) => return refuse(ports, &proved, unavailable(failure), false),
    };
    // Who is not signed in any more agrees to nothing, whatever page they were shown before.
    let Some(user) = user else { return authorize(ports, segment, request, &browser).await };
    let admin = user.user.is_tenant_admin;
    let for_all = decided.for_all && admin;
    let snapshot = ports.directory.snapshot();
    let user_consent =
        admin || snapshot.tenant(session.tenant).is_some_and(|tenant| tenant.tenant.settings.user_consent);
    let grant = |resource: PrincipalId, principal_id, scope| {
        Write::AddGrant(PermissionGrant {
            tenant: session.tenant,
            client_id: proved.client.principal.id,
            principal_id,
            resource_id: resource,
            scope,
        })
    };
    let mut writes = Vec::new();
    for (resource, scope) in &ticket.shown {
        // What only an administrator may allow holds for everyone or for nobody; the page says so.
        let registration = snapshot.tenant(session.tenant).and_then(|tenant| tenant.principal(*resource));
        let is_admin_only =
            |value: &&str| registration.and_then(|r| r.permission(value)).is_none_or(|p| p.kind == ConsentType::Admin);
        let admin_only: Scopes = scope.iter().filter(is_admin_only).collect();
        let (everyone, person) = if for_all {
            (scope.clone(), Scopes::default())
        } else {
            (admin_only.clone(), scope.difference(&admin_only))
        };
        if admin && !everyone.is_empty() {
            writes.push(grant(*resource, None, everyone));
        }
        if user_consent && !person.is_empty() {
            writes.push(grant(*resource, Some(session.user), person));
        }
    }
    writes.push(ticket.consume());
    writes.push(Write::Audit(Box::new(crate::audit::AuditRecord {
        at: now,
        decision: issuance::random_uuid(ports).to_string(),
        action: if for_all { "consent for all" } else { "consent" }.to_owned(),
        tenant: Some(session.tenant),
        client: Some(proved.client.application.app_id),
        subject: Some(session.user.to_string()),
        resource: None,
        scope: ticket.shown.iter().map(|(_, scope)| scope.to_string()).collect::<Vec<_>>().join(" "),
        roles: Vec::new(),
        token: None,
        from_token: None,
        actors: Vec::new(),
        refused: None,
    })));
    match ports.ledger.commit(writes).await {
        // The page was shown only once the sign-in was fresh enough for the request: it is not asked for again.
        Ok(()) => authorize(ports, segment, request, &Browser { agreed: true, fresh: true, ..browser }).await,
        Err(CommitError::Conflict) => Answer::Page(Box::new(forged()), None),
        Err(CommitError::Unavailable) => refuse(ports, &proved, unavailable(crate::ledger::Unavailable), false),
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
    let ask = || {
        Ok(Answer::SignIn(SignInRequest {
            client_name: proved.client.application.display_name.clone(),
            tenant_name: proved.tenant.as_ref().map(|tenant| tenant.tenant.display_name.clone()),
            hint: request.value("login_hint").map(str::to_owned),
        }))
    };
    let Some((session, tenant, user)) = signed_in(ports, browser, proved, &asked, now).await? else {
        if asked.prompt_none {
            return Err(Box::new(Denial::new(CheckId::SignInNeeded, "a sign-in session", "none")));
        }
        return ask();
    };
    let scope = request.value("scope");
    let groups = by_resource(scope, request, &tenant, proved);
    let mut missing: Vec<Shown> = Vec::new();
    for scope in &groups {
        let facts = facts(ports, segment, request, scope.as_deref(), proved, &tenant, &user, &session);
        match admission::admit(&facts, Ok(Proof::User { actors: Vec::new(), ceiling: None }), now) {
            Ok(_) if asked.prompt_consent && !browser.agreed => missing.extend(everything(&facts)),
            Ok(_) => {}
            Err(denial) => missing.push(consentable(&facts, denial, &user, &tenant)?),
        }
    }
    if !missing.is_empty() {
        if asked.prompt_none {
            return Err(Box::new(Denial::new(CheckId::ConsentGranted, "consent", "none")));
        }
        return Ok(consent_page(ports, request, browser, proved, &tenant, &user, &session, missing, now));
    }
    issue(ports, request, proved, &tenant, &session, &asked, now).await
}

/// One resource's part of the consent page: what is granted if the person agrees, and how it is shown.
struct Shown {
    resource: PrincipalId,
    scopes: Scopes,
    name: String,
    permissions: Vec<Published>,
}

/// The user's standing consent request at one resource, or the denial if agreeing would not mend it.
fn consentable(
    facts: &Facts,
    denial: Denial,
    user: &UserRecord,
    tenant: &TenantDirectory,
) -> Result<Shown, Box<Denial>> {
    let (Target::Resource(resource), Some(missing)) = (&facts.target, denial.missing.clone()) else {
        return Err(Box::new(denial));
    };
    let admin_only = denial.id() == CheckId::ConsentAdmin;
    if !user.user.is_tenant_admin && (admin_only || !tenant.tenant.settings.user_consent) {
        let mut denial = denial;
        denial.check.id = CheckId::ConsentAdmin;
        return Err(Box::new(denial));
    }
    if missing.is_empty() {
        return Err(Box::new(denial));
    }
    // An administrator who agrees to some agrees to all that is missing: one page.
    let all = match &resource.asked {
        Asked::Named(named) => named.iter().filter_map(|(_, value)| value.as_deref()).collect(),
        _ => missing.union(&resource.declared.clone().unwrap_or_default()),
    };
    // What is not shown, such as a disabled permission, is not granted.
    let shown: Vec<Published> = resource.published.iter().filter(|p| all.contains(&p.value)).cloned().collect();
    let all = shown.iter().map(|published| published.value.as_str()).collect();
    Ok(Shown { resource: resource.principal, scopes: all, name: resource.display_name.clone(), permissions: shown })
}

/// `prompt=consent`: everything that is asked for is shown again.
fn everything(facts: &Facts) -> Option<Shown> {
    let Target::Resource(resource) = &facts.target else { return None };
    let all: Scopes = match &resource.asked {
        Asked::Named(named) => named.iter().filter_map(|(_, value)| value.as_deref()).collect(),
        _ => resource.declared.clone().unwrap_or_default(),
    };
    // What only an administrator may agree to is granted already, or admission would have refused.
    let shown: Vec<Published> =
        resource.published.iter().filter(|p| all.contains(&p.value) && !p.admin_only).cloned().collect();
    let all: Scopes = shown.iter().map(|published| published.value.as_str()).collect();
    (!all.is_empty()).then(|| Shown {
        resource: resource.principal,
        scopes: all,
        name: resource.display_name.clone(),
        permissions: shown,
    })
}

#[expect(clippy::too_many_arguments, reason = "the page shows all of these")]
fn consent_page(
    ports: &Ports,
    request: &Form,
    browser: &Browser,
    proved: &Proved,
    tenant: &TenantDirectory,
    user: &UserRecord,
    session: &SessionRecord,
    missing: Vec<Shown>,
    now: Timestamp,
) -> Answer {
    let shown = missing.iter().map(|shown| (shown.resource, shown.scopes.clone())).collect();
    let ticket = Ticket::new(ports, Page::Consent, &browser.cookie, Some(session.id), request, now).showing(shown);
    Answer::Consent(Box::new(ConsentRequest {
        client_name: proved.client.application.display_name.clone(),
        user_name: user.user.display_name.clone(),
        upn: user.user.user_principal_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        permissions: missing.into_iter().map(|shown| (shown.name, shown.permissions)).collect(),
        may_grant_for_all: user.user.is_tenant_admin,
        ticket: ticket.seal(ports),
    }))
}

struct Parameters {
    challenge: Option<String>,
    prompt_none: bool,
    prompt_login: bool,
    prompt_consent: bool,
    max_age: Option<i64>,
}

/// Judges the parameters that are answered by redirect.
fn parameters(request: &Form, proved: &Proved) -> Result<Parameters, Box<Denial>> {
    let refuse = |check, expected: &str, actual: &str| Box::new(Denial::new(check, expected, actual));
    match request.value("response_type") {
        Some("code") => {}
        None => return Err(missing("response_type")),
        Some(_) => return Err(refuse(CheckId::ResponseTypeSupported, "`code`", "another `response_type`")),
    }
    if let Some(other) = request.value("response_mode")
        && !matches!(other, "query" | "fragment" | "form_post")
    {
        return Err(refuse(
            CheckId::ResponseModeSupported,
            "`query`, `fragment` or `form_post`",
            "another `response_mode`",
        ));
    }
    if request.mentions("request") || request.mentions("request_uri") {
        return Err(refuse(CheckId::RequestWellFormed, "parameters in the request itself", "a request object"));
    }
    let challenge = match (request.value("code_challenge"), request.value("code_challenge_method")) {
        (None, None) if proved.public => {
            return Err(refuse(CheckId::PkceChallenge, "`code_challenge`, since this client is public", "none"));
        }
        (None, None) => None,
        (Some(challenge), Some("S256")) if base64url_43(challenge) => Some(challenge.to_owned()),
        (Some(_), Some("S256")) => {
            return Err(refuse(
                CheckId::PkceChallenge,
                "a `code_challenge` of 43 base64url characters",
                "another text",
            ));
        }
        (_, Some("S256") | None) => {
            return Err(refuse(
                CheckId::PkceChallenge,
                "`code_challenge` with `code_challenge_method=S256`",
                "one of the two",
            ));
        }
        (_, Some(_)) => return Err(refuse(CheckId::PkceChallenge, "`code_challenge_method=S256`", "another method")),
    };
    let prompts: Vec<&str> = request.value("prompt").unwrap_or_default().split(' ').filter(|p| !p.is_empty()).collect();
    let known = ["login", "none", "consent", "select_account"];
    if prompts.iter().any(|prompt| !known.contains(prompt)) || (prompts.contains(&"none") && prompts.len() > 1) {
        return Err(refuse(
            CheckId::PromptSatisfiable,
            "`login`, `none`, `consent` or `select_account`",
            "another `prompt`",
        ));
    }
    let max_age = match request.value("max_age").map(str::parse::<u32>) {
        None => None,
        Some(Ok(seconds)) => Some(i64::from(seconds)),
        Some(Err(_)) => return Err(refuse(CheckId::RequestWellFormed, "`max_age` in seconds", "another text")),
    };
    if request.value("claims").is_some_and(|claims| ClaimsRequest::parse(claims).is_none()) {
        return Err(refuse(CheckId::RequestWellFormed, "`claims` as a JSON object", "another text"));
    }
    Ok(Parameters {
        challenge,
        prompt_none: prompts.contains(&"none"),
        prompt_login: prompts.contains(&"login") || prompts.contains(&"select_account"),
        prompt_consent: prompts.contains(&"consent"),
        max_age,
    })
}

fn base64url_43(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

type SignedIn = (Arc<SessionRecord>, Arc<TenantDirectory>, Arc<UserRecord>);

/// The session, if it may answer this request without asking the person again.
async fn signed_in(
    ports: &Ports,
    browser: &Browser,
    proved: &Proved,
    asked: &Parameters,
    now: Timestamp,
) -> Result<Option<SignedIn>, Box<Denial>> {
    let Some(session) = browser.session.clone() else { return Ok(None) };
    let snapshot = ports.directory.snapshot();
    let Some(tenant) = snapshot.tenant(session.tenant).cloned() else { return Ok(None) };
    let elsewhere = proved.tenant.as_ref().is_some_and(|asked| asked.tenant.id != tenant.tenant.id)
        || tenant.app(proved.client.application.app_id).is_none();
    let age = now.since(session.auth_time);
    let stale = age > SSO_SECONDS || asked.max_age.is_some_and(|max_age| age > max_age) || asked.prompt_login;
    if elsewhere || (stale && !browser.fresh) {
        return Ok(None);
    }
    let user =
        ports.directory.user(session.tenant, UserKey::Id(session.user)).await.map_err(|e| Box::new(unavailable(e)))?;
    Ok(user.filter(|record| stands(&session, record, now)).map(|user| (session, tenant, user)))
}

/// Whether a session and its user are still good for anything.
fn stands(session: &SessionRecord, record: &UserRecord, now: Timestamp) -> bool {
    !session.revoked
        && session.expires > now
        && record.user.account_enabled
        && session.auth_time >= record.user.sign_in_sessions_valid_from
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
    proved: &Proved,
    tenant: &TenantDirectory,
    user: &UserRecord,
    session: &SessionRecord,
) -> Facts {
    let client = tenant.app(proved.client.application.app_id).unwrap_or(&proved.client);
    let parties = Parties { tenant, client, user: Some(user) };
    let resources: Vec<&str> = request.values("resource").collect();
    let (oidc, target) = scope_request::resolve(scope, &resources, parties, Several::Refuse);
    Facts {
        oidc,
        policies: covering(tenant, &target),
        target,
        user: Some(user_facts(user)),
        session: Some(SessionFacts {
            chain: crate::chain::Chain {
                session: session.id,
                session_ends: session.expires,
                auth_time: session.auth_time,
                amr: session.amr.clone(),
                acrs: session.acrs.clone(),
                actors: Vec::new(),
            },
            ended: session.revoked,
        }),
        claims: request.value("claims").and_then(ClaimsRequest::parse).unwrap_or_default(),
        proof: ProofFacts::SignIn,
        ..blank(ports, segment, Some(tenant), &client.application.app_id.to_string(), Some(client))
    }
}

async fn issue(
    ports: &Ports,
    request: &Form,
    proved: &Proved,
    tenant: &TenantDirectory,
    session: &SessionRecord,
    asked: &Parameters,
    now: Timestamp,
) -> Result<Answer, Box<Denial>> {
    let code = issuance::secret_text(ports);
    let client = proved.client.application.app_id;
    let record = CodeRecord {
        tenant: tenant.tenant.id,
        client,
        user: session.user,
        session: session.id,
        family: FamilyId(issuance::random_uuid(ports)),
        redirect_uri: proved.redirect_uri.clone(),
        challenge: asked.challenge.clone(),
        scope: request.value("scope").unwrap_or_default().to_owned(),
        nonce: request.value("nonce").map(str::to_owned),
        claims: request.value("claims").map(str::to_owned),
        expires: now.plus(CODE_SECONDS),
        consumed: false,
    };
    let audit = crate::audit::AuditRecord {
        at: now,
        decision: issuance::random_uuid(ports).to_string(),
        // Entra's confidential clients without PKCE are accepted, and flagged.
        action: if record.challenge.is_some() { "authorize" } else { "authorize without pkce" }.to_owned(),
        tenant: Some(tenant.tenant.id),
        client: Some(client),
        subject: Some(session.user.to_string()),
        resource: None,
        scope: record.scope.clone(),
        roles: Vec::new(),
        token: None,
        from_token: None,
        actors: Vec::new(),
        refused: None,
    };
    let digest = ports.crypto.keyed_digest(code.expose());
    let writes = vec![Write::InsertCode(digest, record), Write::Audit(Box::new(audit))];
    ports.ledger.commit(writes).await.map_err(|_| Box::new(unavailable(crate::ledger::Unavailable)))?;
    let mut answer = Form::default().with("code", code.expose());
    if request.value("client_info") == Some("1") {
        use base64::Engine as _;
        let info = serde_json::json!({"uid": session.user, "utid": tenant.tenant.id}).to_string();
        answer = answer.with("client_info", &base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(info));
    }
    let answer = answer.with("session_state", &session.id.to_string());
    Ok(Answer::Redirect(redirect(ports, proved, &tenant.tenant.id.to_string(), answer)))
}

fn redirect(ports: &Ports, proved: &Proved, tid: &str, answer: Form) -> Redirect {
    let answer = match &proved.state {
        Some(state) => answer.with("state", state),
        None => answer,
    };
    let parameters = answer.with("iss", &format!("{}/{tid}/v2.0", ports.host));
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
        CheckId::ConsentGranted => "consent_required",
        // OpenID Connect Core section 3.1.2.6: what `prompt=none` could not settle in silence.
        CheckId::ConsentAdmin if silent => "consent_required",
        CheckId::ConsentAdmin | CheckId::UserAssigned | CheckId::UserEnabled => "access_denied",
        CheckId::ResourceDeclared if profile == Profile::Entra => "invalid_client",
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
    // A person who can only ask an administrator is told so before being sent back.
    match denial.id() {
        CheckId::ConsentAdmin if !silent => Answer::Page(Box::new(denial), Some(back)),
        _ => Answer::Redirect(back),
    }
}
