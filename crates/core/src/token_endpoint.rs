//! The token endpoint, from form to answer (architecture section 3).
use crate::admission;
use crate::client_auth::{self, AuthenticatedClient, Basic, Method, Presented};
use crate::denial::{Denial, ErrorContext};
use crate::directory::{Registration, Snapshot, TenantDirectory};
use crate::endpoint::EndpointVersion;
use crate::facts::{AccessFacts, AuthenticationFacts, ClientFacts, Facts, ProofFacts, Target, TenantFacts};
use crate::grant::{self, Gathered, Gathering, Grant};
use crate::id::TenantId;
use crate::issuance;
use crate::ledger::{CommitError, Unavailable};
use crate::limits::{Caller, Requester, Wait};
use crate::loops;
use crate::model::{DirectoryRole, Profile};
use crate::ports::Ports;
use crate::resource_request;
use crate::scope_request::{self, Parties};
use crate::token::AssertionFacts;
use crate::trace::{Carried, TraceId};
use decision::{CheckId, Timestamp};
use oauth::{
    ClaimsRequest, ErrorBody, Form, Parameter, Parameters, Scopes, TOKEN_TYPE_WORK_ORDER, TokenResponse, V1Members,
};
use std::sync::Arc;

/// Turns before a conflict counts as overload.
const TURNS: usize = 3;
/// Kinds of token that are refused by name wherever an assertion is read (spec/standards.md section 3).
pub const FOREIGN_KINDS: [&str; 7] =
    ["dpop+jwt", "txntoken+jwt", "wpt+jwt", "wit+jwt", "logout+jwt", "secevent+jwt", "oauth-client-attestation"];

/// What every grant reads; each sees this and its own.
const COMMON: Parameters = Parameters {
    when: "",
    each: &[
        Parameter::required("grant_type", "Which grant; the sections below are named after it."),
        Parameter::optional(
            "claims",
            "A JSON object: claims that the tokens must have (OpenID Connect Core section 5.5), from a claims challenge, and \
             the client's capabilities (`xms_cc`).",
        ),
        Parameter::optional("client_info", "`1`: the answer names the user's account in `client_info`."),
    ],
};

/// What the token endpoint reads.
pub const PARAMETERS: &[Parameters] = &[
    COMMON,
    client_auth::PARAMETERS,
    client_auth::HEADERS,
    Parameters { when: "`grant_type=authorization_code`", each: grant::authorization_code::PARAMETERS },
    Parameters { when: "`grant_type=refresh_token`", each: grant::refresh_token::PARAMETERS },
    Parameters { when: "`grant_type=client_credentials`", each: grant::client_credentials::PARAMETERS },
    Parameters {
        when: "On-Behalf-Of: `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer`",
        each: grant::on_behalf_of::PARAMETERS,
    },
    Parameters {
        when: "Work orders, asked for: `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`",
        each: crate::work_order::PARAMETERS,
    },
    Parameters {
        when: "Work orders, redeemed: `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`",
        each: grant::redemption::PARAMETERS,
    },
    Parameters {
        when: "Devices: `grant_type=urn:ietf:params:oauth:grant-type:device_code`, or `device_code`",
        each: grant::device_code::PARAMETERS,
    },
];

/// A request of the token endpoint.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// Which version of the endpoint was asked.
    pub version: EndpointVersion,
    /// The tenant segment of the path.
    pub tenant: &'a str,
    /// The body.
    pub form: &'a Form,
    /// HTTP Basic credentials, if the header was sent.
    pub basic: Option<&'a Basic>,
    /// `Origin`, which only browsers send.
    pub origin: Option<&'a str>,
    /// `client-request-id`, for correlation.
    pub correlation: Option<&'a str>,
    /// Where it comes from.
    pub address: Option<std::net::IpAddr>,
    /// The trace that it is part of.
    pub trace: Option<TraceId>,
}

/// A success answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The id of the decision, as audited.
    pub decision: String,
    /// The body.
    pub response: TokenResponse,
    /// What else a v1.0 body says.
    pub v1: Option<V1Members>,
}

/// An error answer, with its HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The check that failed.
    pub check: CheckId,
    /// How many seconds later it may be answered otherwise.
    pub retry_after: Option<i64>,
    /// The body, in the dialect of the client.
    pub body: Box<ErrorBody>,
}

