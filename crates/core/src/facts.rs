//! Everything that a decision reads: one serialisable value, gathered before anything is judged.
//!
//! The same value feeds the decision, its explanation, the recorded decision and what-if.
use crate::chain::Chain;
use crate::directory::TenantDirectory;
use crate::endpoint::EndpointVersion;
use crate::id::{AppId, FamilyId, GroupId, ObjectId, PrincipalId, TenantId, UserId};
use crate::ledger::{CodeRecord, DeviceRecord, Proven, RefreshRecord, SessionRecord};
use crate::model::{
    ClaimSet, ClientAppType, Digest, DirectoryRole, GroupMembershipClaims, HomeAccount, Policy, Profile, TenantSettings,
};
use crate::token::{AssertionFacts, ClientAssertionFacts, FederatedFacts, TokenClaims};
use crate::trace::{Carried, TraceId};
use crate::work_order::{Outstanding, Terms, WorkOrderRecord};
use crate::workload::FederatedIdentityCredential;
use decision::Timestamp;
use oauth::{ClaimsRequest, Scopes};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// All that one request's decision reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The authority's address.
    pub host: String,
    /// Which version of the endpoint was asked.
    pub version: EndpointVersion,
    /// The tenant segment of the URL, as requested.
    pub tenant_requested: String,
    /// The tenant, if there is one by that name.
    pub tenant: Option<TenantFacts>,
    /// `client_id`, as sent.
    pub client_requested: String,
    /// The client, if it stands in the tenant.
    pub client: Option<ClientFacts>,
    /// What the client proved.
    pub authentication: AuthenticationFacts,
    /// Whether a page of another origin asks: then it is a registered single-page application's, without a credential.
    #[serde(default)]
    pub cross_origin: bool,
    /// What the grant presented.
    pub proof: ProofFacts,
    /// OpenID Connect scopes asked for.
    pub oidc: Scopes,
    /// What is asked for.
    pub target: Target,
    /// The user, if the proof names one that exists.
    pub user: Option<UserFacts>,
    /// The chain, with the session's state now; `None` for app-only requests and where the session is unknown.
    pub session: Option<SessionFacts>,
    /// Conditional-access policies of the tenant that could bind: those that cover the resource or are named by `claims`,
    /// and those that define authentication contexts.
    pub policies: Vec<Policy>,
    /// Where the request comes from, and by what kind of client.
    pub access: AccessFacts,
    /// `claims`.
    pub claims: ClaimsRequest,
    /// `client_info=1`.
    pub client_info: bool,
    /// Spread of lifetimes: 0 ..= 1800 seconds, drawn at random.
    pub jitter: i64,
    /// How often the client has asked for the same thing within a minute, this time included; 0 where that is not counted.
    #[serde(default)]
    pub times: u32,
    /// The newest change that all of this contains: tokens say so, and changes after it can end them.
    #[serde(default)]
    pub view: u64,
    /// The trace that the request says it is part of.
    #[serde(default)]
    pub trace: Option<TraceId>,
    /// Of an app-only request: how the client is known to carry a user in that trace.
    #[serde(default)]
    pub carried: Vec<Carried>,
}

impl Facts {
    /// Whether the client or the resource follows the native profile: then nothing outlives the assertion it was got with.
    pub(crate) fn native(&self) -> bool {
        let resource = matches!(&self.target, Target::Resource(resource) if resource.shape.profile == Profile::Native);
        resource || self.client.as_ref().is_some_and(|client| client.profile == Profile::Native)
    }
}

/// Where a request comes from, as conditional access asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessFacts {
    /// The kinds of the client that the chain began with.
    pub client_app_types: Vec<ClientAppType>,
    /// The user's address, if it is known.
    pub address: Option<IpAddr>,
    /// Named locations that hold the address.
    pub locations: Vec<ObjectId>,
    /// Whether one of them is trusted.
    pub trusted: bool,
}

/// The tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantFacts {
    /// `tid`.
    pub id: TenantId,
    /// Whether it issues anything.
    pub enabled: bool,
    /// Its domains: names it may be called by in URLs.
    pub domains: Vec<String>,
    /// What its administrators decided.
    pub settings: TenantSettings,
}

