//! Conditional access: policies are data, and this is what they mean (spec/entra.md section 12).
//!
//! Only [`crate::admission`] asks. An authentication context is satisfied when some policy says what it means, and every
//! such policy that concerns this user, client and network is met.
use crate::chain::Chain;
use crate::denial::{Denial, Remedy};
use crate::directory::TenantDirectory;
use crate::facts::{AccessFacts, AuthenticationFacts, Facts, Target, UserFacts};
use crate::id::AppId;
use crate::model::{
    Application, AuthenticationType, BuiltInControl, ClientAppType, Operator, Place, Policy, PolicyState,
};
use decision::{CheckId, Timestamp};
use oauth::ClaimsRequest;
use serde_json::{Value, json};
use std::net::IpAddr;

/// What the policies leave of a request that they let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Authentication contexts satisfied.
    pub(crate) acrs: Vec<String>,
    /// Nothing that is issued outlives this moment.
    pub(crate) ends: Timestamp,
    /// Until when no policy would ask anything anew: what lives longer would escape it. Nobody but the authority asks where a
    /// request comes from, so a policy that does asks anew at once.
    pub(crate) settled: Timestamp,
}

/// Gathers what the policies read: those that could bind, where the request comes from and by what kind of client.
pub(crate) fn gather(tenant: &TenantDirectory, facts: &mut Facts, address: Option<IpAddr>) {
    facts.policies = binding(tenant, &facts.target, &facts.claims);
    // A request without a client's credential comes from the user's own device. Others come from servers: what counts for
    // them is where the user's browser was last seen.
    let public = facts.session.is_none() || facts.authentication == AuthenticationFacts::Nothing;
    let seen = facts.session.as_ref().and_then(|session| session.address);
    let address = if public { address } else { seen }.map(|address| address.to_canonical());
    let root = facts.session.as_ref().and_then(|session| session.chain.actors.last().copied());
    let client = root.or(facts.client.as_ref().map(|client| client.app_id));
    let client_app_types = match (&facts.session, client.and_then(|app| tenant.app(app))) {
        (None, _) => vec![ClientAppType::Other],
        // Who does not stand here is refused whatever kind of client it was.
        (Some(_), client) => client.map(|client| kinds(&client.application)).unwrap_or_default(),
    };
    let holding = tenant.tenant.named_locations.iter().filter(|place| address.is_some_and(|ip| place.holds(ip)));
    let trusted = holding.clone().any(|place| place.is_trusted);
    facts.access = AccessFacts { client_app_types, address, locations: holding.map(|it| it.id).collect(), trusted };
}

/// The policies that could bind where this is asked for.
pub(crate) fn binding(tenant: &TenantDirectory, target: &Target, claims: &ClaimsRequest) -> Vec<Policy> {
    let resource = resource_of(target);
    let named = named(claims);
    let could =
        |policy: &&Policy| defines(policy) || covers(policy, resource) || named.contains(&policy.id.to_string());
    tenant.policies.iter().filter(could).cloned().collect()
}

/// An application with redirect URIs of both kinds is of both: a policy for either covers it.
fn kinds(application: &Application) -> Vec<ClientAppType> {
    let browser = !application.web.redirect_uris.is_empty() || !application.spa.redirect_uris.is_empty();
    let native =
        !browser || application.is_fallback_public_client || !application.public_client.redirect_uris.is_empty();
    let all = [(ClientAppType::Browser, browser), (ClientAppType::MobileAppsAndDesktopClients, native)].into_iter();
    all.filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
}

fn resource_of(target: &Target) -> AppId {
    match target {
        Target::Resource(resource) => resource.app_id,
        _ => AppId::default(),
    }
}

/// The policies that a challenge of ours asks to satisfy, whatever they cover. One that does not exist any more asks nothing.
fn named(claims: &ClaimsRequest) -> &[String] {
    claims.access_token("polids").filter(|asked| asked.essential).map_or(&[], |asked| &asked.values)
}