impl Refusal {
    pub(crate) fn of(denial: &Denial, profile: Profile, context: &ErrorContext<'_>) -> Self {
        let body = Box::new(denial.body(profile, context));
        Self { status: denial.status(), check: denial.id(), retry_after: denial.retry_after, body }
    }
}

/// Answers a token request.
///
/// # Errors
/// With the error answer.
pub async fn answer(ports: &Ports, request: TokenRequest<'_>) -> Result<Answered, Refusal> {
    let now = ports.now();
    let decision = issuance::random_uuid(ports).to_string();
    // Before anything is read: what is read later may be newer, and never older.
    let view = ports.ledger.view();
    let snapshot = ports.directory.snapshot();
    let mut profile = Profile::Entra;
    let decided = decide(ports, &request, &snapshot, view, &decision, now, &mut profile).await;
    decided.map(|(response, v1)| Answered { decision: decision.clone(), response, v1 }).map_err(|denial| {
        let correlation = request.correlation.unwrap_or(&decision);
        let context = ErrorContext { host: &ports.host, decision: &decision, correlation, now };
        Refusal::of(&denial, profile, &context)
    })
}

async fn decide(
    ports: &Ports,
    request: &TokenRequest<'_>,
    snapshot: &Snapshot,
    view: u64,
    decision: &str,
    now: Timestamp,
    profile: &mut Profile,
) -> Result<(TokenResponse, Option<V1Members>), Denial> {
    let grant = choose(request.form, ports)?;
    let read = COMMON.each.iter().chain(client_auth::PARAMETERS.each).chain(grant.parameters);
    let form = &request.form.clone().only(|name| read.clone().any(|parameter| parameter.name == name));
    let request = &TokenRequest { form, ..*request };
    grant.accepts(form)?;
    claims_readable(form)?;
    let tenant = tenant(ports, request, snapshot, grant).await?;
    let (client_id, presented) = client_auth::presented(form, request.basic)?;
    let client = client_id.parse().ok().and_then(|id| tenant.as_ref()?.app(id)).cloned();
    if let Some(client) = &client {
        *profile = client.application.deputize.client_profile;
    }
    if let Some(origin) = request.origin {
        same_origin(origin, client.as_deref(), &presented)?;
    }
    let parties = (snapshot, tenant.as_deref(), client.as_deref());
    let mut facts = opening(ports, request, parties, &client_id, presented, now).await;
    facts.view = view;
    // Judged before anything else is read: strangers cause no reads and no records.
    authenticate(ports, request, &facts, now)?;
    let (Some(tenant), Some(client)) = (tenant, client) else {
        return Err(Denial::new(CheckId::ClientKnown, "a client", "none"));
    };
    for turn in 0..TURNS {
        let gathering = Gathering { form, tenant: &tenant, client: &client, ports };
        let gathered = (grant.gather)(gathering).await.map_err(unavailable)?;
        let address = request.address;
        complete(&mut facts, gathered, grant, &gathering, address).await.map_err(unavailable)?;
        facts.carried = carried(&facts, ports, now).await.map_err(unavailable)?;
        if turn == 0 {
            facts.times = loops::at_token(ports, form, &facts, now);
        }
        let outcome = grant::decide(&facts, now);
        let mut writes = outcome.writes;
        match outcome.verdict {
            // One that goes in a circle is recorded once a minute.
            Err(denial) if denial.id() == CheckId::ClientLoop && facts.times > loops::TIMES + 1 => return Err(denial),
            // Devices ask every few seconds; a record of each would let strangers fill the disk.
            Err(denial) if matches!(denial.id(), CheckId::DeviceApproved | CheckId::DevicePatient) => {
                return Err(denial);
            }
            Err(denial) => {
                writes.push(issuance::refused(&facts, &denial, decision, now));
                // What a refusal writes has no condition; if it cannot be written now, the store is what fails.
                ports.ledger.commit(writes).await.map_err(|_| unavailable(Unavailable))?;
                return Err(crate::consent::attach(denial, &facts, ports, &tenant, &client));
            }
            Ok(granted) => {
                let prepared = issuance::prepare(&facts, &granted, decision, ports, now).map_err(unavailable)?;
                writes.extend(prepared.writes);
                match ports.ledger.commit(writes).await {
                    Ok(()) => return Ok((prepared.response, prepared.v1)),
                    Err(CommitError::Unavailable) => return Err(unavailable(Unavailable)),
                    Err(CommitError::Conflict) => {}
                }
            }
        }
    }
    Err(exhausted(&facts, now))
}