/// The calling application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFacts {
    /// Client id.
    pub app_id: AppId,
    /// Its service principal here.
    pub principal: PrincipalId,
    /// Shown to people.
    pub display_name: String,
    /// Whether its service principal is enabled.
    pub enabled: bool,
    /// Its dialect.
    pub profile: Profile,
    /// Its application ID URIs.
    pub identifier_uris: Vec<String>,
    /// Whether it has any credential registered.
    pub confidential: bool,
    /// Whether it is registered as a public client (or has redirect URIs of one).
    pub public_allowed: bool,
    /// Whether requests that name no redirect URI come from a public client.
    pub fallback_public: bool,
    /// Whether each of its assertions works once.
    pub one_time_assertions: bool,
    /// Whether each assertion of another issuer works once.
    #[serde(default)]
    pub one_time_federated: bool,
    /// `xms_mirid`: the resource, if this is a managed identity.
    #[serde(default)]
    pub managed_identity: Option<String>,
    /// Optional claims of ID tokens for it.
    pub id_claims: ClaimSet,
    /// Which groups ID tokens for it name.
    pub memberships: GroupMembershipClaims,
}

/// What was sent to prove which client calls, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationFacts {
    /// Nothing was sent.
    Nothing,
    /// More than one mechanism, or two client ids.
    Several {
        /// What was sent.
        found: String,
    },
    /// A secret was sent.
    Secret {
        /// The registered secret that it is.
        matched: Option<MatchedSecret>,
        /// Whether it is the id of a registered secret, the commonest mistake.
        is_key_id: bool,
    },
    /// An assertion was sent.
    Assertion(ClientAssertionFacts),
    /// An assertion of another issuer was sent.
    Federated {
        /// What stood in it.
        assertion: FederatedFacts,
        /// The application's credentials that name this issuer.
        credentials: Vec<FederatedIdentityCredential>,
    },
    /// `client_assertion` without the one type that exists.
    AssertionType {
        /// What was sent.
        found: String,
    },
}

/// A registered secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedSecret {
    /// Its id.
    pub key_id: ObjectId,
    /// From when it works.
    pub start: Timestamp,
    /// Until when it works.
    pub end: Timestamp,
}

/// What the grant presented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProofFacts {
    /// Client credentials: nothing beyond the client's own authentication.
    ClientCredentials,
    /// An authorization code.
    Code {
        /// Digest of its text.
        digest: Digest,
        /// Its record.
        record: Option<CodeRecord>,
        /// `redirect_uri`, as sent.
        redirect_uri: Option<String>,
        /// What was sent as `code_verifier`.
        verifier: Verifier,
        /// Whether the code went to a redirect URI of a public client or single-page application.
        public_redirect: bool,
        /// Whether it went to a redirect URI of a single-page application.
        #[serde(default)]
        spa_redirect: bool,
    },
    /// A refresh token.
    Refresh {
        /// Digest of its text.
        digest: Digest,
        /// Its record.
        record: Option<RefreshRecord>,
    },
    /// A device code.
    Device {
        /// Digest of its text.
        digest: Digest,
        /// Its record.
        record: Option<Box<DeviceRecord>>,
        /// Whether the device asks again before its interval is over.
        impatient: bool,
    },
    /// An On-Behalf-Of assertion.
    OnBehalfOf {
        /// What stood in it.
        assertion: AssertionFacts,
        /// Who called with it; nobody where that application does not stand in the tenant any more.
        #[serde(default)]
        caller: Option<Box<CallerFacts>>,
    },
    /// A token from which a work order is to be made.
    WorkOrder(Box<OrderFacts>),
    /// A work order.
    Redemption(Box<RedemptionFacts>),
    /// The user's own sign-in, at the authorization endpoint.
    SignIn,
}

/// What a work order is to be made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderFacts {
    /// What stood in the token that was presented.
    pub assertion: AssertionFacts,
    /// Who called with it; nobody where that application does not stand in the tenant any more.
    pub caller: Option<Box<CallerFacts>>,
    /// The terms.
    pub terms: Terms,
    /// The workers of the terms, as they stand.
    pub workers: Vec<WorkerFacts>,
    /// What is asked of APIs after the first.
    pub also: Vec<AlsoFacts>,
    /// How many orders there are.
    pub outstanding: Outstanding,
}

/// A worker that a work order is to be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// Which.
    pub client: AppId,
    /// Whether it stands in the tenant, enabled, and has a credential.
    pub stands: bool,
}

