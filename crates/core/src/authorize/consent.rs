//! Consent: what the page shows, and what agreeing to it grants.
use super::{Answer, Browser, Proved, authorize, prove, refuse, stands};
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserKey, UserRecord};
use crate::facts::{Asked, Facts, Published, Target};
use crate::id::PrincipalId;
use crate::issuance;
use crate::ledger::{CommitError, SessionRecord, Write};
use crate::model::{ConsentType, PermissionGrant};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::{CheckId, Timestamp};
use oauth::{Form, Scopes};

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
            start_time: Some(now),
            withdrawn: None,
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

/// One resource's part of the consent page: what is granted if the person agrees, and how it is shown.
pub(super) struct Shown {
    resource: PrincipalId,
    scopes: Scopes,
    name: String,
    permissions: Vec<Published>,
}

/// The user's standing consent request at one resource, or the denial if agreeing would not mend it.
pub(super) fn consentable(
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
pub(super) fn everything(facts: &Facts) -> Option<Shown> {
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
pub(super) fn consent_page(
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