/// Authenticates the client, at every endpoint that clients call. Who guesses at its secret has to wait: from that address
/// alone, since the client's users must not suffer for a stranger (spec/entra.md section 8.3). A client that is known may ask
/// so often; who only uses its name takes none of that.
pub(crate) fn authenticate(
    ports: &Ports,
    request: &TokenRequest<'_>,
    facts: &Facts,
    now: Timestamp,
) -> Result<AuthenticatedClient, Denial> {
    let client = unless_guessing(ports, request, facts, now)?;
    let tenant = facts.tenant.as_ref().map(|tenant| tenant.id).unwrap_or_default();
    let requester = match client.method() {
        Method::None => Requester::Unproven(tenant, client.app(), request.address.into()),
        Method::Secret | Method::Assertion => Requester::Proven(tenant, client.app()),
    };
    ports.limits.request(requester, now).map_err(|Wait(seconds)| {
        let expected = "no more requests a second than one client may make";
        Denial::new(CheckId::RequestsLimited, expected, "more").retry_after(seconds)
    })?;
    Ok(client)
}

fn unless_guessing(
    ports: &Ports,
    request: &TokenRequest<'_>,
    facts: &Facts,
    now: Timestamp,
) -> Result<AuthenticatedClient, Denial> {
    // Signatures cannot be guessed: only secrets are counted.
    let secret = matches!(facts.authentication, AuthenticationFacts::Secret { .. });
    let Some(client) = facts.client.as_ref().filter(|_| secret) else {
        return client_auth::decide(facts, now);
    };
    let guesser = Caller::Client(client.app_id, request.address.into());
    let wait = |wait: Wait| wait.denial("wrong credentials", "another attempt at once");
    let attempt = ports.limits.attempt(&[guesser], now).map_err(wait)?;
    let proven = client_auth::decide(facts, now)?;
    attempt.succeeded();
    Ok(proven)
}

/// A browser's cross-origin request comes from a registered single-page application, and carries no credential.
pub(crate) fn same_origin(
    origin: &str,
    client: Option<&Registration>,
    presented: &Presented<'_>,
) -> Result<(), Denial> {
    let registered = client.is_some_and(|client| spa_origin(client, origin));
    if registered && matches!(presented, Presented::Nothing) {
        return Ok(());
    }
    let expected = "a request without `Origin`, or one of a registered `spa` redirect URI and without a credential";
    Err(Denial::new(CheckId::ClientOrigin, expected, "another one"))
}

/// Whether an origin is that of one of the client's single-page redirect URIs.
fn spa_origin(client: &Registration, origin: &str) -> bool {
    client.application.spa.redirect_uris.iter().any(|uri| crate::directory::origin(uri) == Some(origin))
}

/// Which grant a form means (spec/standards.md section 3): decided first, and never falling through from one to another.
fn choose(form: &Form, ports: &Ports) -> Result<&'static Grant, Denial> {
    let name = match grant::required(form, "grant_type")? {
        // MSAL.NET's spelling.
        "device_code" => oauth::GrantType::DeviceCode.as_str(),
        name => name,
    };
    let offered = || grant::ALL.iter().map(|grant| format!("`{}`", grant.grant_type)).collect::<Vec<_>>().join(", ");
    let mut named = grant::ALL.iter().filter(|grant| grant.grant_type.as_str() == name).peekable();
    if named.peek().is_none() {
        return Err(Denial::new(CheckId::GrantSupported, offered(), "another `grant_type`"));
    }
    named.find(|grant| (grant.recognises)(form)).ok_or_else(|| {
        if name == oauth::GrantType::TokenExchange.as_str() {
            let expected = format!("`{TOKEN_TYPE_WORK_ORDER}` as `requested_token_type` or as `subject_token_type`");
            return Denial::new(CheckId::GrantSupported, expected, "neither")
                .fix("to call another API for a user, use On-Behalf-Of (`requested_token_use=on_behalf_of`); token exchange is for work orders");
        }
        let typ = match ports.crypto.assertion(form.value("assertion").unwrap_or_default()) {
            AssertionFacts::OtherKind { typ } => format!(", and the assertion is of `typ` `{typ}`"),
            _ => String::new(),
        };
        let found = format!("`requested_token_use` is missing or another{typ}; identity assertions of other issuers are not accepted here");
        Denial::new(CheckId::GrantSupported, "`requested_token_use=on_behalf_of`", found).fix("add `requested_token_use=on_behalf_of`")
    })
}

