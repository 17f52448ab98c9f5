//! What is remembered of a decision.
use crate::id::{AppId, FamilyId, ObjectId, SessionId, TenantId};
use crate::trace::{Carried, TraceId};
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
    /// What the application proved itself with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
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
    /// The session that all of it stems from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The authorizations that it rests on, nearest first: each names a family of refresh tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<FamilyId>,
    /// The trace that the request said it was part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// Of an app-only request: how the application is known to carry a user in that trace, whom it did not pass on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_user: Option<Carried>,
    /// Of an app-only request: why the application says that it calls this API as itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_identity: Option<String>,
    /// Why, in the words of whoever asked for a work order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The object that was to be changed, by its path in the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Its properties that changed, by Graph's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The check that failed; nothing means allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<CheckId>,
}

/// A credential that proved an application: which one, and nothing of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A secret.
    Secret {
        /// Its id in the registration.
        key_id: ObjectId,
    },
    /// A certificate.
    Certificate {
        /// `x5t#S256`.
        thumbprint: String,
        /// Its id in the registration; none where an authority vouched for its subject.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<ObjectId>,
    },
    /// A token of another issuer.
    Federated {
        /// The name of the federated identity credential.
        name: String,
        /// `iss`.
        issuer: String,
        /// `sub`.
        subject: String,
    },
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
            credential: None,
            subject: None,
            resource: None,
            scope: String::new(),
            roles: Vec::new(),
            token: None,
            from_token: None,
            actors: Vec::new(),
            session: None,
            grants: Vec::new(),
            trace: None,
            dropped_user: None,
            own_identity: None,
            purpose: None,
            object: None,
            changed: Vec::new(),
            refused: None,
        }
    }
}
