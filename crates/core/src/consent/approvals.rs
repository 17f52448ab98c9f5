//! Requests that wait for an administrator: the list, and what comes of them.
use super::{ApprovalRequest, By, Edge, Publisher, Section, publisher, writes};
use crate::audit::AuditRecord;
use crate::authorize::{Browser, SignInRequest, future};
use crate::denial::Denial;
use crate::directory::{Snapshot, TenantDirectory, UserKey};
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::ports::Ports;
use crate::presence::{administrator, at_page, own_tenant};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::Timestamp;
use oauth::Form;
use std::sync::Arc;

/// One request, as administrators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// Who asks.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// Why.
    pub reason: String,
    /// When.
    pub created: Timestamp,
    /// For which application.
    pub client_name: String,
    /// Whose it is.
    pub publisher: Publisher,
    /// For what.
    pub sections: Vec<Section>,
    /// Applications that would be added.
    pub adds: Vec<String>,
    /// The form's hidden fields: request and ticket.
    pub hidden: (String, String),
}

/// The page.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalsPage {
    /// Who looks at it.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// The tenant.
    pub tenant_name: String,
    /// The tenant's id, for the forms.
    pub tenant: String,
    /// The oldest first.
    pub requests: Vec<Approval>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum ApprovalsAnswer {
    /// Somebody signs in.
    SignIn(SignInRequest),
    /// The page.
    Show(Box<ApprovalsPage>),
    /// Why nothing happens.
    Page(Box<Denial>),
}

/// Shows the requests that wait.
pub async fn approvals(ports: &Ports, segment: &str, browser: &Browser) -> ApprovalsAnswer {
    match shown(ports, segment, browser).await {
        Ok(answer) => answer,
        Err(denial) => ApprovalsAnswer::Page(denial),
    }
}

async fn shown(ports: &Ports, segment: &str, browser: &Browser) -> Result<ApprovalsAnswer, Box<Denial>> {
    let now = ports.now();
    let tenant = own_tenant(ports, segment)?;
    let Some(present) = at_page(ports, &tenant, browser, now).await? else {
        return Ok(ApprovalsAnswer::SignIn(SignInRequest {
            client_name: "requests for consent".to_owned(),
            tenant_name: Some(tenant.tenant.display_name.clone()),
            hint: None,
        }));
    };
    administrator(ports, &present, browser, now)?;
    let waiting = ports.ledger.approval_requests(tenant.tenant.id).await.map_err(|e| Box::new(unavailable(e)))?;
    let snapshot = ports.directory.snapshot();
    let mut requests = Vec::new();
    for request in waiting.into_iter().filter(|request| request.expires > now) {
        let key = UserKey::Id(request.user);
        let user = ports.directory.user(tenant.tenant.id, key).await.map_err(|e| Box::new(unavailable(e)))?;
        let (Some(user), Some(application)) = (user, snapshot.application(request.client)) else { continue };
        let named = Form::default().with("id", &request.id.to_string());
        let ticket = Ticket::new(ports, Page::Approval, &browser.cookie, Some(present.session.id), &named, now);
        requests.push(Approval {
            user_name: user.user.display_name.clone(),
            upn: user.user.user_principal_name.clone(),
            created: request.created,
            client_name: application.display_name.clone(),
            publisher: publisher(&snapshot, application, &tenant),
            sections: sections(&snapshot, &tenant, &request),
            adds: names(&snapshot, &request),
            reason: request.reason,
            hidden: (named.encode(), ticket.offering(request.offer).seal(ports)),
        });
    }
    Ok(ApprovalsAnswer::Show(Box::new(ApprovalsPage {
        user_name: present.user.user.display_name.clone(),
        upn: present.user.user.user_principal_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        tenant: tenant.tenant.id.to_string(),
        requests,
    })))
}

fn names(snapshot: &Snapshot, request: &ApprovalRequest) -> Vec<String> {
    let applications = request.offer.adds.iter().filter_map(|app| snapshot.application(*app));
    applications.map(|application| application.display_name.clone()).collect()
}

fn sections(snapshot: &Snapshot, tenant: &Arc<TenantDirectory>, request: &ApprovalRequest) -> Vec<Section> {
    let adds = request.offer.adds.iter().filter_map(|app| snapshot.application(*app));
    let absent = adds.filter(|application| tenant.app(application.app_id).is_none());
    let tenant = tenant.with(absent.map(|application| future(tenant.tenant.id, application)));
    let words = |edge: &Edge| {
        let resource = tenant.principal(edge.resource)?;
        let shown = super::edge(tenant.principal(edge.client)?, resource, &edge.scope);
        Some(shown.for_admins(&resource.application).section)
    };
    request.offer.edges.iter().filter_map(words).collect()
}

/// Takes an administrator's decision about one request. What was shown is what is granted, once.
pub async fn reviewed(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    approved: bool,
    ticket: &str,
) -> ApprovalsAnswer {
    let fresh = Browser { fresh: true, ..browser.clone() };
    match review(ports, segment, request, &fresh, approved, ticket).await {
        Ok(()) => approvals(ports, segment, &fresh).await,
        Err(denial) => ApprovalsAnswer::Page(denial),
    }
}

async fn review(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    approved: bool,
    ticket: &str,
) -> Result<(), Box<Denial>> {
    let now = ports.now();
    let tenant = own_tenant(ports, segment)?;
    let Some(present) = at_page(ports, &tenant, browser, now).await? else { return Ok(()) };
    administrator(ports, &present, browser, now)?;
    let session = Some(present.session.id);
    let ticket = Ticket::open(ports, ticket, Page::Approval, &browser.cookie, session, request, now);
    let id = request.value("id").and_then(|id| id.parse().ok());
    let found = ticket.and_then(|ticket| Some((ticket.offer.clone()?, ticket))).zip(id);
    let Some(((offer, ticket), id)) = found.filter(|((offer, _), _)| offer.tenant == tenant.tenant.id) else {
        return Err(Box::new(forged()));
    };
    let mut all = vec![ticket.consume(), Write::CloseRequest(tenant.tenant.id, id)];
    if approved {
        let by = By { user: &present.user.user, for_all: true, now };
        all.extend(writes(&ports.directory.snapshot(), &offer, by).ok_or_else(|| Box::new(forged()))?);
    }
    let decision = issuance::random_uuid(ports).to_string();
    let action = if approved { "approve consent" } else { "deny consent" };
    all.push(Write::Audit(Box::new(AuditRecord {
        tenant: Some(tenant.tenant.id),
        subject: Some(present.user.user.id.to_string()),
        scope: offer.edges.iter().map(|edge| edge.scope.to_string()).collect::<Vec<_>>().join(" "),
        ..AuditRecord::new(now, decision, action)
    })));
    match ports.ledger.commit(all).await {
        Ok(()) => Ok(()),
        // Another administrator was faster, or the page was posted before.
        Err(CommitError::Conflict) => Err(Box::new(forged())),
        Err(CommitError::Unavailable) => Err(Box::new(unavailable(Unavailable))),
    }
}
