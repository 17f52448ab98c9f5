//! The page of a person's work orders.
use super::{Hidden, send};
use askama::Template;
use axum::response::Response;
use decision::{CheckId, Timestamp};
use deputize_core::work_order::page::{OrdersPage, Shown};
use pages::{Page, Plain};

/// Says what is done for the person, and what waits for them.
pub(crate) fn orders(page: &OrdersPage) -> Response {
    let content = Orders {
        tenant: Plain(&page.tenant_name),
        user: Plain(&page.user_name),
        upn: Plain(&page.upn),
        action: format!("/{}/work-orders", page.tenant),
        listed: page.orders.iter().map(Order::from).collect(),
    };
    send(Page::new("Work that is done for you", content))
}

#[derive(Template)]
#[template(path = "work_orders.html")]
struct Orders<'a> {
    tenant: Plain<'a>,
    user: Plain<'a>,
    upn: Plain<'a>,
    action: String,
    listed: Vec<Order<'a>>,
}

struct Order<'a> {
    purpose: Plain<'a>,
    issuer: Plain<'a>,
    workers: Vec<Plain<'a>>,
    allowed: Vec<(Plain<'a>, Vec<Plain<'a>>)>,
    redeemed: u32,
    redemptions: u32,
    issued: String,
    expires: String,
    parked: Option<(&'static str, String)>,
    hidden: Hidden<'a>,
}

impl<'a> From<&'a Shown> for Order<'a> {
    fn from(shown: &'a Shown) -> Self {
        let at = |(resource, permissions): &'a (String, Vec<String>)| {
            (Plain(resource), permissions.iter().map(|permission| Plain(permission)).collect())
        };
        Self {
            purpose: Plain(&shown.purpose),
            issuer: Plain(&shown.issuer),
            workers: shown.workers.iter().map(|worker| Plain(worker)).collect(),
            allowed: shown.allowed.iter().map(at).collect(),
            redeemed: shown.redeemed.0,
            redemptions: shown.redeemed.1,
            issued: moment(shown.issued),
            expires: moment(shown.expires),
            parked: shown.parked.map(|parked| (why(parked.check), moment(parked.since))),
            hidden: Hidden { request: &shown.hidden.0, ticket: &shown.hidden.1 },
        }
    }
}

/// Why an order waits, in the words of whom it waits for.
fn why(check: CheckId) -> &'static str {
    match check {
        CheckId::SessionAlive => "Your sign-in has ended.",
        CheckId::SignInRecent => "Your organization wants you to sign in again.",
        _ => "Your organization wants to be more certain that it is you.",
    }
}

/// To the minute.
fn moment(at: Timestamp) -> String {
    let text = at.entra();
    format!("{} UTC", text.get(..16).unwrap_or(&text))
}
