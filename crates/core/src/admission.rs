//! The one admission function. Every grant, and the authorization endpoint, asks it about tenant, client, resource, scopes,
//! consent, user, session, assignment, chain limits and conditional access, in the order of spec/entra.md section 6.3.
//! No grant has rules of its own about these: that is where vulnerabilities of this field live.
use crate::chain::Chain;
use crate::conditional_access;
use crate::denial::Denial;
use crate::endpoint::EndpointVersion;
use crate::facts::{
    Asked, CallerFacts, ClientFacts, Facts, ProofFacts, ResourceFacts, SessionFacts, Target, TenantFacts, UserFacts,
};
use crate::id::AppId;
use crate::loops::{SECONDS, TIMES};
use crate::model::DroppedUserContext;
use crate::trace;
use decision::{CheckId, Timestamp};
use oauth::Scopes;

/// The deepest chain that any configuration allows, in hops: verifiers accept eight actors, the first client among them.
const DEEPEST_CHAIN: u8 = 7;

/// What the grant proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The client itself.
    App,
    /// A user stands behind the request.
    User {
        /// Who acted before this client, nearest first.
        actors: Vec<AppId>,
        /// Scopes that must not be exceeded, qualified by resource; `None` where consent alone limits.
        ceiling: Option<Scopes>,
    },
}

/// An admitted request: what may be issued. Only [`admit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// `scp`: short words.
    pub(crate) scopes: Scopes,
    /// `roles`.
    pub(crate) roles: Vec<String>,
    /// The chain, this client included; `None` for app-only.
    pub(crate) chain: Option<Chain>,
    /// Until when no policy would ask anything anew; `None` where none ever would.
    pub(crate) settled: Option<Timestamp>,
}

impl Admitted {
    /// The delegated scopes, in short words.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
    /// The app roles.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }
    /// The chain with this client in it.
    pub fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }
}

/// Steps 1a to 1c: the tenant and the client stand.
///
/// # Errors
/// The first check that fails.
pub fn tenant_and_client(facts: &Facts) -> Result<(&TenantFacts, &ClientFacts), Denial> {
    let Some(tenant) = &facts.tenant else {
        return Err(Denial::new(
            CheckId::TenantKnown,
            "the id or a domain of a tenant",
            format!("`{}`", short(&facts.tenant_requested)),
        ));
    };
    if !tenant.enabled {
        return Err(Denial::new(
            CheckId::TenantEnabled,
            "an enabled tenant",
            format!("`{}`, which is disabled", tenant.id),
        ));
    }
    let Some(client) = &facts.client else {
        let found = format!("`{}`", short(&facts.client_requested));
        return Err(Denial::new(CheckId::ClientKnown, format!("an application of the tenant `{}`", tenant.id), found));
    };
    if !client.enabled {
        return Err(Denial::new(
            CheckId::ClientEnabled,
            "an enabled application",
            format!("`{}`, which is disabled", client.app_id),
        ));
    }
    Ok((tenant, client))
}

/// Steps 4 to 6, after the grant's own proof. A failed proof is reported after tenant and client and before everything else.
///
/// # Errors
/// The first check that fails.
pub fn admit(facts: &Facts, proof: Result<Proof, Denial>, now: Timestamp) -> Result<Admitted, Denial> {
    let (tenant, client) = tenant_and_client(facts)?;
    match proof? {
        Proof::App => admit_app(facts, tenant, client, now),
        Proof::User { actors, ceiling } => admit_user(facts, tenant, client, actors, ceiling.as_ref(), now),
    }
}

/// What conditional access says of a sign-in, before anything else is asked of the person: consent is for those to give who
/// have proved who they are.
///
/// # Errors
/// As [`admit`] would refuse; what does not concern conditional access is for it to say.
pub fn reaches(facts: &Facts, now: Timestamp) -> Result<(), Denial> {
    let Ok((user, session)) = signed_in(facts.user.as_ref(), facts.session.as_ref(), now) else { return Ok(()) };
    let client = facts.client.iter().map(|client| client.app_id);
    let chain = Chain { actors: client.collect(), ..session.chain.clone() };
    conditional_access::evaluate(facts, user, &chain, now).map(drop)
}

