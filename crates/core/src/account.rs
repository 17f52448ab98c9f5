//! Which of a browser's accounts a request is about: several may be signed in at once, in one tenant and in many.
//!
//! Who is settled is settled once: the pages that follow carry a ticket of that account's session, and what they post is
//! for it or for nobody ([`crate::ticket::Ticket::account`]).
use crate::authorize::Browser;
use crate::denial::Denial;
use crate::directory::{Snapshot, TenantDirectory, UserKey};
use crate::id::{SessionId, TenantId, UserId};
use crate::ledger::SessionRecord;
use crate::ports::Ports;
use crate::presence::{account, present};
use crate::sign_in::forged;
use crate::ticket::Ticket;
use crate::token::{AssertionFacts, TokenClaims};
use crate::token_endpoint::{find_tenant, unavailable};
use decision::Timestamp;
use oauth::Form;
use std::sync::Arc;

/// How many accounts one browser holds at most; the one that signed in first makes room.
pub const MOST: usize = 8;

/// What the page of accounts posts for somebody who is not on it.
const OTHER: &str = "other";

/// The account that was picked on a page of accounts, one of the browser's; `None` for somebody else. The page works once.
///
/// # Errors
/// If there is no such page or account, or it has worked before.
pub async fn taken(
    ports: &Ports,
    browser: &Browser,
    picked: &str,
    ticket: Option<Ticket>,
) -> Result<Option<Arc<SessionRecord>>, Denial> {
    let ticket = ticket.ok_or_else(forged)?;
    let session = match picked {
        OTHER => None,
        sid => {
            let sid: SessionId = sid.parse().map_err(|_| forged())?;
            let known = browser.accounts.iter().find(|account| account.id == sid);
            Some(Arc::clone(known.ok_or_else(forged)?))
        }
    };
    ticket.spend(ports).await?;
    Ok(session)
}

/// One of the browser's accounts, as people tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its session.
    pub session: SessionId,
    /// The person's name.
    pub user_name: String,
    /// Their name to sign in with.
    pub upn: String,
    /// Their own tenant.
    pub tenant_name: String,
}

/// What the page of accounts shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsRequest {
    /// The application that wants to know.
    pub client_name: String,
    /// The tenant, if it is known yet.
    pub tenant_name: Option<String>,
    /// Those that may be picked, the newest first.
    pub accounts: Vec<Account>,
    /// The hidden field.
    pub ticket: String,
}

/// An account that may be used where the request goes.
pub(crate) struct Candidate {
    session: Arc<SessionRecord>,
    shown: Account,
    /// Their name where the request goes, which for a guest is another one.
    upn_here: String,
}

/// Whom a request wants.
pub(crate) struct Wish<'a> {
    select: bool,
    login_hint: Option<&'a str>,
    session: Option<SessionId>,
    /// A tenant's domain; one that nobody has says nothing.
    home: Option<TenantId>,
    /// `id_token_hint`: the request is about its session or about nobody.
    id_token: Option<Hint>,
}

/// An ID token that somebody sent: of a session, if it is one of ours.
struct Hint {
    session: Option<SessionId>,
}

/// Who it is.
pub(crate) enum Choice {
    /// Somebody who has yet to sign in.
    Nobody,
    /// This one.
    One(Arc<SessionRecord>),
    /// One of these; the person says which.
    Several(Vec<Account>),
}

impl<'a> Wish<'a> {
    pub(crate) fn of(ports: &Ports, request: &'a Form, select: bool) -> Self {
        let snapshot = ports.directory.snapshot();
        let domain = request.value("domain_hint").and_then(|domain| snapshot.by_domain(domain));
        Self {
            select,
            login_hint: request.value("login_hint").filter(|hint| !hint.is_empty()),
            session: request.value("sid").and_then(|sid| sid.parse().ok()),
            home: domain.map(|tenant| tenant.tenant.id),
            id_token: request
                .value("id_token_hint")
                .map(|hint| Hint { session: id_token(ports, hint).and_then(|claims| claims.sid.parse().ok()) }),
        }
    }

    fn fits(&self, candidate: &Candidate) -> bool {
        let Candidate { session, shown, upn_here } = candidate;
        let named = |hint: &str| [&shown.upn, upn_here].iter().any(|upn| upn.eq_ignore_ascii_case(hint));
        self.login_hint.is_none_or(named)
            && self.session.is_none_or(|sid| session.known_as(sid))
            && self.home.is_none_or(|home| home == session.tenant)
            && self.id_token.as_ref().is_none_or(|hint| hint.session.is_some_and(|sid| session.known_as(sid)))
    }
}