/// The authentication contexts that a tenant's policies define, in order: what `acr_values` may ask for (RFC 9470).
pub fn contexts(tenant: &TenantDirectory) -> Vec<String> {
    defined(&tenant.policies).into_iter().cloned().collect()
}

fn defined(policies: &[Policy]) -> Vec<&String> {
    let defining = policies.iter().filter(|policy| policy.state == PolicyState::Enabled);
    let mut known: Vec<&String> =
        defining.flat_map(|p| &p.conditions.applications.include_authentication_context_class_references).collect();
    known.sort_unstable_by_key(|name| (name.len(), name.as_str()));
    known.dedup();
    known
}

fn defines(policy: &Policy) -> bool {
    !policy.conditions.applications.include_authentication_context_class_references.is_empty()
}

fn covers(policy: &Policy, resource: AppId) -> bool {
    let asked = &policy.conditions.applications;
    !defines(policy)
        && !asked.exclude_applications.contains(&resource)
        && (asked.include_applications.is_empty() || asked.include_applications.contains(&resource))
}

fn concerns(policy: &Policy, user: Option<&UserFacts>, access: &AccessFacts) -> bool {
    concerns_person(policy, user) && by_kind(policy, access) && from_there(policy, access)
}

fn concerns_person(policy: &Policy, user: Option<&UserFacts>) -> bool {
    let asked = &policy.conditions.users;
    let everyone = asked.include_users.is_empty() && asked.include_groups.is_empty() && asked.include_roles.is_empty();
    let (spared, named) = match user {
        None => (false, false),
        Some(user) => (
            asked.exclude_users.contains(&user.id)
                || asked.exclude_groups.iter().any(|group| user.groups.contains(group))
                || asked.exclude_roles.iter().any(|role| user.directory_roles.contains(role)),
            asked.include_users.contains(&user.id)
                || asked.include_groups.iter().any(|group| user.groups.contains(group))
                || asked.include_roles.iter().any(|role| user.directory_roles.contains(role)),
        ),
    };
    !spared && (everyone || named)
}

fn by_kind(policy: &Policy, access: &AccessFacts) -> bool {
    let kinds = &policy.conditions.client_app_types;
    let of_people = kinds.is_empty() && !access.client_app_types.contains(&ClientAppType::Other);
    of_people || access.client_app_types.iter().any(|kind| kinds.contains(kind))
}

fn from_there(policy: &Policy, access: &AccessFacts) -> bool {
    let Some(places) = &policy.conditions.locations else { return true };
    // An unknown address may be in any place that is covered, and is in none that is spared.
    let within = |place: &Place| match place {
        Place::All => true,
        Place::AllTrusted => access.trusted,
        Place::Named(id) => access.locations.contains(id),
    };
    let included =
        places.include_locations.is_empty() || access.address.is_none() || places.include_locations.iter().any(within);
    included && !places.exclude_locations.iter().any(within)
}

/// What the policies are asked about.
#[derive(Clone, Copy)]
struct Asking<'a> {
    facts: &'a Facts,
    user: &'a UserFacts,
    chain: &'a Chain,
    now: Timestamp,
}