fn admit_app(facts: &Facts, tenant: &TenantFacts, client: &ClientFacts, now: Timestamp) -> Result<Admitted, Denial> {
    let resource = resource(facts, client)?.ok_or_else(|| {
        let example = "`{application ID URI}/.default`";
        Denial::new(CheckId::ScopeValid, example, "no resource")
    })?;
    if resource.asked != Asked::Default {
        let expected =
            format!("`{}/.default`, since application permissions cannot be asked for one by one", resource.name);
        return Err(Denial::new(CheckId::ScopeValid, expected, "named scopes"));
    }
    let settled = conditional_access::evaluate_app(facts, now)?;
    let Some(roles) = &resource.client_roles else {
        if resource.assignment_required {
            let expected = format!("an app role of `{}` for the application `{}`", resource.name, client.app_id);
            return Err(Denial::new(CheckId::ClientAssigned, expected, "none"));
        }
        passed_on(facts, tenant, client, resource)?;
        return Ok(Admitted { scopes: Scopes::default(), roles: Vec::new(), chain: None, settled });
    };
    if roles.is_empty() && resource.assignment_required {
        let expected =
            format!("an enabled application permission of `{}` for the application `{}`", resource.name, client.app_id);
        return Err(Denial::new(CheckId::ClientAssigned, expected, "none"));
    }
    passed_on(facts, tenant, client, resource)?;
    Ok(Admitted { scopes: Scopes::default(), roles: roles.clone(), chain: None, settled })
}

/// An API that acts for a user never asks as itself: else it alone would decide what the user may do downstream. Asked last, so
/// that nobody is sent to declare an edge that does not exist.
fn passed_on(
    facts: &Facts,
    tenant: &TenantFacts,
    client: &ClientFacts,
    resource: &ResourceFacts,
) -> Result<(), Denial> {
    let refuses = tenant.settings.dropped_user_context == DroppedUserContext::Refuse;
    let by_itself = trace::dropped(facts).is_some_and(|(_, by_itself)| by_itself);
    if !refuses || !by_itself || resource.own_identity.is_some() {
        return Ok(());
    }
    let trace = facts.trace.map(|trace| trace.to_string()).unwrap_or_default();
    let expected = format!("a token on behalf of the user whose token `{}` sent in the trace `{trace}`", client.app_id);
    Err(Denial::new(CheckId::UserPassedOn, expected, "a request for a token of the application itself").fix(format!(
        "exchange the user's token with `requested_token_use=on_behalf_of`; if {} cannot pass users on to `{}`, declare why in \
         `deputize.ownIdentity` of its registration; a client that cached this refusal may repeat it for up to 60 seconds",
        client.display_name, resource.name
    )))
}

fn admit_user(
    facts: &Facts,
    tenant: &TenantFacts,
    client: &ClientFacts,
    actors: Vec<AppId>,
    ceiling: Option<&Scopes>,
    now: Timestamp,
) -> Result<Admitted, Denial> {
    not_looping(facts)?;
    let resource = resource(facts, client)?;
    let scopes = match resource {
        Some(resource) => scopes(facts, client, resource, ceiling)?,
        None => facts.oidc.clone(),
    };
    not_withdrawn(facts, client)?;
    called_for(facts)?;
    ordered(facts, &scopes)?;
    if let Some(ceiling) = ceiling {
        within(&facts.oidc, ceiling)?;
    }
    let (user, session) = signed_in(facts.user.as_ref(), facts.session.as_ref(), now)?;
    let called = caller(facts).map(|caller| &caller.resource);
    called.into_iter().chain(resource).try_for_each(|resource| assigned(resource, user))?;
    let mut chain = extend(tenant, client, resource, session, actors)?;
    let allowed = conditional_access::evaluate(facts, user, &chain, now)?;
    (chain.acrs, chain.session_ends) = (allowed.acrs, allowed.ends);
    let roles = resource.and_then(|resource| resource.user_roles.clone()).unwrap_or_default();
    Ok(Admitted { scopes, roles, chain: Some(chain), settled: Some(allowed.settled) })
}

/// A client that keeps nothing of what it gets, or goes in a circle, is stopped for what is left of a minute.
fn not_looping(facts: &Facts) -> Result<(), Denial> {
    if facts.times <= TIMES {
        return Ok(());
    }
    let expected = format!("the same request at most {TIMES} times in {SECONDS} seconds");
    Err(Denial::new(CheckId::ClientLoop, expected, format!("it for the {}th time", facts.times)))
}

