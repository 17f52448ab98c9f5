//! Tickets: what a posted page must bring back, sealed, so that only the browser it was shown to can post it, once.
use crate::consent::Offer;
use crate::denial::Denial;
use crate::id::SessionId;
use crate::issuance;
use crate::ledger::{CommitError, OncePurpose, Unavailable, Write};
use crate::model::Digest;
use crate::ports::Ports;
use crate::sign_in::forged;
use crate::token_endpoint::unavailable;
use decision::Timestamp;
use oauth::{Form, Secret};
use serde::{Deserialize, Serialize};

/// How long a page may be left open, in seconds.
const LIFE: i64 = 3_600;

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// The sign-in page.
    SignIn,
    /// The page of accounts.
    Accounts,
    /// The consent page.
    Consent,
    /// The page on which an administrator is asked to consent.
    AskAdmin,
    /// The page on which an administrator consents for everyone.
    AdminConsent,
    /// A request that waits for an administrator.
    Approval,
    /// An application that a user allowed to act for them.
    Given,
    /// A work order of a user.
    WorkOrder,
    /// The page on which a device's code is typed.
    UserCode,
    /// The page on which a device is approved.
    Device,
    /// The sign-out page.
    SignOut,
    /// The page that asks for a second factor.
    SecondFactor,
    /// The page that sets one up.
    Enrolment,
    /// The page that shows recovery codes.
    RecoveryCodes,
}

/// What the page was shown for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    page: Page,
    /// Digest of the cookie that the browser had when it was shown.
    cookie: Digest,
    /// The session, for pages that are shown to a signed-in user.
    session: Option<SessionId>,
    /// Digest of the authorization request.
    request: Digest,
    nonce: String,
    expires: Timestamp,
    /// What was shown to agree to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offer: Option<Offer>,
    /// The secret of a second factor that is being set up, in base64url.
    secret: Option<Secret>,
}

impl Ticket {
    /// A new ticket.
    pub fn new(
        ports: &Ports,
        page: Page,
        cookie: &str,
        session: Option<SessionId>,
        request: &Form,
        now: Timestamp,
    ) -> Self {
        Self {
            page,
            cookie: ports.crypto.keyed_digest(cookie),
            session,
            request: request_digest(request),
            nonce: issuance::random_uuid(ports).to_string(),
            expires: now.plus(LIFE),
            offer: None,
            secret: None,
        }
    }

    /// With what the page shows.
    #[must_use]
    pub(crate) fn offering(mut self, offer: Offer) -> Self {
        self.offer = Some(offer);
        self
    }

    /// With the secret that the page shows.
    #[must_use]
    pub(crate) fn enrolling(mut self, secret: String) -> Self {
        self.secret = Some(Secret::new(secret));
        self
    }

    /// The secret that the page showed.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Secret::expose)
    }

    /// The hidden field.
    pub fn seal(&self, ports: &Ports) -> String {
        ports.crypto.seal(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the hidden field back; `None` unless it was made for this page, browser, session and request.
    pub fn open(
        ports: &Ports,
        text: &str,
        page: Page,
        cookie: &str,
        session: Option<SessionId>,
        request: &Form,
        now: Timestamp,
    ) -> Option<Self> {
        let ticket: Self = serde_json::from_slice(&ports.crypto.open(text)?).ok()?;
        let fits = ticket.page == page
            && ticket.cookie == ports.crypto.keyed_digest(cookie)
            && ticket.session == session
            && ticket.request == request_digest(request)
            && ticket.expires > now;
        fits.then_some(ticket)
    }

    /// The account that a page was shown to: what is posted is for that one, whatever others the browser holds.
    pub fn account(ports: &Ports, text: &str) -> Option<SessionId> {
        serde_json::from_slice::<Self>(&ports.crypto.open(text)?).ok()?.session
    }

    /// The write that lets it work once.
    pub fn consume(&self) -> Write {
        Write::ConsumeOnce {
            purpose: OncePurpose::Interaction,
            value: issuance::sha256(self.nonce.as_bytes()),
            expires: self.expires,
        }
    }

    /// Lets it work now, and never again, where nothing else is written that it stands for.
    ///
    /// # Errors
    /// If it has worked before, or the store does not answer.
    pub async fn spend(&self, ports: &Ports) -> Result<(), Denial> {
        match ports.ledger.commit(vec![self.consume()]).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict) => Err(forged()),
            Err(CommitError::Unavailable) => Err(unavailable(Unavailable)),
        }
    }
}

fn request_digest(request: &Form) -> Digest {
    issuance::sha256(request.encode().as_bytes())
}