/// The claims of an ID token of ours, current or not. An access token may name a session too (optional claim `sid`), and
/// whoever serves an API holds one: it is no hint.
pub(crate) fn id_token(ports: &Ports, text: &str) -> Option<Box<TokenClaims>> {
    match ports.crypto.assertion(text) {
        AssertionFacts::Verified(claims) if claims.idtyp.is_empty() => Some(claims),
        _ => None,
    }
}

/// Decides. Asked to let the person select, it does so even between one and somebody else.
pub(crate) fn choose(candidates: Vec<Candidate>, wish: &Wish<'_>) -> Choice {
    let mut fitting: Vec<Candidate> = candidates.into_iter().filter(|candidate| wish.fits(candidate)).collect();
    match fitting.len() {
        0 => Choice::Nobody,
        1 if !wish.select => fitting.pop().map_or(Choice::Nobody, |one| Choice::One(one.session)),
        _ => Choice::Several(fitting.into_iter().map(|candidate| candidate.shown).collect()),
    }
}

/// The browser's accounts that may be used in a tenant, or anywhere.
pub(crate) async fn candidates(
    ports: &Ports,
    tenant: Option<&Arc<TenantDirectory>>,
    browser: &Browser,
    now: Timestamp,
) -> Result<Vec<Candidate>, Box<Denial>> {
    let snapshot = ports.directory.snapshot();
    let mut all = Vec::new();
    for session in &browser.accounts {
        let Some(tenant) = tenant.or_else(|| snapshot.tenant(session.tenant)) else { continue };
        let Some(here) = present(ports, tenant, session, false, now).await? else { continue };
        let (home, at_home) = account(ports, &here).await?;
        all.push(Candidate {
            session: Arc::clone(session),
            shown: Account {
                session: session.id,
                user_name: at_home.user.display_name.clone(),
                upn: at_home.user.user_principal_name.clone(),
                tenant_name: home.tenant.display_name.clone(),
            },
            upn_here: here.user.user.user_principal_name.clone(),
        });
    }
    Ok(all)
}

/// Every account of the browser, by name: for signing out, which asks nothing of them.
///
/// # Errors
/// If the store does not answer.
pub async fn all(ports: &Ports, browser: &Browser) -> Result<Vec<Account>, Denial> {
    let snapshot = ports.directory.snapshot();
    let mut all = Vec::new();
    for session in &browser.accounts {
        all.push(of(ports, &snapshot, session).await?);
    }
    Ok(all)
}

async fn of(ports: &Ports, snapshot: &Snapshot, session: &SessionRecord) -> Result<Account, Denial> {
    let user = user(ports, session.tenant, session.user).await.map_err(|denial| *denial)?;
    // Whoever was deleted meanwhile is signed in still, and may want to leave.
    let name = user.clone().map_or_else(|| session.user.to_string(), |(_, name)| name);
    Ok(Account {
        session: session.id,
        user_name: name,
        upn: user.map_or_else(|| session.user.to_string(), |(upn, _)| upn),
        tenant_name: snapshot.tenant(session.tenant).map(|it| it.tenant.display_name.clone()).unwrap_or_default(),
    })
}

async fn user(ports: &Ports, tenant: TenantId, user: UserId) -> Result<Option<(String, String)>, Box<Denial>> {
    let record = ports.directory.user(tenant, UserKey::Id(user)).await.map_err(|e| Box::new(unavailable(e)))?;
    Ok(record.map(|record| (record.user.user_principal_name.clone(), record.user.display_name.clone())))
}

/// The name that a session's account signs in with.
pub(crate) async fn name(ports: &Ports, session: &SessionRecord) -> Result<Option<String>, Box<Denial>> {
    Ok(user(ports, session.tenant, session.user).await?.map(|(upn, _)| upn))
}

/// Settles who looks at a page of our own, of this tenant: the only one who may, or whom they pick among these.
///
/// # Errors
/// If the store does not answer.
pub async fn at_page(ports: &Ports, segment: &str, browser: Browser) -> Result<(Browser, Vec<Account>), Box<Denial>> {
    let snapshot = ports.directory.snapshot();
    let Some(tenant) = find_tenant(&snapshot, segment).filter(|_| browser.session.is_none()) else {
        return Ok((browser, Vec::new()));
    };
    let candidates = candidates(ports, Some(tenant), &browser, ports.now()).await?;
    let wish = Wish { select: false, login_hint: None, session: None, home: None, id_token: None };
    Ok(match choose(candidates, &wish) {
        Choice::Nobody => (browser, Vec::new()),
        Choice::One(session) => (Browser { session: Some(session), ..browser }, Vec::new()),
        Choice::Several(accounts) => (browser, accounts),
    })
}