/// Steps 4a to 4c.
fn resource<'a>(facts: &'a Facts, client: &ClientFacts) -> Result<Option<&'a ResourceFacts>, Denial> {
    let resource = match &facts.target {
        Target::Resource(resource) => resource,
        Target::Authority => return Ok(None),
        Target::Missing if facts.version == EndpointVersion::V1 => {
            return Err(Denial::new(CheckId::ParameterPresent, "`resource`", "nothing")
                .fix("add `resource` with the API's application ID URI, or ask the v2.0 endpoint for scopes"));
        }
        Target::Missing => return Err(Denial::new(CheckId::ScopePresent, "`scope`", "nothing")),
        Target::ResourceParameter => {
            return Err(Denial::new(CheckId::ResourceParameterAllowed, "the resource in `scope`", "`resource` alone"));
        }
        Target::Unknown { name } => {
            let expected = "a resource with a service principal in this tenant";
            return Err(Denial::new(CheckId::ResourceKnown, expected, format!("`{name}`")));
        }
        Target::Several { names } => {
            let check = match facts.proof {
                ProofFacts::ClientCredentials => CheckId::ScopeValid,
                ProofFacts::Code { .. } | ProofFacts::Device { .. } => CheckId::ResourceSingleInCode,
                _ => CheckId::ResourceSingle,
            };
            return Err(Denial::new(check, "scopes of one resource", names.join(", ")));
        }
        Target::Invalid { scope, reason } => {
            let expected = "`{application ID URI}/{scope}` or `{application ID URI}/.default`";
            return Err(Denial::new(CheckId::ScopeValid, expected, format!("`{scope}`: {reason}")));
        }
    };
    if !resource.enabled {
        return Err(Denial::new(
            CheckId::ResourceEnabled,
            "an enabled resource",
            format!("`{}`, which is disabled", resource.name),
        ));
    }
    if resource.self_by_uri {
        let expected = format!("`{}/.default`", client.app_id);
        return Err(Denial::new(CheckId::SelfToken, expected, format!("`{}`", resource.name)));
    }
    Ok(Some(resource))
}

/// Steps 4c to 5b: which scopes are issued. The intersection of what is asked, published, and consented to.
fn scopes(
    facts: &Facts,
    client: &ClientFacts,
    resource: &ResourceFacts,
    ceiling: Option<&Scopes>,
) -> Result<Scopes, Denial> {
    let name = &resource.name;
    let published: Scopes = resource.published.iter().map(|published| published.value.as_str()).collect();
    let by_admin = resource.tenant_grant.union(&resource.pre_authorized).intersection(&published);
    let granted = by_admin.union(&resource.user_grant.intersection(&published));
    let at_sign_in = facts.proof == ProofFacts::SignIn;
    let admin_only = |scopes: &Scopes| -> Scopes {
        resource
            .published
            .iter()
            .filter(|p| p.admin_only && scopes.contains(&p.value))
            .map(|p| p.value.as_str())
            .collect()
    };
    let wanted = match &resource.asked {
        Asked::Mixed => {
            return Err(Denial::new(CheckId::ScopeValid, "`.default` alone, or named scopes", "both together"));
        }
        Asked::Named(named) => {
            if let Some((scope, _)) = named.iter().find(|(_, value)| value.is_none()) {
                let offered = published.iter().map(|value| format!("`{name}/{value}`")).collect::<Vec<_>>().join(", ");
                let expected =
                    if offered.is_empty() { "a resource that publishes permissions".into() } else { offered };
                return Err(Denial::new(CheckId::ScopeValid, expected, format!("`{}`", short(scope))));
            }
            if resource.declared.is_none() && granted.is_empty() && !at_sign_in {
                return Err(undeclared(client, name));
            }
            named.iter().filter_map(|(_, value)| value.as_deref()).collect::<Scopes>()
        }
        Asked::Default => {
            if resource.declared.is_none() && granted.is_empty() {
                return Err(undeclared(client, name));
            }
            let declared = resource.declared.clone().unwrap_or_default().intersection(&published);
            // What a user agreed to alone and only an administrator may allow is left out, unless there is nothing else.
            let sound = granted.difference(&admin_only(&granted).difference(&by_admin));
            // At sign-in `.default` asks for what is registered only while nothing is granted; else it means what is granted.
            match (granted.is_empty(), sound.is_empty()) {
                (true, _) => declared,
                (false, true) => granted.clone(),
                (false, false) => sound,
            }
        }
    };
    if let Some(ceiling) = ceiling {
        // Qualified by the resource, or as the client wrote it: a code's ceiling is the authorization request's own text.
        let written = |value: &str| match &resource.asked {
            Asked::Named(named) => {
                named.iter().find(|(_, known)| known.as_deref() == Some(value)).map(|(whole, _)| whole)
            }
            _ => None,
        };
        let whole = ceiling.contains(&format!("{name}/.default"));
        let outside = |value: &&str| !written(value).is_some_and(|whole| ceiling.contains(whole));
        let beyond: Scopes = wanted.iter().filter(|_| !whole).filter(outside).map(|v| format!("{name}/{v}")).collect();
        within(&beyond, ceiling)?;
    }
    let missing = wanted.difference(&granted);
    if !missing.is_empty() || wanted.is_empty() {
        let need_admin = admin_only(&missing);
        if at_sign_in && !need_admin.is_empty() {
            return Err(consent(facts, client, resource, &need_admin, CheckId::ConsentAdmin));
        }
        return Err(consent(facts, client, resource, &missing, CheckId::ConsentGranted));
    }
    // A user's own consent to an administrators' permission counts for nothing.
    let unbacked = admin_only(&wanted.difference(&by_admin));
    if !unbacked.is_empty() {
        return Err(consent(facts, client, resource, &unbacked, CheckId::ConsentAdmin));
    }
    Ok(wanted)
}

