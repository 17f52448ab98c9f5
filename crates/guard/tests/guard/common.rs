//! A billing API, its issuer, and tokens for it.
use decision::Timestamp;
use decision::contract::Contract;
use deputize_guard::Guard;
use jose::{Algorithm, Header, KeySet, SigningKey};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use testkit::SetClock;

pub(crate) const NOON: Timestamp = Timestamp(1_800_000_000);
pub(crate) const TID: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const ISS: &str = "https://login.example/11111111-1111-4111-8111-111111111111/v2.0";

pub(crate) fn contract_json() -> Value {
    json!({
        "name": "Billing",
        "audiences": ["bbbbbbbb-0000-4000-8000-00000000000b", "api://billing"],
        "issuers": [{"issuer": ISS, "tenants": [TID], "algorithm": "ES256"}],
        "routes": [
            {"method": "GET", "path": "/invoices", "scopes": ["Invoices.Read", "Invoices.ReadWrite"], "roles": ["Invoices.Reader"]},
            {"method": "POST", "path": "/invoices/{id}/approve", "scopes": ["Invoices.Approve"], "acrs": ["c1"]},
            {"method": "GET", "path": "/export", "app_roles": ["Invoices.Export"]},
            {"method": "GET", "path": "/whoami", "authenticated_suffices": true}
        ]
    })
}

pub(crate) fn contract() -> Contract {
    serde_json::from_value(contract_json()).unwrap()
}

pub(crate) fn contract_with(member: &str, value: Value) -> Contract {
    let mut all = contract_json();
    all[member] = value;
    serde_json::from_value(all).unwrap()
}

/// A user's token for `GET /invoices`.
pub(crate) fn claims() -> Map<String, Value> {
    object(json!({
        "iss": ISS, "aud": "bbbbbbbb-0000-4000-8000-00000000000b", "iat": NOON, "nbf": NOON, "exp": NOON.plus(3_600), "tid": TID,
        "sub": "pairwise", "oid": "aaaaaaaa-0000-4000-8000-00000000000a", "azp": "orders", "azpacr": "1",
        "scp": "openid Invoices.Read", "roles": ["Invoices.Reader"], "idtyp": "user", "ver": "2.0", "uti": "uti-1", "jti": "jti-1"
    }))
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("not an object") };
    members
}

/// The claims with some replaced, and those that are `null` removed.
pub(crate) fn claims_with(changes: Value) -> Map<String, Value> {
    let mut all = claims();
    for (name, value) in object(changes) {
        if value.is_null() {
            all.remove(&name)
        } else {
            all.insert(name, value)
        };
    }
    all
}

pub(crate) struct World {
    pub(crate) key: SigningKey,
    pub(crate) clock: SetClock,
    pub(crate) guard: Guard,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(contract())
    }

    pub(crate) fn with(contract: Contract) -> Self {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let clock = SetClock::at(NOON);
        let keys = KeySet::from_keys(vec![key.verifying_key()]);
        let guard = Guard::builder(contract, Arc::new(clock.clone()))
            .keys(ISS, keys)
            .decision_ids(|| "d-1".into())
            .build()
            .unwrap();
        Self { key, clock, guard }
    }

    pub(crate) fn token(&self, changes: Value) -> String {
        sign(&self.key, &claims_with(changes))
    }

    pub(crate) fn try_get(
        &self,
        path: &str,
        changes: Value,
    ) -> Result<deputize_guard::Principal, deputize_guard::Refused> {
        self.guard.try_check(Some(&format!("Bearer {}", self.token(changes))), "GET", path).unwrap()
    }
}

pub(crate) fn sign(key: &SigningKey, claims: &Map<String, Value>) -> String {
    key.sign(&Header::typ("JWT"), &serde_json::to_vec(claims).unwrap()).unwrap()
}
