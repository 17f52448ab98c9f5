//! What is remembered of a decision.
use crate::id::{AppId, TenantId};
use decision::{CheckId, Timestamp};
use serde::{Deserialize, Serialize};

/// One decision, as recorded. Holds no secret and no token, only their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// The decision's id: `trace_id` in Entra's error form.
    pub decision: String,
    /// What was asked: a grant type, `authorize`, `sign_in`, `consent`, `apply`.
    pub action: String,
    /// The tenant, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The calling application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<AppId>,
    /// `oid` of the user, or of the service principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<AppId>,
    /// `scp`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// `roles`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `uti` of the issued token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `uti` of the token it was got with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_token: Option<String>,
    /// The actors of the chain, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<AppId>,
    /// The check that failed; nothing means allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<CheckId>,
}

impl AuditRecord {
    /// A record of which nothing more is known yet.
    pub fn new(at: Timestamp, decision: String, action: &str) -> Self {
        Self {
            at,
            decision,
            action: action.to_owned(),
            tenant: None,
            client: None,
            subject: None,
            resource: None,
            scope: String::new(),
            roles: Vec::new(),
            token: None,
            from_token: None,
            actors: Vec::new(),
            refused: None,
        }
    }
}