/// Evaluates every policy that concerns this user at this resource. A block wins over everything a sign-in could satisfy.
///
/// # Errors
/// The first unmet demand, with the claims that a new sign-in must satisfy, and what the person could do about it.
pub(crate) fn evaluate(facts: &Facts, user: &UserFacts, chain: &Chain, now: Timestamp) -> Result<Allowed, Denial> {
    let asking = Asking { facts, user, chain, now };
    let acrs = asking.contexts();
    let binding: Vec<&Policy> = asking.binding(PolicyState::Enabled).collect();
    if let Some(policy) = binding.iter().find(|policy| policy.grant_controls.has(BuiltInControl::Block)) {
        return Err(blocked(policy));
    }
    let unmet = binding.iter().filter_map(|policy| asking.meets(policy, &acrs).err());
    // What nothing mends is told first; and a new sign-in comes before a second factor, which belongs to its session.
    let first = unmet.chain(asking.essential(&acrs)).min_by_key(|denial| match denial.remedy {
        None => 0,
        Some(Remedy::SignIn) => 1,
        Some(Remedy::SecondFactor) => 2,
    });
    if let Some(denial) = first {
        return Err(denial);
    }
    let lifetimes = binding.iter().filter_map(|policy| Some((policy, policy.session_controls.session_lifetime?)));
    let ending = lifetimes.map(|(policy, life)| (chain.auth_time.plus(life.seconds()), policy)).min_by_key(|it| it.0);
    if let Some((_, policy)) = ending.filter(|(ends, _)| *ends <= now) {
        let found = format!("one of {}", chain.auth_time);
        let expected = "a session within the lifetime of its policies";
        return Err(sign_in_again(policy, CheckId::SessionAlive, expected, found));
    }
    let ends = ending.map_or(chain.session_ends, |(ends, _)| ends.min(chain.session_ends));
    let settled = asking.settled(&acrs).min(ends);
    Ok(Allowed { acrs, ends, settled })
}

/// The policies in report-only state that would have refused, with the check.
pub(crate) fn reported<'a>(
    facts: &'a Facts,
    user: &'a UserFacts,
    chain: &'a Chain,
    now: Timestamp,
) -> Vec<(&'a Policy, CheckId)> {
    let asking = Asking { facts, user, chain, now };
    let refusal = |policy: &'a Policy| {
        let denial = if policy.grant_controls.has(BuiltInControl::Block) {
            Err(blocked(policy))
        } else {
            asking.meets(policy, &chain.acrs)
        };
        denial.err().map(|denial| (policy, denial.id()))
    };
    asking.binding(PolicyState::EnabledForReportingButNotEnforced).filter_map(refusal).collect()
}

/// Policies over programs that act as themselves: those that say so. Such a program has no second factor to show. Answers
/// until when they would ask nothing anew, where they ever would.
///
/// # Errors
/// If one of them demands anything.
pub(crate) fn evaluate_app(facts: &Facts, now: Timestamp) -> Result<Option<Timestamp>, Denial> {
    let resource = resource_of(&facts.target);
    let covering = || facts.policies.iter().filter(|it| it.state == PolicyState::Enabled && covers(it, resource));
    let found = covering().find(|policy| concerns(policy, None, &facts.access) && !policy.grant_controls.is_empty());
    if let Some(policy) = found {
        return Err(blocked(policy));
    }
    // An application proves itself at this moment, and has no authentication context.
    essential_acrs(&facts.claims, &[], None)?;
    essential_nbf(&facts.claims, now)?;
    let moves = covering().any(|policy| policy.conditions.locations.is_some() && by_kind(policy, &facts.access));
    Ok(moves.then_some(now))
}

