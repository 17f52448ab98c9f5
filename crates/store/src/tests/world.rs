//! A store in a folder of its own, a clock that is set by hand, and ordinary records.
use crate::{Object, Store, StoreKeys};
use decision::{Clock, Timestamp};
use deputize_core::audit::AuditRecord;
use deputize_core::id::{AppId, FamilyId, GroupId, PrincipalId, RoleId, SessionId, TenantId, UserId};
use deputize_core::ledger::{CodeRecord, Proven, RefreshRecord, SessionRecord, Write};
use deputize_core::model::{
    Application, Assignee, Digest, Group, PermissionGrant, RoleAssignment, ServicePrincipal, Tenant, TenantSettings,
    User,
};
use deputize_core::work_order::{Allowance, WorkOrderRecord, Worker};
use oauth::Scopes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use uuid::Uuid;

pub(super) const NOON: Timestamp = Timestamp(1_800_000_000);
pub(super) const KEY: [u8; 32] = [7; 32];

#[derive(Debug)]
pub(super) struct SetClock(AtomicI64);

impl SetClock {
    pub(super) fn at(moment: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(moment.0)))
    }

    pub(super) fn set(&self, moment: Timestamp) {
        self.0.store(moment.0, SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(SeqCst))
    }
}

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("deputize-store-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        Self(std::env::temp_dir().join(name))
    }

    /// One that is there already.
    pub(super) fn made() -> Self {
        let folder = Self::new();
        std::fs::create_dir(folder.path()).unwrap();
        folder
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Dropped in this order: the store closes before its folder goes.
pub(super) struct World {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<SetClock>,
    pub(super) folder: Folder,
}

/// The embedded engine.
pub(super) fn sqlite() -> World {
    let (folder, clock) = (Folder::new(), SetClock::at(NOON));
    let store = Store::open(&folder.file(), StoreKeys::new(KEY), clock.clone()).unwrap();
    World { store: Arc::new(store), clock, folder }
}

impl World {
    /// Another process's view of the same state.
    pub(super) fn another(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.folder.file(), StoreKeys::new(KEY), self.clock.clone()).unwrap())
    }
}

/// A digest like no other of this kind and number.
pub(super) fn digest(kind: u8, n: u64) -> Digest {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Digest(bytes)
}

pub(super) fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(super) const TENANT: TenantId = TenantId(Uuid::from_u128(1));
pub(super) const ADA: UserId = UserId(Uuid::from_u128(2));
pub(super) const CLIENT: PrincipalId = PrincipalId(Uuid::from_u128(3));
pub(super) const RESOURCE: PrincipalId = PrincipalId(Uuid::from_u128(4));
pub(super) const STAFF: GroupId = GroupId(Uuid::from_u128(5));
pub(super) const READER: RoleId = RoleId(Uuid::from_u128(6));

pub(super) fn code(family: u128) -> CodeRecord {
    CodeRecord {
        tenant: TENANT,
        client: AppId(uuid(30)),
        user: ADA,
        session: SessionId(uuid(40)),
        family: FamilyId(uuid(family)),
        redirect_uri: "https://app.example/callback".to_owned(),
        challenge: Some("x".repeat(43)),
        scope: "openid api://orders/access_as_user".to_owned(),
        nonce: None,
        claims: None,
        proven: None,
        expires: NOON.plus(600),
        consumed: false,
        revoked: false,
    }
}

pub(super) fn token(family: u128) -> RefreshRecord {
    RefreshRecord {
        tenant: TENANT,
        client: AppId(uuid(30)),
        user: ADA,
        session: SessionId(uuid(40)),
        family: FamilyId(uuid(family)),
        scope: "openid".to_owned(),
        actors: Vec::new(),
        grants: Vec::new(),
        proven: None,
        public: false,
        spa: false,
        issued: NOON,
        expires: NOON.plus(86_400),
        rotated: None,
        revoked: false,
    }
}

