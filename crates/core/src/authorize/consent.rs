//! Consent at sign-in: what the page shows, and what agreeing to it grants.
mod dialog;

pub(super) use dialog::{Dialog, gather};

use super::parameters::parameters;
use super::{Answer, Browser, Present, Proved, authorize, prove, refuse, signed_in, wanted};
use crate::admission;
use crate::audit::AuditRecord;
use crate::consent::{By, Offer, Publisher, Section, publisher, writes};
use crate::denial::Denial;
use crate::issuance;
use crate::ledger::{CommitError, Write};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::{CheckId, Timestamp};
use oauth::Form;

/// What the person is asked to agree to.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsentRequest {
    /// The application that will act for them.
    pub client_name: String,
    /// Whose it is.
    pub publisher: Publisher,
    /// Who they are.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// The tenant.
    pub tenant_name: String,
    /// What it may do, by API; further applications' needs after its own.
    pub sections: Vec<Section>,
    /// Applications that are added to the tenant.
    pub adds: Vec<String>,
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
    let ticket = browser.session.as_ref().and_then(|session| {
        Ticket::open(ports, decided.ticket, Page::Consent, &browser.cookie, Some(session.id), request, now)
    });
    let Some(ticket) = ticket else { return Answer::Page(Box::new(forged()), None) };
    let Some(offer) = ticket.offer.clone().filter(|offer| proved.may_be_in(offer.tenant)) else {
        return Answer::Page(Box::new(forged()), None);
    };
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
    let fresh = Browser { fresh: true, ..browser.clone() };
    let present = match signed_in(ports, &fresh, &proved, None, now).await {
        Ok(Some(present)) if present.tenant.tenant.id == offer.tenant => present,
        // Who is not signed in any more agrees to nothing, whatever page they were shown before.
        Ok(_) => return authorize(ports, segment, request, &browser).await,
        Err(denial) => return refuse(ports, &proved, *denial, false),
    };
    let asked = match parameters(request, &proved) {
        Ok(asked) => asked,
        Err(denial) => return refuse(ports, &proved, *denial, false),
    };
    // A policy may have come since the page was shown: a consent lasts, and is not had for less than it demands.
    let (.., all) = wanted(ports, segment, request, &browser, &proved, &present, &asked);
    if all.iter().any(|facts| admission::reaches(facts, now).is_err()) {
        return authorize(ports, segment, request, &browser).await;
    }
    let user = present.user;
    let by = By { user: &user.user, for_all: decided.for_all, now };
    let Some(mut writes) = writes(&ports.directory.snapshot(), &offer, by) else {
        return Answer::Page(Box::new(forged()), None);
    };
    writes.push(ticket.consume());
    let action = if decided.for_all && user.user.is_tenant_admin { "consent for all" } else { "consent" };
    writes.push(record(ports, &proved, &offer, user.user.id.to_string(), action, now));
    match ports.ledger.commit(writes).await {
        // The page was shown only once the sign-in was fresh enough for the request: it is not asked for again.
        Ok(()) => authorize(ports, segment, request, &Browser { agreed: true, fresh: true, ..browser }).await,
        Err(CommitError::Conflict) => Answer::Page(Box::new(forged()), None),
        Err(CommitError::Unavailable) => refuse(ports, &proved, unavailable(crate::ledger::Unavailable), false),
    }
}

pub(super) fn record(
    ports: &Ports,
    proved: &Proved,
    offer: &Offer,
    subject: String,
    action: &str,
    at: Timestamp,
) -> Write {
    let decision = issuance::random_uuid(ports).to_string();
    let client = proved.client.application.app_id;
    Write::Audit(Box::new(AuditRecord {
        tenant: Some(offer.tenant),
        client: Some(client),
        subject: Some(subject),
        scope: offer.edges.iter().map(|edge| edge.scope.to_string()).collect::<Vec<_>>().join(" "),
        ..AuditRecord::new(at, decision, action)
    }))
}

/// The page that asks for consent, or on which a person may ask an administrator for it.
pub(super) fn consent_page(
    ports: &Ports,
    ticket: Ticket,
    proved: &Proved,
    signed_in: &Present,
    dialog: Dialog,
) -> ConsentRequest {
    let (sections, offer, adds) = dialog.into_parts();
    ConsentRequest { sections, adds, ticket: ticket.offering(offer).seal(ports), ..shown(ports, proved, signed_in) }
}

fn shown(ports: &Ports, proved: &Proved, signed_in: &Present) -> ConsentRequest {
    let Present { tenant, user, .. } = signed_in;
    ConsentRequest {
        client_name: proved.client.application.display_name.clone(),
        publisher: publisher(&ports.directory.snapshot(), &proved.client.application, tenant),
        user_name: user.user.display_name.clone(),
        upn: user.user.user_principal_name.clone(),
        tenant_name: tenant.tenant.display_name.clone(),
        sections: Vec::new(),
        adds: Vec::new(),
        may_grant_for_all: user.user.is_tenant_admin,
        ticket: String::new(),
    }
}
