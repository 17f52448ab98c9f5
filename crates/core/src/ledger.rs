//! What grants write: records of codes, refresh tokens and sessions, and the conditional writes over them.
use crate::audit::AuditRecord;
use crate::consent::ApprovalRequest;
use crate::endpoint::EndpointVersion;
use crate::estate::Item;
use crate::id::{AppId, FamilyId, ObjectId, PrincipalId, SessionId, TenantId, UserId};
use crate::model::{Digest, PermissionGrant, RoleAssignment, ServicePrincipal};
use crate::second_factor::SecondFactor;
use crate::trace::UserInTrace;
use crate::work_order::{Outstanding, Parked, WorkOrderRecord};
use decision::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use thiserror::Error;

/// How many clients a session remembers; the one that it signed in to first makes room.
const CLIENTS: usize = 64;

/// How and when a user proved who they are: the root of every chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// `sid`.
    pub id: SessionId,
    /// Digest of the browser's cookie.
    pub cookie: Digest,
    /// The tenant signed in to.
    pub tenant: TenantId,
    /// Who signed in.
    pub user: UserId,
    /// When they last proved it.
    pub auth_time: Timestamp,
    /// How (RFC 8176): `pwd`, `mfa`, ...
    pub amr: Vec<String>,
    /// When they last showed a second factor.
    #[serde(default)]
    pub mfa_time: Option<Timestamp>,
    /// Where their browser was last seen.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Nothing got with this session outlives this moment.
    pub expires: Timestamp,
    /// Whether it was ended.
    pub revoked: bool,
    /// Where it signed the user in, the newest last: who is told when it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<SignedInTo>,
}

/// A client that a session signed in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInTo {
    /// In which tenant: `iss` names it.
    pub tenant: TenantId,
    /// Which.
    pub client: AppId,
    /// `sid`, as the client knows it: when an account signs in again at a browser, what it had is kept.
    pub session: SessionId,
    /// Of which endpoint: `iss` names that too.
    pub version: EndpointVersion,
}

/// What the user had proven when something was issued to a client. What they prove later is not for holders of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// When they last showed a second factor.
    pub mfa_time: Option<Timestamp>,
}

/// A change of a living session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// A new cookie: what was known of the old one is worth nothing after the user has proved more.
    pub cookie: Option<Digest>,
    /// When a second factor was shown, and the methods of the sign-in with it.
    pub second_factor: Option<(Timestamp, Vec<String>)>,
    /// Where the browser is now.
    pub address: Option<IpAddr>,
    /// Where it signed in.
    pub client: Option<SignedInTo>,
}

impl SessionRecord {
    /// The session as amended.
    #[must_use]
    pub fn amended(mut self, amendment: Amendment) -> Self {
        self.cookie = amendment.cookie.unwrap_or(self.cookie);
        if let Some((at, amr)) = amendment.second_factor {
            (self.mfa_time, self.amr) = (Some(at), amr);
        }
        self.address = amendment.address.or(self.address);
        if let Some(client) = amendment.client.filter(|client| !self.clients.contains(client)) {
            if self.clients.len() >= CLIENTS {
                self.clients.remove(0);
            }
            self.clients.push(client);
        }
        self
    }

    /// Whether a client knows it by this `sid`.
    pub fn known_as(&self, sid: SessionId) -> bool {
        self.id == sid || self.clients.iter().any(|client| client.session == sid)
    }

    /// What it proves now.
    pub fn proven(&self) -> Proven {
        Proven { amr: self.amr.clone(), mfa_time: self.mfa_time }
    }
}

/// An authorization code, found by the digest of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// The tenant it was issued in.
    pub tenant: TenantId,
    /// The client it was issued to.
    pub client: AppId,
    /// The user.
    pub user: UserId,
    /// The session that stands behind it.
    pub session: SessionId,
    /// The refresh tokens that will stem from it.
    pub family: FamilyId,
    /// `redirect_uri` of the request, as sent.
    pub redirect_uri: String,
    /// `code_challenge` (S256), if one was sent.
    pub challenge: Option<String>,
    /// `scope` of the request, as sent.
    pub scope: String,
    /// `nonce` of the request.
    pub nonce: Option<String>,
    /// `claims` of the request, with its `acr_values`.
    pub claims: Option<String>,
    /// What the user had proven.
    #[serde(default)]
    pub proven: Option<Proven>,
    /// Until when it works.
    pub expires: Timestamp,
    /// Redeemed, or killed by a wrong redemption.
    pub consumed: bool,
    /// Whether its family was revoked, before anything stems from it.
    #[serde(default)]
    pub revoked: bool,
}