/// Finds the tenant by id or domain. Under an alias it comes from what is presented: no alias is a tenant of its own.
async fn tenant(
    ports: &Ports,
    request: &TokenRequest<'_>,
    snapshot: &Snapshot,
    grant: &Grant,
) -> Result<Option<Arc<TenantDirectory>>, Denial> {
    if !is_alias(request.tenant) {
        return Ok(find_tenant(snapshot, request.tenant).cloned());
    }
    let presented = |name| request.form.value(name).unwrap_or_default();
    let digest = |name| ports.crypto.keyed_digest(presented(name));
    // What names no tenant is refused for what it is: "unknown tenant" would mislead.
    let (id, check, expected) = match grant.grant_type {
        oauth::GrantType::AuthorizationCode => {
            let record = ports.ledger.code(digest("code")).await.map_err(unavailable)?;
            (record.map(|record| record.tenant), CheckId::CodeValid, "a code that this authority issued")
        }
        oauth::GrantType::RefreshToken => {
            let record = ports.ledger.refresh(digest("refresh_token")).await.map_err(unavailable)?;
            (record.map(|record| record.tenant), CheckId::RefreshValid, "a refresh token that this authority issued")
        }
        oauth::GrantType::DeviceCode => {
            let code = grant::device_code::code(request.form).unwrap_or_default();
            let record = ports.ledger.device(ports.crypto.keyed_digest(code)).await.map_err(unavailable)?;
            (record.map(|record| record.tenant), CheckId::DeviceCodeKnown, "a device code that this authority issued")
        }
        oauth::GrantType::JwtBearer => of_assertion(ports, presented("assertion")),
        oauth::GrantType::TokenExchange if presented("subject_token_type") == TOKEN_TYPE_WORK_ORDER => {
            let record = ports.ledger.work_order(digest("subject_token")).await.map_err(unavailable)?;
            (record.map(|record| record.tenant), CheckId::WorkOrderKnown, "a work order that this authority issued")
        }
        oauth::GrantType::TokenExchange => of_assertion(ports, presented("subject_token")),
        oauth::GrantType::ClientCredentials => (None, CheckId::GrantOnTenant, "the tenant's id or domain in the URL"),
    };
    let found = id.and_then(|id| snapshot.tenant(id)).cloned();
    let actual = if grant.grant_type == oauth::GrantType::ClientCredentials { "an alias" } else { "another text" };
    found.map(Some).ok_or_else(|| Denial::new(check, expected, actual))
}

/// The tenant of a token that is presented, and what is wrong if it has none.
fn of_assertion(ports: &Ports, text: &str) -> (Option<TenantId>, CheckId, &'static str) {
    match ports.crypto.assertion(text) {
        AssertionFacts::Verified(claims) => {
            (claims.tid.parse().ok(), CheckId::AssertionIssuer, "an assertion of a tenant of this authority")
        }
        AssertionFacts::Malformed { .. } | AssertionFacts::OtherKind { .. } => {
            (None, CheckId::AssertionForm, "a signed access token")
        }
        AssertionFacts::Unverified { .. } => (None, CheckId::AssertionSignature, "a token signed by this authority"),
    }
}

/// Whether a path segment is an alias of many tenants.
pub fn is_alias(segment: &str) -> bool {
    matches!(segment, "common" | "organizations")
}

/// A tenant by id or by domain.
pub fn find_tenant<'a>(snapshot: &'a Snapshot, segment: &str) -> Option<&'a Arc<TenantDirectory>> {
    segment.parse().ok().and_then(|id| snapshot.tenant(id)).or_else(|| snapshot.by_domain(segment))
}

/// The facts about tenant and client, as they stand before the grant gathers its own.
pub(crate) async fn opening(
    ports: &Ports,
    request: &TokenRequest<'_>,
    (snapshot, tenant, client): (&Snapshot, Option<&TenantDirectory>, Option<&Registration>),
    client_id: &str,
    presented: Presented<'_>,
    now: Timestamp,
) -> Facts {
    let facts = blank(ports, request.tenant, tenant, client_id, client);
    // Nobody's keys are asked for where the answer is no already.
    let stands = admission::tenant_and_client(&facts).is_ok();
    let federated = client_auth::federated::gather(&presented, client.filter(|_| stands), ports, snapshot, now).await;
    Facts {
        version: request.version,
        trace: request.trace,
        authentication: federated.unwrap_or_else(|| client_auth::gather(presented, client, &*ports.crypto, now)),
        claims: request.form.value("claims").and_then(ClaimsRequest::parse).unwrap_or_default(),
        client_info: request.form.value("client_info") == Some("1"),
        cross_origin: request.origin.is_some(),
        jitter: i64::from(u16::from_be_bytes(issuance::random(ports)) % 1_801),
        ..facts
    }
}