/// Refuses what goes beyond what was granted before.
fn within(scopes: &Scopes, ceiling: &Scopes) -> Result<(), Denial> {
    let beyond = scopes.difference(ceiling);
    if beyond.is_empty() {
        return Ok(());
    }
    Err(Denial::new(CheckId::ScopeWithinGrant, format!("at most `{ceiling}`"), format!("`{beyond}`")))
}

fn undeclared(client: &ClientFacts, name: &str) -> Denial {
    let expected = format!("`{name}` in `requiredResourceAccess` of `{}`, or a consent to it", client.app_id);
    Denial::new(CheckId::ResourceDeclared, expected, "neither")
}

fn consent(facts: &Facts, client: &ClientFacts, resource: &ResourceFacts, missing: &Scopes, check: CheckId) -> Denial {
    let who = facts.user.as_ref().map_or_else(|| "the user".to_owned(), |user| format!("the user `{}`", user.id));
    let edge =
        format!("{} (`{}`) → {} (`{}`)", client.display_name, client.app_id, resource.display_name, resource.name);
    let wanted = missing.iter().map(|scope| format!("{}/{scope}", resource.name)).collect::<Vec<_>>().join(" ");
    let expected = format!("a consent of {who} or of an administrator for {edge} to `{wanted}`");
    let mut denial = Denial::new(check, expected, "none").fix(format!(
        "grant `{wanted}` to {} for the tenant, or have the user consent at sign-in; a client that cached this refusal may repeat it for up to 60 seconds",
        client.display_name
    ));
    denial.missing = Some(missing.clone());
    denial
}

/// Step 5c: the user, wherever they act: signing in, on a page, or behind a token.
pub(crate) fn user(user: Option<&UserFacts>) -> Result<&UserFacts, Denial> {
    let Some(user) = user else {
        return Err(Denial::new(CheckId::UserKnown, "a user of this tenant", "a user who does not exist any more"));
    };
    if !user.enabled {
        return Err(Denial::new(CheckId::UserEnabled, "an enabled user", format!("`{}`, who is disabled", user.id)));
    }
    if let Some(home) = user.home.filter(|home| !home.enabled) {
        let expected = format!("a guest whose account at home, `{}`, is enabled", home.account.tenant);
        return Err(Denial::new(CheckId::UserEnabled, expected, format!("`{}`, whose is not", user.id)));
    }
    Ok(user)
}

/// Step 5c: the user, and the session that everything stems from.
pub(crate) fn signed_in<'a>(
    of: Option<&'a UserFacts>,
    session: Option<&'a SessionFacts>,
    now: Timestamp,
) -> Result<(&'a UserFacts, &'a SessionFacts), Denial> {
    let user = user(of)?;
    let Some(session) = session else {
        return Err(Denial::new(CheckId::SessionAlive, "a sign-in session behind the token", "none"));
    };
    // Moments are whole seconds: a sign-in in the second of the revocation may have been before it.
    let valid_from = user.home.map_or(user.valid_from, |home| home.valid_from.max(user.valid_from));
    if session.chain.auth_time <= valid_from {
        let expected = format!("a sign-in after {valid_from}");
        return Err(Denial::new(CheckId::UserNotRevoked, expected, format!("one at {}", session.chain.auth_time)));
    }
    if session.grant_revoked {
        let found = "one that rests on an authorization which was revoked";
        return Err(Denial::new(CheckId::UserNotRevoked, "a token that has not been revoked", found));
    }
    if let Some(gone) = session.gone {
        let expected = "a chain of applications that stand in this tenant, enabled";
        return Err(Denial::new(CheckId::UserNotRevoked, expected, format!("one that came through `{gone}`")));
    }
    if session.ended || session.chain.session_ends <= now {
        return Err(Denial::new(CheckId::SessionAlive, "a living sign-in session", "one that has ended"));
    }
    Ok((user, session))
}

