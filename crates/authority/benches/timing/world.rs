//! A small world at a chosen cost of passwords: one tenant, one confidential client with one secret, one user.
use super::{CLIENT, NOW, SECRET, TENANT};
use decision::Timestamp;
use deputize_authority::{Authority, Federation, PasswordCost, Settings, authority_with};
use deputize_core::audit::AuditRecord;
use deputize_core::id::{ObjectId, PrincipalId, UserId};
use deputize_core::limits::Limits;
use deputize_core::model::{
    Application, PasswordCredential, ServicePrincipal, Tenant, TenantSettings, User, WebApplication,
};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Change, Object, Store, StoreKeys};
use testkit::{Random, SetClock};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Where a browser is sent back to.
pub(crate) const CALLBACK: &str = "https://app.example/callback";
/// How many users there are.
pub(crate) const USERS: usize = 1_000;

/// The name of one of the users, or a name of the same length beside it that nobody has.
pub(crate) fn name(n: usize, known: bool) -> String {
    format!("user{n:06}{}@contoso.example", if known { 'k' } else { 'a' })
}

/// The authority, and the hash of everybody's password.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) hash: String,
}

impl World {
    pub(crate) fn open(runtime: &Runtime, file: &Path, cost: PasswordCost) -> Result<Self, Box<dyn Error>> {
        let clock = SetClock::at(NOW);
        let store = Arc::new(Store::open(file, StoreKeys::new([7; 32]), Arc::new(clock.clone()))?);
        let authority = new_authority(cost, &store, clock);
        let hash = cost.hash("right", [6; 16]);
        runtime.block_on(store.apply(estate(&authority, &hash), record()?))?;
        Ok(Self { authority, hash })
    }
}

fn new_authority(cost: PasswordCost, store: &Arc<Store>, clock: SetClock) -> Authority {
    let random = Mutex::new(Random::seeded(1));
    let settings = Settings {
        host: "https://login.example".to_owned(),
        signing_keys: Vec::new(),
        pepper: [3; 32],
        seal_key: [4; 32],
        random: Arc::new(move |buffer: &mut [u8]| {
            let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
            for (byte, chosen) in
                buffer.iter_mut().zip(std::iter::repeat_with(|| random.next().to_le_bytes()).flatten())
            {
                *byte = chosen;
            }
        }),
        federation: Federation::default(),
    };
    let authority = authority_with(cost, settings, store.clone(), store.clone(), Arc::new(clock));
    // What is measured is what a guess takes, not how long the next one waits.
    authority.limited(Limits::unlimited())
}

fn estate(authority: &Authority, hash: &str) -> Vec<Change> {
    let credential = PasswordCredential {
        key_id: ObjectId(Uuid::from_u128(3)),
        display_name: String::new(),
        digest: authority.ports.crypto.keyed_digest(SECRET),
        hint: String::new(),
        start_date_time: Timestamp(0),
        end_date_time: Timestamp(i64::MAX),
    };
    let application = Application {
        app_id: CLIENT,
        home_tenant: TENANT,
        web: WebApplication { redirect_uris: vec![CALLBACK.to_owned()], ..WebApplication::default() },
        password_credentials: vec![credential],
        ..Application::default()
    };
    let domains = vec!["contoso.example".to_owned()];
    let settings = TenantSettings::default();
    let tenant = Tenant {
        id: TENANT,
        display_name: "Contoso".to_owned(),
        domains,
        enabled: true,
        settings,
        named_locations: Vec::new(),
    };
    let principal = PrincipalId(Uuid::from_u128(4));
    let principal = ServicePrincipal {
        id: principal,
        tenant: TENANT,
        app_id: CLIENT,
        account_enabled: true,
        app_role_assignment_required: false,
    };
    let user = |n: usize| User {
        id: UserId(Uuid::from_u128(0x1000 + n as u128)),
        tenant: TENANT,
        user_principal_name: name(n, true),
        display_name: "Ada".to_owned(),
        given_name: None,
        surname: None,
        mail: None,
        account_enabled: true,
        password_hash: Some(hash.to_owned()),
        is_tenant_admin: false,
        sign_in_sessions_valid_from: Timestamp(0),
        home: None,
    };
    let objects = [Object::Tenant(tenant), Object::Application(application), Object::ServicePrincipal(principal)];
    objects.into_iter().chain((0..USERS).map(user).map(Object::User)).map(Change::from).collect()
}

fn record() -> Result<AuditRecord, serde_json::Error> {
    serde_json::from_value(serde_json::json!({"at": NOW, "decision": "timing", "action": "apply"}))
}