/// What is asked of another API in the same request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlsoFacts {
    /// What is asked for.
    pub target: Target,
    /// The policies that could bind there.
    pub policies: Vec<Policy>,
}

/// A work order that a worker presents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RedemptionFacts {
    /// Digest of the handle.
    pub digest: Digest,
    /// Its record.
    pub record: Option<WorkOrderRecord>,
    /// The digest of the message that the worker has.
    pub content: Option<Digest>,
    /// The application that made the order, as it stands now at each API that the order allows.
    pub issuer: Vec<CallerFacts>,
}

impl ProofFacts {
    /// The token that a middle tier was called with and who called, where that is the proof.
    pub(crate) fn assertion(&self) -> Option<(&AssertionFacts, Option<&CallerFacts>)> {
        match self {
            Self::OnBehalfOf { assertion, caller } => Some((assertion, caller.as_deref())),
            Self::WorkOrder(order) => Some((&order.assertion, order.caller.as_deref())),
            _ => None,
        }
    }

    /// The claims of that token, once its signature is verified.
    pub(crate) fn verified(&self) -> Option<&TokenClaims> {
        match self.assertion() {
            Some((AssertionFacts::Verified(claims), _)) => Some(claims),
            _ => None,
        }
    }

    /// `scope` of the code or refresh token that was presented.
    pub(crate) fn recorded(&self) -> Option<&str> {
        match self {
            Self::Code { record, .. } => record.as_ref().map(|record| record.scope.as_str()),
            Self::Refresh { record, .. } => record.as_ref().map(|record| record.scope.as_str()),
            _ => None,
        }
    }
}

/// The client that called the middle tier, as both stand now: an assertion rests on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallerFacts {
    /// The client that the assertion was issued to.
    pub client: ClientFacts,
    /// The middle tier, as a resource for that client and this user.
    pub resource: ResourceFacts,
}

/// What was sent as `code_verifier` (RFC 7636).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verifier {
    /// Nothing.
    Absent,
    /// Not 43 to 128 unreserved characters.
    Malformed,
    /// Its S256 challenge.
    Challenge(String),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// No `scope` at all.
    Missing,
    /// Only OpenID Connect scopes: the token is for the authority's own userinfo endpoint.
    Authority,
    /// A `resource` without `scope` on the v2 endpoint.
    ResourceParameter,
    /// A name that no service principal of the tenant has.
    Unknown {
        /// The name.
        name: String,
    },
    /// Scopes of several resources.
    Several {
        /// Their names.
        names: Vec<String>,
    },
    /// A scope that cannot be one.
    Invalid {
        /// The scope.
        scope: String,
        /// Why.
        reason: String,
    },
    /// One resource.
    Resource(Box<ResourceFacts>),
}

/// The resource, and the client's and user's standing there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceFacts {
    /// Its client id.
    pub app_id: AppId,
    /// Its service principal here.
    pub principal: PrincipalId,
    /// Its name as the client wrote it; the start of each scope.
    pub name: String,
    /// Shown to people.
    pub display_name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Shape of its tokens.
    pub shape: TokenShape,
    /// Whether only the assigned get tokens.
    pub assignment_required: bool,
    /// Whether the client asks for a token for itself by URI.
    pub self_by_uri: bool,
    /// What is asked for.
    pub asked: Asked,
    /// Every enabled delegated permission that it publishes.
    pub published: Vec<Published>,
    /// Consented for all users of the tenant.
    pub tenant_grant: Scopes,
    /// Consented by this user.
    pub user_grant: Scopes,
    /// What this client needs no consent for.
    pub pre_authorized: Scopes,
    /// What the client's registration says it needs here; `None` if it does not name the resource.
    pub declared: Option<Scopes>,
    /// The user's app roles here; `None` if they are not assigned.
    pub user_roles: Option<Vec<String>>,
    /// The client's application permissions here; `None` if it is not assigned.
    pub client_roles: Option<Vec<String>>,
    /// Why the client calls it as itself, where its registration says so.
    #[serde(default)]
    pub own_identity: Option<String>,
    /// When a subscriber of its was last told every cut-off; `None` too where no long-lived token is asked for.
    #[serde(default)]
    pub heard: Option<Timestamp>,
}

/// A published delegated permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The word in `scp`.
    pub value: String,
    /// Whether only an administrator may consent.
    pub admin_only: bool,
    /// In words.
    pub display_name: String,
    /// In words.
    pub description: String,
}