impl<'a> Asking<'a> {
    fn concerning(self, state: PolicyState) -> impl Iterator<Item = &'a Policy> {
        let concerns =
            move |policy: &&Policy| policy.state == state && concerns(policy, Some(self.user), &self.facts.access);
        self.facts.policies.iter().filter(concerns)
    }

    fn binding(self, state: PolicyState) -> impl Iterator<Item = &'a Policy> {
        let (resource, named) = (resource_of(&self.facts.target), named(&self.facts.claims));
        self.concerning(state).filter(move |policy| covers(policy, resource) || named.contains(&policy.id.to_string()))
    }

    /// The contexts that are satisfied.
    fn contexts(self) -> Vec<String> {
        defined(&self.facts.policies).into_iter().filter(|context| self.unmet(context).is_none()).cloned().collect()
    }

    /// Until when the policies over this user here, and those that define what they satisfied, ask nothing anew.
    fn settled(self, acrs: &[String]) -> Timestamp {
        let resource = resource_of(&self.facts.target);
        let all = self.facts.policies.iter().filter(|policy| policy.state == PolicyState::Enabled);
        let asked = all.filter(|policy| {
            (covers(policy, resource) || acrs.iter().any(|context| means(policy, context)))
                && concerns_person(policy, Some(self.user))
                && by_kind(policy, &self.facts.access)
        });
        let until = asked.filter_map(|policy| {
            if policy.conditions.locations.is_some() {
                return Some(self.now);
            }
            let frequency = policy.session_controls.sign_in_frequency?;
            let shown = match frequency.authentication_type {
                AuthenticationType::PrimaryAndSecondaryAuthentication => self.chain.auth_time,
                AuthenticationType::SecondaryAuthentication => self.chain.mfa_time.unwrap_or(self.chain.auth_time),
            };
            Some(shown.plus(frequency.seconds()?))
        });
        until.min().unwrap_or(self.chain.session_ends)
    }

    /// What keeps a context from being satisfied.
    fn unmet(self, context: &str) -> Option<Denial> {
        self.concerning(PolicyState::Enabled).filter(|policy| means(policy, context)).find_map(|policy| {
            if policy.grant_controls.has(BuiltInControl::Block) {
                return Some(blocked(policy));
            }
            // A context that is defined by contexts is defined by nothing.
            self.meets(policy, &[]).err()
        })
    }

    fn meets(self, policy: &Policy, acrs: &[String]) -> Result<(), Denial> {
        let controls = &policy.grant_controls;
        let mut demands = Vec::new();
        if controls.has(BuiltInControl::Mfa) {
            demands.push(self.mfa(policy));
        }
        if let Some(context) = &controls.authentication_context {
            let expected =
                format!("the authentication context `{context}`, as the policy `{}` demands", policy.display_name);
            demands.push(self.context(expected, std::slice::from_ref(context), acrs));
        }
        if controls.operator == Operator::Or && demands.iter().any(Result::is_ok) {
            demands.clear();
        }
        self.recent(policy)?;
        demands.into_iter().collect()
    }

    /// Sign-in frequency.
    fn recent(self, policy: &Policy) -> Result<(), Denial> {
        let Some((frequency, seconds)) =
            policy.session_controls.sign_in_frequency.and_then(|frequency| Some((frequency, frequency.seconds()?)))
        else {
            return Ok(());
        };
        let recent = |at: Timestamp| self.now.since(at) <= seconds;
        match frequency.authentication_type {
            AuthenticationType::PrimaryAndSecondaryAuthentication if !recent(self.chain.auth_time) => {
                let expected =
                    format!("a sign-in within {seconds} seconds, as the policy `{}` demands", policy.display_name);
                let found = format!("one of {}", self.chain.auth_time);
                Err(sign_in_again(policy, CheckId::SignInRecent, expected, found))
            }
            AuthenticationType::SecondaryAuthentication => match self.chain.mfa_time {
                Some(at) if recent(at) => Ok(()),
                Some(at) => {
                    let expected = format!(
                        "a second factor within {seconds} seconds, as the policy `{}` demands",
                        policy.display_name
                    );
                    let denial = Denial::new(CheckId::MfaCurrent, expected, format!("one of {at}"));
                    Err(denial.challenge(polids(policy)).remedy(Remedy::SecondFactor))
                }
                None => self.mfa(policy),
            },
            AuthenticationType::PrimaryAndSecondaryAuthentication => Ok(()),
        }
    }

    fn mfa(self, policy: &Policy) -> Result<(), Denial> {
        let amr = &self.chain.amr;
        if amr.iter().any(|method| method == "mfa") {
            return Ok(());
        }
        let expected = format!("multi-factor authentication, as the policy `{}` demands", policy.display_name);
        let denial = if self.user.second_factor {
            let actual = if amr.is_empty() { "nothing".to_owned() } else { amr.join(", ") };
            Denial::new(CheckId::MfaSatisfied, expected, format!("a sign-in by {actual}"))
        } else {
            Denial::new(CheckId::MfaEnrolled, expected, "a user who has set up no second factor")
        };
        Err(denial.challenge(polids(policy)).remedy(Remedy::SecondFactor))
    }

    /// One of these contexts.
    fn context(self, expected: String, wanted: &[String], acrs: &[String]) -> Result<(), Denial> {
        if wanted.iter().any(|context| acrs.contains(context)) {
            return Ok(());
        }
        // What nobody defined, no sign-in mends.
        let mends = |context: &String| {
            let known = self.facts.policies.iter().any(|p| p.state == PolicyState::Enabled && means(p, context));
            if known { self.unmet(context)?.remedy } else { None }
        };
        Err(unmet_context(expected, wanted, acrs, wanted.iter().find_map(mends)))
    }

    /// Essential claims of the `claims` parameter: met, or refused, never skipped.
    fn essential(self, acrs: &[String]) -> impl Iterator<Item = Denial> {
        let acrs = essential_acrs(&self.facts.claims, acrs, Some(self));
        [acrs, essential_nbf(&self.facts.claims, self.now)].into_iter().filter_map(Result::err)
    }
}