/// A refresh token, found by the digest of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRecord {
    /// The tenant.
    pub tenant: TenantId,
    /// The client it is bound to.
    pub client: AppId,
    /// The user.
    pub user: UserId,
    /// The root session.
    pub session: SessionId,
    /// All tokens of one authorization: revoked together.
    pub family: FamilyId,
    /// The delegated scopes last granted, qualified by resource, and the OpenID Connect scopes.
    pub scope: String,
    /// The actors that stood before this client in the chain, nearest first (for tokens from On-Behalf-Of).
    pub actors: Vec<AppId>,
    /// The authorizations that stood before this one in the chain, nearest first: it dies with each of them.
    #[serde(default)]
    pub grants: Vec<FamilyId>,
    /// What the user had proven.
    #[serde(default)]
    pub proven: Option<Proven>,
    /// Whether the client had no credential when it got this token, and so needs none to use it.
    #[serde(default)]
    pub public: bool,
    /// Whether it went to a single-page application: then it works in its pages alone, and its successors end when it does.
    #[serde(default)]
    pub spa: bool,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it works.
    pub expires: Timestamp,
    /// When it was rotated, if it was.
    pub rotated: Option<Timestamp>,
    /// Whether its family was revoked.
    pub revoked: bool,
}

/// A device that waits for a person (RFC 8628), found by the digest of its code or of the code that it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The tenant: until the person has signed in, one where the client stands.
    pub tenant: TenantId,
    /// The tenant segment of the URL, as requested: it decides who may sign in.
    pub segment: String,
    /// The client it was issued to.
    pub client: AppId,
    /// Digest of the code that the person types.
    pub user_code: Digest,
    /// `scope` of the request, as sent.
    pub scope: String,
    /// `claims` of the request.
    pub claims: Option<String>,
    /// Where the device asked from.
    pub address: Option<std::net::IpAddr>,
    /// When it asked.
    pub issued: Timestamp,
    /// Until when it works.
    pub expires: Timestamp,
    /// How far it has come.
    pub stage: DeviceStage,
}

/// How far a device has come. Each stage has one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceStage {
    /// Nobody has decided yet.
    Pending,
    /// Somebody approved it.
    Approved(Approval),
    /// Somebody declined it.
    Declined,
    /// It got its tokens.
    Redeemed(Approval),
}

/// Who approved a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The user.
    pub user: UserId,
    /// The session that stands behind it.
    pub session: SessionId,
    /// What they had proven then.
    pub proven: Option<Proven>,
    /// What will stem from it.
    pub family: FamilyId,
}

impl DeviceRecord {
    /// Who approved it, if somebody did.
    pub const fn approval(&self) -> Option<&Approval> {
        match &self.stage {
            DeviceStage::Approved(approval) | DeviceStage::Redeemed(approval) => Some(approval),
            DeviceStage::Pending | DeviceStage::Declined => None,
        }
    }
}

impl DeviceStage {
    /// Its place in the order, as the store compares it.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Approved(_) => 1,
            Self::Declined => 2,
            Self::Redeemed(_) => 3,
        }
    }

    /// The place of the stage before it.
    pub const fn before(&self) -> u8 {
        match self {
            Self::Pending | Self::Approved(_) | Self::Declined => 0,
            Self::Redeemed(_) => 1,
        }
    }
}

