//! Asking an administrator: what the page sends, and what is kept of it.
use super::consent::record;
use super::{Answer, Browser, Present, authorize, prove, refuse, signed_in};
use crate::consent::{ApprovalRequest, WAITS, reason};
use crate::denial::Denial;
use crate::id::ObjectId;
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::CheckId;
use oauth::Form;

/// What the person sent.
pub struct Asking<'a> {
    /// Whether they ask, or go back.
    pub asks: bool,
    /// Why they need it.
    pub reason: &'a str,
    /// The hidden field.
    pub ticket: &'a str,
}

/// Takes a request for an administrator's consent. What was shown is what is asked for.
pub async fn asked(ports: &Ports, segment: &str, request: &Form, browser: &Browser, asking: Asking<'_>) -> Answer {
    let now = ports.now();
    let proved = match prove(ports, segment, request, browser.session.as_deref()) {
        Ok(proved) => proved,
        Err(denial) => return Answer::Page(denial, None),
    };
    let ticket = browser.session.as_ref().and_then(|session| {
        Ticket::open(ports, asking.ticket, Page::AskAdmin, &browser.cookie, Some(session.id), request, now)
    });
    let found = ticket.and_then(|ticket| Some((ticket.offer.clone()?, ticket)));
    let Some((offer, ticket)) = found.filter(|(offer, _)| proved.may_be_in(offer.tenant)) else {
        return Answer::Page(Box::new(forged()), None);
    };
    if !asking.asks {
        let denial = Denial::new(CheckId::ConsentDeclined, "consent", "a refusal by the user");
        return refuse(ports, &proved, denial, false);
    }
    let fresh = Browser { fresh: true, ..browser.clone() };
    let user = match signed_in(ports, &fresh, &proved, None, now).await {
        Ok(Some(Present { user, tenant, .. }))
            if tenant.tenant.id == offer.tenant && tenant.tenant.settings.admin_consent_requests =>
        {
            user
        }
        Ok(_) => return authorize(ports, segment, request, browser).await,
        Err(denial) => return refuse(ports, &proved, *denial, false),
    };
    let Some(reason) = reason(asking.reason) else {
        // The page asks for it; whoever leaves it out is shown the page again.
        return authorize(ports, segment, request, &fresh).await;
    };
    let audit = record(ports, &proved, &offer, user.user.id.to_string(), "request approval", now);
    let approval = ApprovalRequest {
        id: ObjectId(issuance::random_uuid(ports)),
        tenant: offer.tenant,
        user: user.user.id,
        client: proved.client.application.app_id,
        offer,
        reason,
        created: now,
        expires: now.plus(WAITS),
    };
    let writes = vec![ticket.consume(), Write::RequestApproval(Box::new(approval)), audit];
    match ports.ledger.commit(writes).await {
        Ok(()) => {
            let expected = "an administrator's approval";
            refuse(ports, &proved, Denial::new(CheckId::ConsentRequested, expected, "a request that waits"), false)
        }
        Err(CommitError::Conflict) => Answer::Page(Box::new(forged()), None),
        Err(CommitError::Unavailable) => refuse(ports, &proved, unavailable(Unavailable), false),
    }
}