/// Step 5a: a consent that was taken back ends every refresh token that stems from it, those of other resources too, and every
/// assertion of before that came through that client.
fn not_withdrawn(facts: &Facts, client: &ClientFacts) -> Result<(), Denial> {
    let issued = match &facts.proof {
        ProofFacts::Refresh { record: Some(record), .. } => record.issued,
        ProofFacts::Redemption(redemption) => match &redemption.record {
            Some(record) => record.issued,
            None => return Ok(()),
        },
        proof => match proof.verified() {
            Some(claims) => Timestamp(claims.iat),
            None => return Ok(()),
        },
    };
    match facts.user.as_ref().and_then(|user| user.consent_withdrawn) {
        Some(withdrawn) if issued <= withdrawn => {
            let before = facts.proof.assertion().is_some();
            let to = if before { "an application that acted before" } else { client.display_name.as_str() };
            let expected = format!("a consent of the user to {to} that was not taken back");
            let denial = Denial::new(CheckId::ConsentGranted, expected, format!("one that ended at {withdrawn}"));
            Err(denial.fix("have the user sign in and consent again"))
        }
        _ => Ok(()),
    }
}

/// Step 5a: an assertion is worth what stands behind it now: who called with it, and that they may call the middle tier for
/// this user still.
fn called_for(facts: &Facts) -> Result<(), Denial> {
    let (Some(caller), Some(claims)) = (caller(facts), facts.proof.verified()) else {
        return Ok(());
    };
    let scopes_then = Scopes::from(claims.scp.clone());
    let granted = scopes(facts, &caller.client, &caller.resource, None).unwrap_or_default();
    if scopes_then.intersection(&granted).is_empty() {
        let denial = consent(facts, &caller.client, &caller.resource, &scopes_then, CheckId::ConsentGranted);
        // Nothing that this client could ask for mends it.
        return Err(Denial { missing: None, ..denial });
    }
    Ok(())
}

/// Step 5a: a worker gets no more than the application that made its order may have for this user now.
fn ordered(facts: &Facts, wanted: &Scopes) -> Result<(), Denial> {
    let (ProofFacts::Redemption(redemption), Target::Resource(target)) = (&facts.proof, &facts.target) else {
        return Ok(());
    };
    // An issuer that does not stand here any more is told of with the rest of the chain.
    let Some(issuer) = redemption.issuer.iter().find(|issuer| issuer.resource.app_id == target.app_id) else {
        return Ok(());
    };
    let granted = scopes(facts, &issuer.client, &issuer.resource, None).unwrap_or_default();
    let missing = wanted.difference(&granted);
    if missing.is_empty() {
        return Ok(());
    }
    // Nothing that the worker could ask for mends it.
    Err(Denial { missing: None, ..consent(facts, &issuer.client, &issuer.resource, &missing, CheckId::ConsentGranted) })
}

/// Who called with the assertion. Who stands here no more is told of with the rest of the chain.
fn caller(facts: &Facts) -> Option<&CallerFacts> {
    facts.proof.assertion().and_then(|(_, caller)| caller)
}

/// Step 5d.
fn assigned(resource: &ResourceFacts, user: &UserFacts) -> Result<(), Denial> {
    if resource.assignment_required && resource.user_roles.is_none() {
        let expected = format!("the user `{}` assigned to `{}`", user.id, resource.name);
        return Err(Denial::new(CheckId::UserAssigned, expected, "no assignment"));
    }
    Ok(())
}

/// Puts this client at the head of the chain, within the limits of the tenant.
fn extend(
    tenant: &TenantFacts,
    client: &ClientFacts,
    resource: Option<&ResourceFacts>,
    session: &SessionFacts,
    actors: Vec<AppId>,
) -> Result<Chain, Denial> {
    let mut chain = session.chain.clone();
    let loops = resource.is_some_and(|resource| resource.app_id != client.app_id && actors.contains(&resource.app_id));
    chain.actors = std::iter::once(client.app_id).chain(actors).collect();
    let limit = usize::from(tenant.settings.max_chain_depth.min(DEEPEST_CHAIN));
    if chain.hops() > limit {
        return Err(Denial::new(CheckId::ChainDepth, format!("at most {limit} hops"), format!("{}", chain.hops())));
    }
    if loops && !tenant.settings.allow_chain_loops {
        let name = resource.map(|resource| resource.name.as_str()).unwrap_or_default();
        return Err(Denial::new(CheckId::ChainLoop, "an API that the chain has not come through", format!("`{name}`")));
    }
    Ok(chain)
}

/// What an error may show of a caller's text.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '?' }).collect()
}
