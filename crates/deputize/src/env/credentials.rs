//! How an application proves itself: what is known of it, or what is registered for it now.
use crate::failure::Failure;
use crate::keys::MasterKey;
use crate::system;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use decision::Timestamp;
use deputize_core::audit::AuditRecord;
use deputize_core::estate::Item;
use deputize_core::id::ObjectId;
use deputize_core::ledger::{CommitError, Write};
use deputize_core::model::{Application, KeyCredential, PasswordCredential};
use deputize_core::ports::Ledger;
use jose::{Algorithm, SigningKey};
use oauth::Secret;
use store::Store;

/// For how long new ones work, as with those that an estate declares.
const LIFE: i64 = 2 * 365 * 86_400;
/// What people see beside them.
const CALLED: &str = "deputize env";

/// A secret and a private key.
#[derive(Default)]
pub(super) struct Credentials {
    secret: Option<Secret>,
    jwk: Option<Secret>,
}

impl Credentials {
    pub(super) fn new(secret: Option<Secret>, key: Option<&SigningKey>) -> Result<Self, Failure> {
        let jwk = key.map(SigningKey::private_jwk).transpose().map_err(Failure::told)?;
        Ok(Self { secret, jwk })
    }

    pub(super) fn are_unknown(&self) -> bool {
        self.secret.is_none() && self.jwk.is_none()
    }

    pub(super) fn variables(&self) -> Vec<(String, Secret)> {
        let mut all = Vec::new();
        if let Some(secret) = &self.secret {
            all.push(("AZURE_APP_CLIENT_SECRET".to_owned(), secret.clone()));
            all.push(("AZURE_CLIENT_SECRET".to_owned(), secret.clone()));
        }
        if let Some(jwk) = &self.jwk {
            all.push(("AZURE_APP_JWK".to_owned(), jwk.clone()));
            all.push(("AZURE_APP_JWKS".to_owned(), Secret::new(format!(r#"{{"keys":[{}]}}"#, jwk.expose()))));
        }
        all
    }
}

/// Adds a secret and a key to the registration, if it is still as it was read.
pub(super) async fn register(
    store: &Store,
    master: &MasterKey,
    before: &Application,
    now: Timestamp,
) -> Result<Credentials, Failure> {
    if before.managed_identity.is_some() {
        let error = format!("`{}` is a managed identity, which has no secret", before.display_name);
        return Err(Failure::new(error, "its host speaks for it; choose an application"));
    }
    let secret = Secret::new(URL_SAFE_NO_PAD.encode(system::unpredictable::<32>()));
    let key = SigningKey::generate(Algorithm::RS256).map_err(Failure::told)?;
    let certificate = key.self_signed(CALLED, now.plus(-3_600), now.plus(LIFE)).map_err(Failure::told)?;
    let registered = KeyCredential {
        key_id: ObjectId(system::random_id()),
        display_name: CALLED.to_owned(),
        key: STANDARD.encode(&certificate),
        start_date_time: now.plus(-3_600),
        end_date_time: now.plus(LIFE),
    };
    let key = key.with_certificate(certificate).map_err(Failure::told)?;
    let credentials = Credentials::new(Some(secret.clone()), Some(&key))?;
    let mut after = before.clone();
    after.key_credentials.push(registered);
    after.password_credentials.push(PasswordCredential {
        key_id: ObjectId(system::random_id()),
        display_name: CALLED.to_owned(),
        digest: master.digest(&secret),
        hint: secret.expose().chars().take(3).collect(),
        start_date_time: now,
        end_date_time: now.plus(LIFE),
    });
    let (before, after) = (Item::Application(before.clone()), Item::Application(after));
    let record = AuditRecord::new(now, system::random_id().to_string(), CALLED);
    let writes = vec![Write::Change(Box::new(before), Some(Box::new(after))), Write::Audit(Box::new(record))];
    match store.commit(writes).await {
        Ok(()) => Ok(credentials),
        Err(CommitError::Conflict) => {
            Err(Failure::new("the registration changed meanwhile, and nothing was registered", "try again"))
        }
        Err(CommitError::Unavailable) => Err(Failure::new(
            "the store does not answer, and nothing was registered",
            "check that its disk is writable and not full",
        )),
    }
}
