//! Who is at the browser: the session's account, in the tenant whose page they look at.
use crate::admission;
use crate::authorize::Browser;
use crate::denial::Denial;
use crate::directory::{TenantDirectory, UserKey, UserRecord};
use crate::facts::{Facts, SessionFacts, Target, UserFacts};
use crate::ledger::SessionRecord;
use crate::model::HomeAccount;
use crate::ports::Ports;
use crate::token_endpoint::{blank, find_tenant, is_alias, person, unavailable};
use decision::{CheckId, Timestamp};
use std::sync::Arc;

/// How long a browser's session signs in to further applications without asking, in seconds.
pub(crate) const SSO_SECONDS: i64 = 86_400;

/// Who is signed in, and where.
pub(crate) struct Present {
    pub(crate) session: Arc<SessionRecord>,
    pub(crate) tenant: Arc<TenantDirectory>,
    pub(crate) user: Arc<UserRecord>,
    pub(crate) person: UserFacts,
}

/// The account of a session in a tenant; nothing if somebody must sign in (again). In another tenant than their own people
/// are whom that tenant invited: guests, or nobody.
///
/// # Errors
/// [`CheckId::UserGuest`] for who has just signed in (`fresh`) and is nobody here: signing in again would not mend it.
pub(crate) async fn present(
    ports: &Ports,
    tenant: &Arc<TenantDirectory>,
    session: &Arc<SessionRecord>,
    fresh: bool,
    now: Timestamp,
) -> Result<Option<Present>, Box<Denial>> {
    let guest = tenant.tenant.id != session.tenant;
    let key = if guest {
        UserKey::Home(HomeAccount { tenant: session.tenant, user: session.user })
    } else {
        UserKey::Id(session.user)
    };
    let user = ports.directory.user(tenant.tenant.id, key).await.map_err(|e| Box::new(unavailable(e)))?;
    let Some(user) = user else {
        if guest && fresh {
            let expected = format!("a user or guest of the tenant `{}`", tenant.tenant.id);
            return Err(Box::new(Denial::new(CheckId::UserGuest, expected, format!("one of `{}`", session.tenant))));
        }
        return Ok(None);
    };
    let person = person(ports, &user).await.map_err(|e| Box::new(unavailable(e)))?;
    let stands =
        admission::signed_in(Some(&person), Some(&SessionFacts::of(session, Vec::new(), Vec::new())), now).is_ok();
    let (session, tenant) = (Arc::clone(session), Arc::clone(tenant));
    // What does not stand signs in again instead of being refused.
    Ok(stands.then_some(Present { session, tenant, user, person }))
}

/// The same for a page of our own, which a session older than a day does not open.
pub(crate) async fn at_page(
    ports: &Ports,
    tenant: &Arc<TenantDirectory>,
    browser: &Browser,
    now: Timestamp,
) -> Result<Option<Present>, Box<Denial>> {
    let Some(session) = &browser.session else { return Ok(None) };
    if now.since(session.auth_time) > SSO_SECONDS {
        return Ok(None);
    }
    present(ports, tenant, session, browser.fresh, now).await
}

/// The tenant of a page of our own. An alias would leave open whose page it is.
pub(crate) fn own_tenant(ports: &Ports, segment: &str) -> Result<Arc<TenantDirectory>, Box<Denial>> {
    if is_alias(segment) {
        let expected = "the tenant's id or a domain of it";
        return Err(Box::new(Denial::new(CheckId::TenantNamed, expected, "an alias")));
    }
    let snapshot = ports.directory.snapshot();
    find_tenant(&snapshot, segment).filter(|tenant| tenant.tenant.enabled).cloned().ok_or_else(|| {
        let found = format!("`{}`", admission::short(segment));
        Box::new(Denial::new(CheckId::TenantKnown, "the id or a domain of a tenant", found))
    })
}

/// Whoever decides for everyone is an administrator of this tenant, signed in as strongly as its policies ask.
pub(crate) fn administrator(
    ports: &Ports,
    present: &Present,
    browser: &Browser,
    now: Timestamp,
) -> Result<(), Box<Denial>> {
    let tenant = &present.tenant;
    let mut facts = Facts {
        target: Target::Authority,
        user: Some(present.person.clone()),
        session: Some(SessionFacts::of(&present.session, Vec::new(), Vec::new())),
        ..blank(ports, &tenant.tenant.id.to_string(), Some(tenant), "", None)
    };
    crate::conditional_access::gather(tenant, &mut facts, browser.address);
    admission::reaches(&facts, now)?;
    if present.user.user.is_tenant_admin {
        return Ok(());
    }
    let expected = format!("an administrator of {}", tenant.tenant.display_name);
    let denial = Denial::new(CheckId::ConsentAdmin, expected, "a user who is none");
    Err(Box::new(denial.fix("sign out, and sign in as an administrator")))
}

/// The account that signed in, and its tenant: of a guest, those at home.
pub(crate) async fn account(
    ports: &Ports,
    present: &Present,
) -> Result<(Arc<TenantDirectory>, Arc<UserRecord>), Box<Denial>> {
    let session = &present.session;
    if present.tenant.tenant.id == session.tenant {
        return Ok((Arc::clone(&present.tenant), Arc::clone(&present.user)));
    }
    let user = ports.directory.user(session.tenant, UserKey::Id(session.user)).await;
    let user = user.map_err(|e| Box::new(unavailable(e)))?;
    let snapshot = ports.directory.snapshot();
    snapshot.tenant(session.tenant).cloned().zip(user).ok_or_else(|| {
        let denial = Denial::new(CheckId::UserKnown, "an account at home", "one that does not exist any more");
        Box::new(denial)
    })
}
