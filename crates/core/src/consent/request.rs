//! Requests for an administrator's consent (Graph's `userConsentRequest`): a user needs what only an administrator may
//! allow, and says why.
use super::Offer;
use crate::id::{AppId, ObjectId, TenantId, UserId};
use decision::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a request waits for an administrator, in seconds.
pub const WAITS: i64 = 30 * 86_400;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// An open request. A user has one at a time for an application: a new one takes the place of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequest {
    /// Its id.
    pub id: ObjectId,
    /// Where.
    pub tenant: TenantId,
    /// Who asks.
    pub user: UserId,
    /// For which application.
    pub client: AppId,
    /// For what.
    pub offer: Offer,
    /// Why, in the user's words.
    pub reason: String,
    /// When.
    pub created: Timestamp,
    /// Until when it waits.
    pub expires: Timestamp,
}

/// A reason as it is kept: in one line, and bounded.
pub(crate) fn reason(typed: &str) -> Option<String> {
    let plain: String = typed.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}