/// Facts about tenant and client alone.
pub(crate) fn blank(
    ports: &Ports,
    tenant_requested: &str,
    tenant: Option<&TenantDirectory>,
    client_id: &str,
    client: Option<&Registration>,
) -> Facts {
    Facts {
        host: ports.host.to_string(),
        version: EndpointVersion::V2,
        tenant_requested: tenant_requested.to_owned(),
        tenant: tenant.map(|tenant| TenantFacts {
            id: tenant.tenant.id,
            enabled: tenant.tenant.enabled,
            domains: tenant.tenant.domains.clone(),
            settings: tenant.tenant.settings.clone(),
        }),
        client_requested: client_id.to_owned(),
        client: client.map(client_facts),
        authentication: AuthenticationFacts::Nothing,
        cross_origin: false,
        proof: ProofFacts::SignIn,
        oidc: Scopes::default(),
        target: Target::Missing,
        user: None,
        session: None,
        policies: Vec::new(),
        access: AccessFacts::default(),
        claims: ClaimsRequest::default(),
        client_info: false,
        jitter: 0,
        times: 0,
        view: 0,
        trace: None,
        carried: Vec::new(),
    }
}

pub(crate) fn client_facts(client: &Registration) -> ClientFacts {
    let application = &client.application;
    let native = application.deputize.client_profile == Profile::Native;
    ClientFacts {
        app_id: application.app_id,
        principal: client.principal.id,
        display_name: application.display_name.clone(),
        enabled: client.principal.account_enabled,
        profile: application.deputize.client_profile,
        identifier_uris: application.identifier_uris.clone(),
        confidential: application.is_confidential(),
        public_allowed: application.is_fallback_public_client
            || !application.public_client.redirect_uris.is_empty()
            || !application.spa.redirect_uris.is_empty(),
        fallback_public: application.is_fallback_public_client,
        one_time_assertions: native || application.deputize.one_time_assertions,
        one_time_federated: application.deputize.one_time_assertions,
        managed_identity: application.managed_identity.as_ref().map(|identity| identity.resource_id.clone()),
        id_claims: application.optional_claims.id_token.iter().collect(),
        memberships: application.group_membership_claims,
    }
}

/// Adds what the grant gathered, and the standing at the resource that is asked for.
async fn complete(
    facts: &mut Facts,
    gathered: Gathered,
    grant: &Grant,
    from: &Gathering<'_>,
    address: Option<std::net::IpAddr>,
) -> Result<(), Unavailable> {
    let Gathered { proof, user, session, scope, several, claims } = gathered;
    let parties = Parties { tenant: from.tenant, client: from.client, user: user.as_deref() };
    // RFC 8693's `audience` names the same. Work orders for several APIs have read both already.
    let named = from.form.values("resource").chain(from.form.values("audience"));
    let resources: Vec<&str> = named.filter(|_| !matches!(proof, ProofFacts::WorkOrder(_))).collect();
    let scope = scope.as_deref().or(from.form.value("scope"));
    let (oidc, target) = match facts.version {
        // What a device asked for was written down as scopes, whichever endpoint it asked; token exchange has scopes of its own.
        EndpointVersion::V1
            if !matches!(grant.grant_type, oauth::GrantType::DeviceCode | oauth::GrantType::TokenExchange) =>
        {
            resource_request::resolve(from.form, grant.grant_type, proof.recorded(), parties)
        }
        _ => scope_request::resolve(scope, &resources, parties, several),
    };
    facts.oidc = oidc;
    facts.target = target;
    // A middle tier's own consent is not behind the assertion that it received.
    let own = proof.assertion().is_none().then_some(from.client.application.app_id);
    let before = session.iter().flat_map(|session| session.chain.actors.iter().copied());
    facts.user = match user {
        Some(user) => Some(crate::facts::UserFacts {
            consent_withdrawn: withdrawn(&user, from.tenant, own.into_iter().chain(before)),
            ..person(from.ports, &user).await?
        }),
        None => None,
    };
    facts.session = session.map(|session| session.in_tenant(from.tenant));
    facts.proof = proof;
    if let Some(claims) = claims.filter(|_| from.form.value("claims").is_none()) {
        facts.claims = ClaimsRequest::parse(&claims).unwrap_or_default();
    }
    crate::conditional_access::gather(from.tenant, facts, address);
    crate::lifetime::gather(from.ports, facts).await
}

