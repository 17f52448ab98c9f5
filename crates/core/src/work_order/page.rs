//! A user's work orders: who may work for them, on what, until when; what waits for them; and taking it back.
use super::presence;
use super::{Parked, WorkOrderRecord, Worker};
use crate::audit::AuditRecord;
use crate::authorize::{Browser, SignInRequest};
use crate::denial::Denial;
use crate::directory::{Registration, TenantDirectory};
use crate::id::{AppId, FamilyId};
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::model::Digest;
use crate::ports::Ports;
use crate::presence::{Present, at_page, own_tenant};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::{Check, CheckId, Timestamp};
use oauth::Form;

/// One order, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Why it was made.
    pub purpose: String,
    /// The application that made it.
    pub issuer: String,
    /// Who may redeem it, by name.
    pub workers: Vec<String>,
    /// The APIs, and what may be done there at most.
    pub allowed: Vec<(String, Vec<String>)>,
    /// How often it was redeemed, and how often it may be.
    pub redeemed: (u32, u32),
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Why it waits for the user, and since when.
    pub parked: Option<Parked>,
    /// The hidden fields of its form.
    pub hidden: (String, String),
}

/// The page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersPage {
    /// Their name.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// The tenant.
    pub tenant_name: String,
    /// The tenant's id, for the form.
    pub tenant: String,
    /// Those that wait first, then those that end first.
    pub orders: Vec<Shown>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum OrdersAnswer {
    /// Somebody signs in.
    SignIn(SignInRequest),
    /// The page.
    Show(Box<OrdersPage>),
    /// The browser goes there, to give the user's presence: a path of ours.
    Go(String),
    /// Why nothing happens.
    Page(Box<Denial>),
}

/// What a user decides about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes on: the user is here.
    Approve,
    /// It ends.
    Revoke,
}

/// Shows a user's orders.
pub async fn orders(ports: &Ports, segment: &str, browser: &Browser) -> OrdersAnswer {
    shown(ports, segment, browser).await.unwrap_or_else(OrdersAnswer::Page)
}

async fn shown(ports: &Ports, segment: &str, browser: &Browser) -> Result<OrdersAnswer, Box<Denial>> {
    let now = ports.now();
    let tenant = own_tenant(ports, segment)?;
    let Some(present) = at_page(ports, &tenant, browser, now).await? else {
        return Ok(OrdersAnswer::SignIn(SignInRequest {
            client_name: "your work orders".to_owned(),
            tenant_name: Some(tenant.tenant.display_name.clone()),
            hint: None,
        }));
    };
    let orders = of_user(ports, &present, now).await?;
    let user = &present.user.user;
    Ok(OrdersAnswer::Show(Box::new(OrdersPage {
        user_name: user.display_name.clone(),
        upn: user.user_principal_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        tenant: tenant.tenant.id.to_string(),
        orders: orders.into_iter().map(|(_, order)| order_of(ports, &present, browser, order, now)).collect(),
    })))
}

async fn of_user(
    ports: &Ports,
    present: &Present,
    now: Timestamp,
) -> Result<Vec<(Digest, WorkOrderRecord)>, Box<Denial>> {
    let (tenant, user) = (present.tenant.tenant.id, present.user.user.id);
    ports.ledger.work_orders(tenant, user, now).await.map_err(|error| Box::new(unavailable(error)))
}

fn order_of(ports: &Ports, present: &Present, browser: &Browser, order: WorkOrderRecord, now: Timestamp) -> Shown {
    let tenant: &TenantDirectory = &present.tenant;
    let request = Form::default().with("order", &order.id.to_string());
    let ticket = Ticket::new(ports, Page::WorkOrder, &browser.cookie, Some(present.session.id), &request, now);
    let at = |resource: &Registration, scopes: &oauth::Scopes| {
        let words = |scope: &str| {
            let published = resource.permission(scope).map(crate::scope_request::published);
            published.map_or_else(|| scope.to_owned(), |published| published.display_name)
        };
        (resource.application.display_name.clone(), scopes.iter().map(words).collect())
    };
    let allowed = order.allowed.iter().filter_map(|it| Some(at(tenant.app(it.resource)?, &it.scopes))).collect();
    Shown {
        purpose: order.purpose,
        issuer: name(tenant, order.issuer),
        workers: order.workers.iter().map(|worker: &Worker| name(tenant, worker.client)).collect(),
        allowed,
        redeemed: (order.redeemed, order.redemptions),
        issued: order.issued,
        expires: order.expires,
        parked: order.parked,
        hidden: (request.encode(), ticket.seal(ports)),
    }
}

/// An application that does not stand here any more has no name here.
fn name(tenant: &TenantDirectory, app: AppId) -> String {
    tenant.app(app).map_or_else(|| app.to_string(), |app| app.application.display_name.clone())
}

/// Takes a decision about an order, in the browser and session that the page was shown to, once.
pub async fn decided(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    (decision, ticket): (Decision, &str),
) -> OrdersAnswer {
    match decide(ports, segment, request, browser, (decision, ticket)).await {
        Ok(Some(path)) => OrdersAnswer::Go(path),
        Ok(None) => orders(ports, segment, browser).await,
        Err(denial) => OrdersAnswer::Page(denial),
    }
}

async fn decide(
    ports: &Ports,
    segment: &str,
    request: &Form,
    browser: &Browser,
    (decision, ticket): (Decision, &str),
) -> Result<Option<String>, Box<Denial>> {
    let now = ports.now();
    let tenant = own_tenant(ports, segment)?;
    let Some(present) = at_page(ports, &tenant, browser, now).await? else { return Ok(None) };
    let session = Some(present.session.id);
    let ticket = Ticket::open(ports, ticket, Page::WorkOrder, &browser.cookie, session, request, now);
    let id: Option<FamilyId> = request.value("order").and_then(|id| id.parse().ok());
    let (Some(ticket), Some(id)) = (ticket, id) else { return Err(Box::new(forged())) };
    // Of this user alone: a page of another's order has no form here.
    let order = of_user(ports, &present, now).await?.into_iter().find(|(_, order)| order.id == id);
    let Some((digest, order)) = order else {
        let denial = Denial::new(CheckId::WorkOrderCurrent, "a work order that has not ended", "one that has ended");
        return Err(Box::new(Denial {
            check: Check { fix: "go back: there is nothing more to do".into(), ..denial.check },
            ..denial
        }));
    };
    if decision == Decision::Approve {
        commit(ports, vec![ticket.consume()]).await?;
        return Ok(Some(presence::begin(ports, browser, digest, &order, &tenant)));
    }
    let audit = AuditRecord {
        tenant: Some(order.tenant),
        client: Some(order.issuer),
        subject: Some(order.user.to_string()),
        grants: vec![order.id],
        object: Some(order.path()),
        purpose: Some(order.purpose.clone()),
        ..AuditRecord::new(now, issuance::random_uuid(ports).to_string(), "revoke work order")
    };
    commit(ports, vec![ticket.consume(), Write::RevokeWorkOrder(order.id), Write::Audit(Box::new(audit))]).await?;
    Ok(None)
}

async fn commit(ports: &Ports, writes: Vec<Write>) -> Result<(), Box<Denial>> {
    ports.ledger.commit(writes).await.map_err(|error| {
        Box::new(match error {
            CommitError::Conflict => forged(),
            CommitError::Unavailable => unavailable(Unavailable),
        })
    })
}
