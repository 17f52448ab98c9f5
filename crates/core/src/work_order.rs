//! Work orders: delegation for work that outlives the user's request.
//!
//! During a user's request an API trades the user's token for an opaque handle, bound to the user, to the workers that may
//! redeem it, to APIs and scopes, to a purpose, a number of redemptions and an end. The handle may stand in a queue: without
//! a worker's own credential it is worth nothing. Each redemption is decided afresh, as if the user had asked just now
//! ([`crate::grant::redemption`]); where that needs the user themselves, the order is parked until they come by.
pub mod page;
pub mod presence;
mod terms;

pub use terms::{PARAMETERS, Terms};
pub(crate) use terms::{content, no_actor_token};

use crate::denial::Denial;
use crate::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use crate::ledger::Proven;
use crate::model::Digest;
use decision::{CheckId, Timestamp};
use oauth::Scopes;
use serde::{Deserialize, Serialize};

/// How many orders may be outstanding for one user of a tenant, and for all of them.
pub const MOST: Outstanding = Outstanding { of_user: 1_000, of_tenant: 2_000_000 };
/// The longest life of an order, in seconds. A revoked authorization is remembered for as long.
pub const LONGEST: i64 = 30 * 86_400;

/// Who may redeem an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The application.
    pub client: AppId,
    /// `x5t#S256` of the only certificate it may prove itself with; nothing stands for any credential of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
}

/// What an order allows at one API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The API.
    pub resource: AppId,
    /// At most these scopes, in short words.
    pub scopes: Scopes,
}

/// A work order, found by the digest of its handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrderRecord {
    /// Its id: an authorization of its own, so that revoking it ends what was issued on it too.
    pub id: FamilyId,
    /// The tenant.
    pub tenant: TenantId,
    /// The API that made it.
    pub issuer: AppId,
    /// The user.
    pub user: UserId,
    /// The session that stands behind it.
    pub session: SessionId,
    /// What the user had proven.
    pub proven: Proven,
    /// Who acted before any worker, nearest first; the first is the issuer.
    pub actors: Vec<AppId>,
    /// The authorizations it rests on beside itself, nearest first.
    pub grants: Vec<FamilyId>,
    /// Who may redeem it.
    pub workers: Vec<Worker>,
    /// For what.
    pub allowed: Vec<Allowance>,
    /// Why, for people.
    pub purpose: String,
    /// SHA-256 of the work's description, if the order is for that work alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// How often it may be redeemed.
    pub redemptions: u32,
    /// When it was made.
    pub issued: Timestamp,
    /// Until when it works.
    pub expires: Timestamp,
    /// How often it was redeemed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub redeemed: u32,
    /// Why it waits for the user, and since when.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parked: Option<Parked>,
    /// Whether it was revoked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revoked: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An order that waits for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The check that only the user can mend.
    pub check: CheckId,
    /// When it was last refused for it.
    pub since: Timestamp,
}

/// How many orders are outstanding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    /// Of one user.
    pub of_user: u64,
    /// Of all users of the tenant.
    pub of_tenant: u64,
}

impl WorkOrderRecord {
    /// Who acted before this client, if it redeems: the issuer's own worker is the issuer.
    pub(crate) fn before(&self, client: AppId) -> Vec<AppId> {
        self.actors.iter().skip(usize::from(self.issuer == client)).copied().collect()
    }

    /// What it allows at an API.
    pub(crate) fn at(&self, resource: AppId) -> Option<&Scopes> {
        self.allowed.iter().find(|allowance| allowance.resource == resource).map(|allowance| &allowance.scopes)
    }

    /// Its path among the objects that audit records name.
    pub(crate) fn path(&self) -> String {
        format!("workOrders/{}", self.id)
    }
}

/// Whether the user can mend a refusal by being there: then an order waits instead of dying.
pub(crate) fn needs_presence(denial: &Denial) -> bool {
    matches!(
        denial.id(),
        CheckId::SessionAlive
            | CheckId::SignInRecent
            | CheckId::MfaSatisfied
            | CheckId::MfaEnrolled
            | CheckId::MfaCurrent
            | CheckId::ContextSatisfied
    )
}

/// Where a user gives their presence to orders that wait for it.
pub(crate) fn address(host: &str, tenant: TenantId) -> String {
    format!("{host}/{tenant}/work-orders")
}

#[cfg(test)]
mod tests {
    use super::needs_presence;
    use crate::denial::Denial;
    use decision::CheckId;

    #[test]
    fn an_order_waits_for_what_its_user_mends_by_being_there_and_for_nothing_else() {
        let waits = |check| needs_presence(&Denial::new(check, "", ""));
        for check in [
            CheckId::SessionAlive,
            CheckId::SignInRecent,
            CheckId::MfaSatisfied,
            CheckId::MfaEnrolled,
            CheckId::MfaCurrent,
            CheckId::ContextSatisfied,
        ] {
            assert!(waits(check), "{check:?}");
        }
        for check in
            [CheckId::ConsentGranted, CheckId::AccessNotBlocked, CheckId::UserEnabled, CheckId::WorkOrderContent]
        {
            assert!(!waits(check), "{check:?}");
        }
    }
}
