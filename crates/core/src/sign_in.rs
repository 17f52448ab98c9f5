//! Signing in with a password: the root of every chain.
use crate::admission;
use crate::audit::AuditRecord;
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserKey, UserRecord};
use crate::id::{AppId, SessionId};
use crate::issuance;
use crate::ledger::{Amendment, CommitError, SessionRecord, Write};
use crate::limits::{Address, Attempt, Caller, Wait};
use crate::model::Digest;
use crate::ports::Ports;
use crate::ticket::Ticket;
use crate::token_endpoint::{unavailable, user_facts};
use decision::{CheckId, Timestamp};
use oauth::Secret;
use std::sync::Arc;

/// A fresh session, and the text of its cookie.
pub struct SignedIn {
    /// The session.
    pub session: Arc<SessionRecord>,
    /// The cookie's text; only its digest is kept.
    pub cookie: Secret,
}

/// What a person typed.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// User principal name.
    pub username: &'a str,
    /// Password.
    pub password: &'a str,
    /// Where they are.
    pub address: Option<std::net::IpAddr>,
    /// The cookie of their browser.
    pub browser: &'a str,
    /// Who is signed in there already.
    pub accounts: &'a [Arc<SessionRecord>],
}

/// Counts a sign-in before it is checked: for the name, whether or not there is such a user, and for the address. What
/// a guesser does elsewhere is no reason for the person to wait: where they signed in before, in this browser or at this
/// address, and anywhere as long as the guesser has few addresses. The name's own tenant counts, not the page's: else each
/// tenant's page would grant as many guesses again.
fn attempt<'a>(
    ports: &'a Ports,
    home: Option<&TenantDirectory>,
    typed: Credentials<'_>,
    now: Timestamp,
) -> Result<Attempt<'a>, Denial> {
    let tenant = home.map(|home| home.tenant.id).unwrap_or_default();
    let [browser, place] = known(ports, typed);
    let callers = if ports.limits.knows(browser) {
        vec![Caller::KnownBrowser(browser)]
    } else {
        let name = ports.crypto.keyed_digest(&format!("sign-in name\0{}", typed.username.to_lowercase()));
        let address = typed.address.into();
        let everywhere = (!ports.limits.knows(place)).then_some(Caller::User(tenant, name));
        let here = [Caller::UserFrom(tenant, name, address), Caller::SignInFrom(address)];
        here.into_iter().chain(everywhere).collect()
    };
    let wait = |wait: Wait| wait.denial("wrong attempts", "another attempt at once");
    ports.limits.attempt(&callers, now).map_err(wait)
}

/// A user in their browser, and at their address.
fn known(ports: &Ports, typed: Credentials<'_>) -> [Digest; 2] {
    let name = typed.username.to_lowercase();
    let address = Address::from(typed.address);
    [format!("known browser\0{}\0{name}", typed.browser), format!("known address\0{address}\0{name}")]
        .map(|text| ports.crypto.keyed_digest(&text))
}

/// Signs a user in. Unknown users and wrong passwords get one answer, and take one time.
///
/// # Errors
/// [`CheckId::UserPassword`] for a wrong name or password; [`CheckId::UserEnabled`] only to one who knows the password;
/// [`CheckId::AttemptsLimited`] after too many wrong ones, and nothing is compared then.
pub async fn sign_in(
    ports: &Ports,
    tenant: Option<&TenantDirectory>,
    client: impl Into<Option<AppId>>,
    typed: Credentials<'_>,
    ticket: &Ticket,
    now: Timestamp,
) -> Result<SignedIn, Denial> {
    let client = client.into();
    let snapshot = ports.directory.snapshot();
    let of_domain =
        typed.username.rsplit_once('@').and_then(|(_, domain)| snapshot.by_domain(domain)).map(AsRef::as_ref);
    // Who comes from another tenant signs in there, and is a guest here or nobody.
    let home = of_domain.or(tenant).filter(|tenant| tenant.tenant.enabled);
    let attempt = attempt(ports, home, typed, now)?;
    let record = match home {
        Some(home) => {
            let key = UserKey::PrincipalName(typed.username.to_lowercase());
            ports.directory.user(home.tenant.id, key).await.map_err(unavailable)?
        }
        None => None,
    };
    let hash = record.as_ref().filter(|record| record.user.home.is_none());
    let hash = hash.and_then(|record| record.user.password_hash.as_deref());
    let Some(matches) = ports.crypto.password_matches(typed.password, hash).await else {
        return Err(Denial::new(CheckId::SignInCapacity, "room for one more sign-in", "none"));
    };
    let decision = issuance::random_uuid(ports).to_string();
    let audit = |record: Option<&UserRecord>, refused: Option<CheckId>| {
        Write::Audit(Box::new(AuditRecord {
            tenant: home.map(|home| home.tenant.id),
            client,
            subject: record.map(|record| record.user.id.to_string()),
            refused,
            ..AuditRecord::new(now, decision.clone(), "sign_in")
        }))
    };
    let (Some(home), Some(record), true) = (home, record.as_deref(), matches) else {
        // Not recorded: strangers must not be able to fill the disk.
        return Err(Denial::new(CheckId::UserPassword, "the name and password of a user", "another name or password"));
    };
    if let Err(denial) = admission::user(Some(&user_facts(record))) {
        let refused = audit(Some(record), Some(denial.id()));
        ports.ledger.commit(vec![refused]).await.map_err(|_| unavailable(crate::ledger::Unavailable))?;
        return Err(denial);
    }
    let cookie = issuance::secret_text(ports);
    // The same account again: the clients of its earlier session are told when this one ends, and its cookie is worth nothing
    // from now on, wherever a copy of it is. One without any stands behind nothing, and is over.
    let earlier = typed.accounts.iter().find(|known| (known.tenant, known.user) == (home.tenant.id, record.user.id));
    let session = SessionRecord {
        id: SessionId(issuance::random_uuid(ports)),
        cookie: ports.crypto.keyed_digest(cookie.expose()),
        tenant: home.tenant.id,
        user: record.user.id,
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        mfa_time: None,
        address: typed.address,
        expires: now.plus(home.tenant.settings.session_seconds),
        revoked: false,
        clients: earlier.map(|earlier| earlier.clients.clone()).unwrap_or_default(),
    };
    let mut writes = vec![ticket.consume(), Write::PutSession(session.clone()), audit(Some(record), None)];
    writes.extend(earlier.map(|earlier| {
        if earlier.clients.is_empty() {
            return Write::RevokeSession(earlier.id);
        }
        let unknown = Some(ports.crypto.keyed_digest(issuance::secret_text(ports).expose()));
        Write::AmendSession(earlier.id, Amendment { cookie: unknown, ..Amendment::default() })
    }));
    match ports.ledger.commit(writes).await {
        Ok(()) => {
            attempt.succeeded();
            for known in known(ports, typed) {
                ports.limits.remember(known, now);
            }
            Ok(SignedIn { session: Arc::new(session), cookie })
        }
        Err(CommitError::Conflict) => Err(forged()),
        Err(CommitError::Unavailable) => Err(unavailable(crate::ledger::Unavailable)),
    }
}

/// A posted page that was not shown to this browser, or was posted before.
pub fn forged() -> Denial {
    Denial::new(CheckId::InteractionForged, "a page that this browser was shown, posted once", "another one")
}
