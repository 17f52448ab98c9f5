//! Admin consent (Microsoft's `/adminconsent`, in both forms): an administrator agrees for everyone to all that a
//! registration says it needs, delegated and application permissions, or to what the request names.
mod wanted;

use self::wanted::{Wanted, prove};
use super::{By, Offer, publisher, writes};
use crate::audit::AuditRecord;
use crate::authorize::{Browser, ConsentRequest, SignInRequest};
use crate::denial::Denial;
use crate::issuance;
use crate::ledger::{CommitError, Unavailable, Write};
use crate::model::Profile;
use crate::ports::Ports;
use crate::presence::{Present, administrator, at_page};
use crate::sign_in::forged;
use crate::ticket::{Page, Ticket};
use crate::token_endpoint::unavailable;
use decision::{CheckId, Timestamp};
use oauth::{Form, Parameter, Parameters, Place};

/// The two forms of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/{tenant}/adminconsent`: everything that is registered.
    V1,
    /// `/{tenant}/v2.0/adminconsent`: what `scope` names.
    V2,
}

/// What the first form reads.
pub const PARAMETERS_V1: &[Parameters] = &[BOTH];
/// What the second form reads.
pub const PARAMETERS_V2: &[Parameters] = &[
    BOTH,
    Parameters {
        when: "v2.0",
        each: &[Parameter::required(
            "scope",
            "The permissions, `{application ID URI}/{scope}`, or `{application ID URI}/.default` for all that is registered.",
        )
        .at(Place::Query)],
    },
];

const BOTH: Parameters = Parameters {
    when: "",
    each: &[
        Parameter::required("client_id", "The application that is consented to.").at(Place::Query),
        Parameter::optional(
            "redirect_uri",
            "A registered redirect URI: it gets `admin_consent=True`, `tenant`, `state` and `scope`, or `error`. Left out: a \
             page says that it is done.",
        )
        .at(Place::Query),
        Parameter::optional("state", "Comes back at `redirect_uri`.").at(Place::Query),
    ],
};

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminAnswer {
    /// Somebody signs in.
    SignIn(SignInRequest),
    /// The administrator sees what will be granted.
    Consent(Box<ConsentRequest>),
    /// The browser goes to the client: a whole address.
    Redirect(String),
    /// It is done, and the request named no address: the application's name.
    Done(String),
    /// A page of our own says why nothing happens; optionally with a way back to the client.
    Page(Box<Denial>, Option<String>),
}

/// Answers a request for admin consent.
pub async fn asked(ports: &Ports, segment: &str, version: Version, request: &Form, browser: &Browser) -> AdminAnswer {
    let now = ports.now();
    let wanted = match prove(ports, segment, version, request) {
        Ok(wanted) => wanted,
        Err(denial) => return AdminAnswer::Page(denial, None),
    };
    match show(ports, &wanted, request, browser, now).await {
        Ok(answer) => answer,
        Err(denial) => wanted.refuse(*denial),
    }
}

async fn show(
    ports: &Ports,
    wanted: &Wanted,
    request: &Form,
    browser: &Browser,
    now: Timestamp,
) -> Result<AdminAnswer, Box<Denial>> {
    let Some(present) = at_page(ports, &wanted.tenant, browser, now).await? else {
        return Ok(AdminAnswer::SignIn(SignInRequest {
            client_name: wanted.client.application.display_name.clone(),
            tenant_name: Some(wanted.tenant.tenant.display_name.clone()),
            hint: None,
        }));
    };
    administrator(ports, &present, browser, now)?;
    let (sections, offer, adds) = wanted.offer(&ports.directory.snapshot())?;
    let ticket = Ticket::new(ports, Page::AdminConsent, &browser.cookie, Some(present.session.id), request, now);
    Ok(AdminAnswer::Consent(Box::new(ConsentRequest {
        client_name: wanted.client.application.display_name.clone(),
        publisher: publisher(&ports.directory.snapshot(), &wanted.client.application, &wanted.tenant),
        user_name: present.user.user.display_name.clone(),
        upn: present.user.user.user_principal_name.clone(),
        tenant_name: wanted.tenant.tenant.display_name.clone(),
        sections,
        adds,
        may_grant_for_all: true,
        ticket: ticket.offering(offer).seal(ports),
    })))
}