/// One write. Those with a condition fail the whole commit of their request, and nobody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new code.
    InsertCode(Digest, CodeRecord),
    /// Condition: not yet consumed. Consumes it.
    ConsumeCode(Digest),
    /// Consumes it, whatever its state: a code presented by the wrong client is dead.
    KillCode(Digest),
    /// A new refresh token. Condition: its family is not revoked.
    InsertRefresh(Digest, RefreshRecord),
    /// Condition: not rotated and not revoked. Marks it rotated at the given moment.
    RotateRefresh(Digest, Timestamp),
    /// Revokes every refresh token of the family, those yet to come too.
    RevokeFamily(FamilyId),
    /// A device that begins to wait. Condition: no other one shows the same code.
    InsertDevice(Digest, Box<DeviceRecord>),
    /// Condition: the device is at the stage before the record's.
    AdvanceDevice(Digest, Box<DeviceRecord>),
    /// A new work order. Condition: fewer are outstanding, of the user and of the tenant, than this; its authorizations stand.
    InsertWorkOrder(Digest, Box<WorkOrderRecord>, Outstanding),
    /// Condition: the work order is not revoked, and was redeemed less often than it allows. Counts once more, and ends its
    /// waiting.
    RedeemWorkOrder(Digest),
    /// A work order waits for its user.
    ParkWorkOrder(Digest, Parked),
    /// Condition: the work order is not revoked and stems from the given session. It stems from the record's now, and its
    /// waiting ends.
    RootWorkOrder(Digest, SessionId, Box<WorkOrderRecord>),
    /// Revokes a work order, with all that was issued on it.
    RevokeWorkOrder(FamilyId),
    /// A new or changed session.
    PutSession(SessionRecord),
    /// Condition: the session lives. Changes it.
    AmendSession(SessionId, Amendment),
    /// Ends a session.
    RevokeSession(SessionId),
    /// Condition: the version before it is the newest. A user's second factor: set up, used, or guessed at.
    PutSecondFactor(SecondFactor),
    /// A client carries a user in a trace, again or for the first time.
    CarryUser(UserInTrace),
    /// Condition: this value was never consumed for this purpose. Forgotten after its expiry.
    ConsumeOnce {
        /// What kind of value.
        purpose: OncePurpose,
        /// The value's digest.
        value: Digest,
        /// Until when it must be remembered.
        expires: Timestamp,
    },
    /// A user's consent, added to what they consented to before.
    AddGrant(PermissionGrant),
    /// A service principal, if there is none of its id: an existing one stays as it is, disabled if it is disabled.
    Provision(ServicePrincipal),
    /// An app role for someone.
    Assign(RoleAssignment),
    /// A user takes back every consent of theirs to a client.
    Withdraw {
        /// Where.
        tenant: TenantId,
        /// From whom.
        client: PrincipalId,
        /// Who.
        user: UserId,
        /// When: refresh tokens from until then are dead.
        at: Timestamp,
    },
    /// Condition: the object of the directory is exactly this. It becomes the other, or ends.
    Change(Box<Item>, Option<Box<Item>>),
    /// Condition: no registration has changed since this change. For names that must be unique among all of them.
    RegistrationsAsOf(u64),
    /// Condition: there is such a consent. An administrator ends it; of a user's it is remembered, as with [`Self::Withdraw`].
    EndGrant(GrantKey, Timestamp),
    /// Condition: the user has one. Takes a second factor away: whatever was shown with it is for the caller to end.
    RemoveSecondFactor(TenantId, UserId),
    /// A user asks for an administrator's consent, again or for the first time.
    RequestApproval(Box<ApprovalRequest>),
    /// Condition: this request is still open. Closes it.
    CloseRequest(TenantId, ObjectId),
    /// A subscriber of an application in a tenant was told every cut-off at this moment.
    Heard(TenantId, AppId, Timestamp),
    /// The record of what was decided. In the same commit as what it records.
    Audit(Box<AuditRecord>),
}

/// What tells a consent from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantKey {
    /// The tenant.
    pub tenant: TenantId,
    /// Who may act.
    pub client: PrincipalId,
    /// Where.
    pub resource: PrincipalId,
    /// For whom; nobody stands for everyone.
    pub user: Option<UserId>,
}

/// Kinds of values that work once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OncePurpose {
    /// `jti` of a client assertion.
    ClientAssertion,
    /// The nonce of a posted page.
    Interaction,
}

/// Why a commit did not happen.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// A condition did not hold any more: read again and decide again.
    #[error("the state changed in between")]
    Conflict,
    /// The store cannot write now: nothing was written.
    #[error("the store is unavailable")]
    Unavailable,
}

/// The store cannot be read now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the store is unavailable")]
pub struct Unavailable;