pub(super) fn work_order(n: u128) -> WorkOrderRecord {
    WorkOrderRecord {
        id: FamilyId(uuid(n)),
        tenant: TENANT,
        issuer: AppId(uuid(30)),
        user: ADA,
        session: SessionId(uuid(40)),
        proven: Proven { amr: vec!["pwd".to_owned(), "mfa".to_owned()], mfa_time: Some(NOON) },
        actors: vec![AppId(uuid(30)), AppId(uuid(31))],
        grants: vec![FamilyId(uuid(9))],
        workers: vec![Worker { client: AppId(uuid(32)), thumbprint: Some("x".repeat(43)) }],
        allowed: vec![Allowance { resource: AppId(uuid(33)), scopes: Scopes::from("Invoices.Read".to_owned()) }],
        purpose: "Export the invoices of the day".to_owned(),
        content: None,
        redemptions: 2,
        issued: NOON,
        expires: NOON.plus(86_400),
        redeemed: 0,
        parked: None,
        revoked: false,
    }
}

pub(super) fn session(n: u128) -> SessionRecord {
    SessionRecord {
        id: SessionId(uuid(n)),
        cookie: digest(b's', u64::try_from(n).unwrap()),
        tenant: TENANT,
        user: ADA,
        auth_time: NOON,
        amr: vec!["pwd".to_owned()],
        mfa_time: None,
        address: None,
        expires: NOON.plus(86_400),
        revoked: false,
        clients: Vec::new(),
    }
}

pub(super) fn record(decision: &str) -> AuditRecord {
    AuditRecord { tenant: Some(TENANT), ..AuditRecord::new(NOON, decision.to_owned(), "test") }
}

pub(super) fn audit(decision: &str) -> Write {
    Write::Audit(Box::new(record(decision)))
}

pub(super) fn user(id: UserId, name: &str) -> User {
    User {
        id,
        tenant: TENANT,
        user_principal_name: name.to_owned(),
        display_name: "Ada".to_owned(),
        given_name: None,
        surname: None,
        mail: None,
        account_enabled: true,
        password_hash: None,
        is_tenant_admin: false,
        sign_in_sessions_valid_from: Timestamp(0),
        home: None,
    }
}

pub(super) fn grant(user: Option<UserId>, scope: &str) -> PermissionGrant {
    let scope = Scopes::parse(scope).unwrap();
    PermissionGrant {
        tenant: TENANT,
        client_id: CLIENT,
        principal_id: user,
        resource_id: RESOURCE,
        scope,
        start_time: None,
        withdrawn: None,
    }
}

pub(super) fn assignment(assignee: Assignee, app_role_id: RoleId) -> RoleAssignment {
    RoleAssignment { tenant: TENANT, assignee, resource_id: RESOURCE, app_role_id }
}

pub(super) fn group(members: &[UserId]) -> Group {
    Group { id: STAFF, tenant: TENANT, display_name: "Staff".to_owned(), members: members.to_vec() }
}

/// A tenant, an application in it, Ada, who is in a group that has a role, and a consent of hers.
pub(super) fn estate() -> Vec<Object> {
    let app_id = AppId(uuid(30));
    vec![
        Object::Tenant(Tenant {
            id: TENANT,
            display_name: "Contoso".to_owned(),
            domains: vec!["contoso.example".to_owned()],
            enabled: true,
            settings: TenantSettings::default(),
            named_locations: Vec::new(),
        }),
        Object::Application(Application { app_id, home_tenant: TENANT, ..Application::default() }),
        Object::ServicePrincipal(ServicePrincipal {
            id: CLIENT,
            tenant: TENANT,
            app_id,
            account_enabled: true,
            app_role_assignment_required: false,
        }),
        Object::User(user(ADA, "Ada@Contoso.example")),
        Object::Group(group(&[ADA])),
        Object::Assignment(assignment(Assignee::Group(STAFF), READER)),
        Object::Grant(grant(Some(ADA), "Invoices.Read")),
    ]
}