/// Takes the administrator's decision. What was shown is what is granted, once.
pub async fn decided(
    ports: &Ports,
    segment: &str,
    version: Version,
    request: &Form,
    browser: &Browser,
    accepted: bool,
    ticket: &str,
) -> AdminAnswer {
    let now = ports.now();
    let wanted = match prove(ports, segment, version, request) {
        Ok(wanted) => wanted,
        Err(denial) => return AdminAnswer::Page(denial, None),
    };
    let ticket = browser.session.as_ref().and_then(|session| {
        Ticket::open(ports, ticket, Page::AdminConsent, &browser.cookie, Some(session.id), request, now)
    });
    let found = ticket.and_then(|ticket| Some((ticket.offer.clone()?, ticket)));
    let Some((offer, ticket)) = found.filter(|(offer, _)| offer.tenant == wanted.tenant.tenant.id) else {
        return AdminAnswer::Page(Box::new(forged()), None);
    };
    let fresh = Browser { fresh: true, ..browser.clone() };
    let present = match at_page(ports, &wanted.tenant, &fresh, now).await {
        Ok(Some(present)) => present,
        Ok(None) => return asked(ports, segment, version, request, browser).await,
        Err(denial) => return wanted.refuse(*denial),
    };
    let committed = if accepted {
        if let Err(denial) = administrator(ports, &present, browser, now) {
            return wanted.refuse(*denial);
        }
        commit(ports, &wanted, &present, &offer, ticket.consume(), now).await
    } else {
        ports.ledger.commit(vec![ticket.consume()]).await
    };
    match committed {
        Ok(()) if accepted => wanted.done(),
        Ok(()) => wanted.refuse(Denial::new(CheckId::ConsentDeclined, "consent", "a refusal by the administrator")),
        Err(CommitError::Conflict) => AdminAnswer::Page(Box::new(forged()), None),
        Err(CommitError::Unavailable) => wanted.refuse(unavailable(Unavailable)),
    }
}

async fn commit(
    ports: &Ports,
    wanted: &Wanted,
    present: &Present,
    offer: &Offer,
    once: Write,
    now: Timestamp,
) -> Result<(), CommitError> {
    let by = By { user: &present.user.user, for_all: true, now };
    let mut writes = writes(&ports.directory.snapshot(), offer, by).ok_or(CommitError::Conflict)?;
    let decision = issuance::random_uuid(ports).to_string();
    writes.push(once);
    writes.push(Write::Audit(Box::new(AuditRecord {
        tenant: Some(offer.tenant),
        client: Some(wanted.client.application.app_id),
        subject: Some(present.user.user.id.to_string()),
        scope: offer.edges.iter().map(|edge| edge.scope.to_string()).collect::<Vec<_>>().join(" "),
        roles: offer.edges.iter().flat_map(|edge| &edge.roles).map(ToString::to_string).collect(),
        ..AuditRecord::new(now, decision, "admin consent")
    })));
    ports.ledger.commit(writes).await
}

impl Wanted {
    /// Back to the client, or a page that says so.
    fn done(&self) -> AdminAnswer {
        let answer = Form::default().with("admin_consent", "True").with("tenant", &self.tenant.tenant.id.to_string());
        let answer = self.scope.iter().fold(answer, |answer, scope| answer.with("scope", scope));
        match self.back(answer) {
            Some(back) => AdminAnswer::Redirect(back),
            None => AdminAnswer::Done(self.client.application.display_name.clone()),
        }
    }

    /// A refusal: to the client where one decided so, on a page of our own where somebody else must act.
    fn refuse(&self, denial: Denial) -> AdminAnswer {
        let error = match denial.id() {
            CheckId::ConsentDeclined => "consent_required",
            CheckId::ConsentAdmin | CheckId::UserGuest => "access_denied",
            _ => match denial.error(Profile::Entra) {
                "invalid_grant" => "interaction_required",
                "invalid_resource" => "invalid_client",
                error => error,
            },
        };
        let answer = Form::default()
            .with("error", error)
            .with("error_description", &denial.description(Profile::Entra))
            .with("admin_consent", "True")
            .with("tenant", &self.tenant.tenant.id.to_string());
        match (denial.id(), self.back(answer)) {
            (CheckId::ConsentDeclined, Some(back)) => AdminAnswer::Redirect(back),
            (_, back) => AdminAnswer::Page(Box::new(denial), back),
        }
    }

    fn back(&self, answer: Form) -> Option<String> {
        let answer = self.state.iter().fold(answer, |answer, state| answer.with("state", state)).encode();
        let separator = |uri: &str| if uri.contains('?') { '&' } else { '?' };
        self.redirect_uri.as_ref().map(|uri| format!("{uri}{}{answer}", separator(uri)))
    }
}