fn means(policy: &Policy, context: &str) -> bool {
    policy.conditions.applications.include_authentication_context_class_references.iter().any(|known| known == context)
}

fn blocked(policy: &Policy) -> Denial {
    let actual = format!("the policy `{}` blocks this request", policy.display_name);
    Denial::new(CheckId::AccessNotBlocked, "access that no policy blocks", actual)
}

fn polids(policy: &Policy) -> String {
    json!({"access_token": {"polids": {"essential": true, "values": [policy.id]}}}).to_string()
}

/// Told as the policy, which a middle tier can pass back as it is.
fn sign_in_again(policy: &Policy, check: CheckId, expected: impl Into<String>, actual: impl Into<String>) -> Denial {
    Denial::new(check, expected, actual).challenge(polids(policy)).remedy(Remedy::SignIn)
}

fn essential_acrs(claims: &ClaimsRequest, acrs: &[String], asking: Option<Asking<'_>>) -> Result<(), Denial> {
    let Some(asked) = claims.access_token("acrs").filter(|asked| asked.essential) else { return Ok(()) };
    if asked.values.is_empty() && !acrs.is_empty() {
        return Ok(());
    }
    let wanted = if asked.values.is_empty() { vec!["c1".to_owned()] } else { asked.values.clone() };
    let expected = format!("the authentication context `{}`", wanted.join("` or `"));
    match asking {
        Some(asking) => asking.context(expected, &wanted, acrs),
        None => Err(unmet_context(expected, &wanted, acrs, None)),
    }
}

/// A token from this moment on (Entra's continuous access evaluation): what is issued now is judged as everything stands now.
fn essential_nbf(claims: &ClaimsRequest, now: Timestamp) -> Result<(), Denial> {
    let asked = claims.access_token("nbf").filter(|asked| asked.essential);
    let Some(value) = asked.and_then(|asked| asked.values.first()) else { return Ok(()) };
    let Ok(moment) = value.parse().map(Timestamp) else {
        return Err(Denial::new(
            CheckId::RequestWellFormed,
            "an essential `nbf` in seconds since 1970",
            "another text",
        ));
    };
    if moment <= now {
        return Ok(());
    }
    let claims = json!({"access_token": {"nbf": {"essential": true, "value": value}}});
    let denial = Denial::new(CheckId::EssentialClaim, format!("a token from {moment} on"), format!("one of {now}"));
    // No sign-in is of the future.
    Err(denial.challenge(claims.to_string()))
}

fn unmet_context(expected: String, wanted: &[String], acrs: &[String], remedy: Option<Remedy>) -> Denial {
    let asked: Value = match wanted {
        [one] => json!({"essential": true, "value": one}),
        several => json!({"essential": true, "values": several}),
    };
    let claims = json!({"access_token": {"acrs": asked}});
    let actual = if acrs.is_empty() { "a sign-in with none".to_owned() } else { acrs.join(", ") };
    let denial = Denial::new(CheckId::ContextSatisfied, expected, actual).challenge(claims.to_string());
    Denial { remedy, ..denial }
}