/// What is asked of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// `.default`: all that is granted.
    Default,
    /// These; the first of each pair is as the client wrote it, the second as the resource publishes it, if it does.
    Named(Vec<(String, Option<String>)>),
    /// `.default` together with named scopes.
    Mixed,
}

impl Default for Asked {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// Shape of the tokens for a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenShape {
    /// Version 1 instead of 2 (entra profile).
    pub v1: bool,
    /// The dialect.
    pub profile: Profile,
    /// The signature algorithm.
    pub algorithm: String,
    /// Whether `act` is shown.
    pub act: bool,
    /// Optional claims.
    pub claims: ClaimSet,
    /// Which groups are named.
    pub memberships: GroupMembershipClaims,
    /// How long they live, unless the tenant says so, in seconds.
    pub seconds: Option<i64>,
}

impl Default for TokenShape {
    fn default() -> Self {
        Self {
            v1: false,
            profile: Profile::Entra,
            algorithm: "RS256".to_owned(),
            act: false,
            claims: ClaimSet::default(),
            memberships: GroupMembershipClaims::None,
            seconds: None,
        }
    }
}

/// The user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// `oid`.
    pub id: UserId,
    /// Whether the account is enabled.
    pub enabled: bool,
    /// Sign-ins at this moment, to the second, or before it are void.
    pub valid_from: Timestamp,
    /// The name to sign in with.
    pub upn: String,
    /// Shown to people.
    pub display_name: String,
    /// First name.
    pub given_name: Option<String>,
    /// Last name.
    pub surname: Option<String>,
    /// Address.
    pub mail: Option<String>,
    /// Direct memberships.
    pub groups: Vec<GroupId>,
    /// Directory roles.
    pub directory_roles: Vec<DirectoryRole>,
    /// Whether they have set up a second factor.
    pub second_factor: bool,
    /// The groups among them that are assigned to an application, with its service principal.
    pub assigned_groups: Vec<(PrincipalId, GroupId)>,
    /// Of a guest: how their account at home stands.
    #[serde(default)]
    pub home: Option<HomeFacts>,
    /// When they last took back their consent to this client, or to one that acted before it.
    #[serde(default)]
    pub consent_withdrawn: Option<Timestamp>,
}

/// A guest's account at home, where they sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeFacts {
    /// Which.
    pub account: HomeAccount,
    /// Whether it exists and is enabled, and its tenant too.
    pub enabled: bool,
    /// Sign-ins until this moment are void.
    pub valid_from: Timestamp,
}

/// The root session of the chain, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// The chain so far: for sign-ins and codes, with no actors.
    pub chain: Chain,
    /// Whether the session has been ended, or is not known to the ledger.
    pub ended: bool,
    /// Whether one of the authorizations that the chain rests on has been revoked.
    #[serde(default)]
    pub grant_revoked: bool,
    /// An application of the chain that does not stand in the tenant any more, or is disabled there.
    #[serde(default)]
    pub gone: Option<AppId>,
    /// Where the user's browser was last seen.
    pub address: Option<IpAddr>,
}

impl SessionFacts {
    /// What decisions read of a session; `actors` came between it and this request, which rests on `grants`.
    pub(crate) fn of(record: &SessionRecord, actors: Vec<AppId>, grants: Vec<FamilyId>) -> Self {
        let chain = Chain {
            session: record.id,
            session_ends: record.expires,
            auth_time: record.auth_time,
            amr: record.amr.clone(),
            mfa_time: record.mfa_time,
            // What they are is for the policies of this moment to say.
            acrs: Vec::new(),
            grants,
            actors,
        };
        Self { chain, ended: record.revoked, address: record.address, grant_revoked: false, gone: None }
    }

    /// The same, as those who acted stand in a tenant now.
    pub(crate) fn in_tenant(mut self, tenant: &TenantDirectory) -> Self {
        let stands = |app: &AppId| tenant.app(*app).is_some_and(|app| app.principal.account_enabled);
        self.gone = self.chain.actors.iter().find(|app| !stands(app)).copied();
        self
    }

    /// The same for a token of before: a session that was strengthened since does not strengthen it.
    pub(crate) fn when_proven(mut self, proven: &Proven) -> Self {
        self.chain.amr.retain(|method| proven.amr.contains(method));
        self.chain.mfa_time = self.chain.mfa_time.and(proven.mfa_time);
        self
    }
}