/// An essential claim must not be lost because its JSON is broken.
pub(crate) fn claims_readable(form: &Form) -> Result<(), Denial> {
    if form.value("claims").is_some_and(|claims| ClaimsRequest::parse(claims).is_none()) {
        let expected = "`claims` as OpenID Connect Core section 5.5 has it: a JSON object that names each member once";
        let fix = "send `claims` as it came with the challenge, or leave it out";
        return Err(Denial::new(CheckId::RequestWellFormed, expected, "another text").fix(fix));
    }
    Ok(())
}

/// When a user last took back their consent to one of these.
pub(crate) fn withdrawn(
    user: &crate::directory::UserRecord,
    tenant: &TenantDirectory,
    acting: impl Iterator<Item = crate::id::AppId>,
) -> Option<Timestamp> {
    acting.filter_map(|app| user.withdrawn.get(&tenant.app(app)?.principal.id).copied()).max()
}

/// Users whom an app-only request may drop. Other requests carry theirs.
async fn carried(facts: &Facts, ports: &Ports, now: Timestamp) -> Result<Vec<Carried>, Unavailable> {
    match (&facts.proof, &facts.tenant, &facts.client, facts.trace) {
        (ProofFacts::ClientCredentials, Some(tenant), Some(client), Some(trace)) => {
            ports.ledger.carried(tenant.id, client.app_id, trace, now).await
        }
        _ => Ok(Vec::new()),
    }
}

/// What decisions read of a user.
pub(crate) fn user_facts(record: &crate::directory::UserRecord) -> crate::facts::UserFacts {
    let user = &record.user;
    crate::facts::UserFacts {
        id: user.id,
        enabled: user.account_enabled,
        valid_from: user.sign_in_sessions_valid_from,
        upn: user.user_principal_name.clone(),
        display_name: user.display_name.clone(),
        given_name: user.given_name.clone(),
        surname: user.surname.clone(),
        mail: user.mail.clone(),
        groups: record.groups.clone(),
        directory_roles: user.is_tenant_admin.then_some(DirectoryRole::GlobalAdministrator).into_iter().collect(),
        second_factor: record.second_factor,
        assigned_groups: record.assigned_groups.clone(),
        home: None,
        consent_withdrawn: None,
    }
}

/// The same, with how a guest stands at home.
pub(crate) async fn person(
    ports: &Ports,
    record: &crate::directory::UserRecord,
) -> Result<crate::facts::UserFacts, Unavailable> {
    let Some(account) = record.user.home else { return Ok(user_facts(record)) };
    let at_home = ports.directory.user(account.tenant, crate::directory::UserKey::Id(account.user)).await?;
    let snapshot = ports.directory.snapshot();
    let open = snapshot.tenant(account.tenant).is_some_and(|tenant| tenant.tenant.enabled);
    let home = crate::facts::HomeFacts {
        account,
        enabled: open && at_home.as_ref().is_some_and(|home| home.user.account_enabled && home.user.home.is_none()),
        valid_from: at_home.as_ref().map(|home| home.user.sign_in_sessions_valid_from).unwrap_or_default(),
    };
    // Guests show the second factor that they have at home.
    let second_factor = at_home.is_some_and(|home| home.second_factor);
    Ok(crate::facts::UserFacts { home: Some(home), second_factor, ..user_facts(record) })
}

/// The refusal while the store does not answer.
pub fn unavailable(_: Unavailable) -> Denial {
    Denial::new(CheckId::StoreAvailable, "a store that answers", "none")
}

/// After three conflicts: either an assertion id was used before, or others keep changing the same object.
fn exhausted(facts: &Facts, now: Timestamp) -> Denial {
    match client_auth::decide(facts, now).map(|client| client.once()) {
        Ok(Some(_)) => Denial::new(
            CheckId::ClientAssertionOnce,
            "an assertion whose `jti` was not used before",
            "one that was used",
        ),
        _ => Denial::new(CheckId::StoreAvailable, "a state that holds still", "three conflicts"),
    }
}
