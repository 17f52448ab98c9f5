//! What a user allowed, and taking it back: who acts for me, with what, since when.
use super::{Publisher, Section, edge, publisher};
use crate::audit::AuditRecord;
use crate::authorize::{Browser, SignInRequest};
use crate::denial::Denial;
use crate::directory::{Registration, Snapshot, TenantDirectory};
use crate::id::PrincipalId;
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::ports::Ports;
use crate::presence::{Present, at_page, own_tenant};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::Timestamp;
use oauth::{Form, Scopes};
use std::collections::BTreeMap;

/// One application that may act for the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Which.
    pub client_name: String,
    /// Whose it is.
    pub publisher: Publisher,
    /// What the user allowed.
    pub own: Vec<Section>,
    /// What administrators allowed for everyone: not the user's to take back.
    pub for_all: Vec<Section>,
    /// Since when, if it is known.
    pub since: Option<Timestamp>,
    /// For the button that takes it back: the form's hidden fields.
    pub hidden: Option<(String, String)>,
}

/// The page.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenPage {
    /// Who looks at it.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// The tenant.
    pub tenant_name: String,
    /// The tenant's id, for the form.
    pub tenant: String,
    /// The applications, by name.
    pub applications: Vec<Given>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenAnswer {
    /// Somebody signs in.
    SignIn(SignInRequest),
    /// The page.
    Show(Box<GivenPage>),
    /// Why nothing happens.
    Page(Box<Denial>),
}

/// Shows who acts for the user.
pub async fn given(ports: &Ports, segment: &str, browser: &Browser) -> GivenAnswer {
    match shown(ports, segment, browser).await {
        Ok(answer) => answer,
        Err(denial) => GivenAnswer::Page(denial),
    }
}

async fn shown(ports: &Ports, segment: &str, browser: &Browser) -> Result<GivenAnswer, Box<Denial>> {
    let now = ports.now();
    let snapshot = ports.directory.snapshot();
    let tenant = own_tenant(ports, segment)?;
    let Some(present) = at_page(ports, &tenant, browser, now).await? else {
        return Ok(GivenAnswer::SignIn(SignInRequest {
            client_name: "your applications".to_owned(),
            tenant_name: Some(tenant.tenant.display_name.clone()),
            hint: None,
        }));
    };
    let mut edges: BTreeMap<PrincipalId, Vec<(PrincipalId, &Scopes, bool)>> = BTreeMap::new();
    let own = present.user.grants.iter().map(|(edge, scopes)| (edge, scopes, true));
    for ((client, resource), scopes, own) in own.chain(tenant.grants().map(|(edge, scopes)| (edge, scopes, false))) {
        if !scopes.is_empty() {
            edges.entry(*client).or_default().push((*resource, scopes, own));
        }
    }
    let mut applications = Vec::new();
    for (client, edges) in edges {
        let Some(client) = tenant.principal(client) else { continue };
        applications.push(application(ports, &snapshot, &present, browser, client, &edges, now));
    }
    applications.sort_by(|one, other| one.client_name.cmp(&other.client_name));
    Ok(GivenAnswer::Show(Box::new(GivenPage {
        user_name: present.user.user.display_name.clone(),
        upn: present.user.user.user_principal_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        tenant: tenant.tenant.id.to_string(),
        applications,
    })))
}

fn application(
    ports: &Ports,
    snapshot: &Snapshot,
    present: &Present,
    browser: &Browser,
    client: &Registration,
    edges: &[(PrincipalId, &Scopes, bool)],
    now: Timestamp,
) -> Given {
    let tenant: &TenantDirectory = &present.tenant;
    let of = |wanted: bool| -> Vec<Section> {
        let edges = edges.iter().filter(|(_, _, own)| *own == wanted);
        let mut sections: Vec<Section> = edges
            .filter_map(|(resource, scopes, _)| Some(edge(client, tenant.principal(*resource)?, scopes).section))
            .collect();
        sections.sort_by(|one, other| one.resource.cmp(&other.resource));
        sections
    };
    let own = of(true);
    let since =
        present.user.consented.iter().filter(|((of, _), _)| *of == client.principal.id).map(|(_, at)| *at).min();
    let hidden = (!own.is_empty()).then(|| {
        let request = Form::default().with("client", &client.principal.id.to_string());
        let ticket = Ticket::new(ports, Page::Given, &browser.cookie, Some(present.session.id), &request, now);
        (request.encode(), ticket.seal(ports))
    });
    Given {
        client_name: client.application.display_name.clone(),
        publisher: publisher(snapshot, &client.application, tenant),
        own,
        for_all: of(false),
        since,
        hidden,
    }
}

/// Takes back what the user allowed one application. It binds at once: its refresh tokens for them are dead.
pub async fn withdraw(ports: &Ports, segment: &str, request: &Form, browser: &Browser, ticket: &str) -> GivenAnswer {
    match withdrawn(ports, segment, request, browser, ticket).await {
        Ok(true) => given(ports, segment, &Browser { fresh: true, ..browser.clone() }).await,
        Ok(false) => given(ports, segment, browser).await,
        Err(denial) => GivenAnswer::Page(denial),
    }
}

async fn withdrawn(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    ticket: &str,
) -> Result<bool, Box<Denial>> {
    let now = ports.now();
    let tenant = own_tenant(ports, segment)?;
    let fresh = Browser { fresh: true, ..browser.clone() };
    let Some(present) = at_page(ports, &tenant, &fresh, now).await? else { return Ok(false) };
    let session = Some(present.session.id);
    let ticket = Ticket::open(ports, ticket, Page::Given, &browser.cookie, session, request, now);
    let client: Option<PrincipalId> = request.value("client").and_then(|client| client.parse().ok());
    let (Some(ticket), Some(client)) = (ticket, client) else { return Err(Box::new(forged())) };
    // A service principal stands in one tenant, so a page of another has nothing to take back here.
    let Some(registration) = tenant.principal(client) else { return Err(Box::new(forged())) };
    let user = present.user.user.id;
    let decision = issuance::random_uuid(ports).to_string();
    let audit = AuditRecord {
        tenant: Some(tenant.tenant.id),
        client: Some(registration.application.app_id),
        subject: Some(user.to_string()),
        ..AuditRecord::new(now, decision, "withdraw consent")
    };
    let withdraw = Write::Withdraw { tenant: tenant.tenant.id, client, user, at: now };
    match ports.ledger.commit(vec![ticket.consume(), withdraw, Write::Audit(Box::new(audit))]).await {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Err(Box::new(forged())),
        Err(CommitError::Unavailable) => Err(Box::new(unavailable(Unavailable))),
    }
}
