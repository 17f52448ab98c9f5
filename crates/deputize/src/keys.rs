//! The master key and what follows from it: keys for each purpose, and the signing keys it seals.
use crate::data::Data;
use crate::failure::Failure;
use crate::system;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use decision::Timestamp;
use deputize_core::ledger::CommitError;
use deputize_core::model::Digest;
use jose::seal::Sealer;
use jose::{Algorithm, SigningKey};
use oauth::Secret;
use std::path::Path;
use std::sync::Arc;
use store::{KeyState, Store};
use tokio::task::{JoinSet, spawn_blocking};

/// The algorithms that every authority signs with.
pub(crate) const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDSA];
const LIFE: i64 = 5 * 365 * 86_400;
/// What holds the master key, if no file does.
pub(crate) const VARIABLE: &str = "DEPUTIZE_MASTER_KEY";
const FILE: &str = "master.key";

/// 32 random bytes that everything else is derived from. Whoever has it and the store is the authority.
pub(crate) struct MasterKey([u8; 32]);

impl MasterKey {
    /// From the environment, else from the file that is named, else from the data directory, where it is made at the
    /// first start.
    pub(crate) fn load(data: &Data, file: Option<&Path>) -> Result<Self, Failure> {
        if let Some(text) = system::variable(VARIABLE) {
            return Self::parse(&text, &format!("the variable {VARIABLE}"));
        }
        if let Some(path) = file {
            let text = crate::file::Text::read(path)?;
            return Self::parse(&text.content, &format!("`{}`", path.display()));
        }
        let made = || {
            // A new key beside an old store would open nothing, and stand where the right one should be put back.
            if data.store().exists() {
                let missing = format!("`{}` is missing, and there is a store beside it", data.path(FILE).display());
                return Err(Failure::new(missing, "put back the master key that the store was made with"));
            }
            Ok(format!("{}\n", String::from(Digest(system::unpredictable()))))
        };
        Self::parse(&data.text(FILE, made)?, &format!("`{}`", data.path(FILE).display()))
    }

    /// One that nobody else has.
    pub(crate) fn passing() -> Self {
        Self(system::unpredictable())
    }

    fn parse(text: &str, place: &str) -> Result<Self, Failure> {
        let digits = serde_json::Value::String(text.trim().to_owned());
        let Digest(bytes) = serde_json::from_value(digits).map_err(|_| {
            let hint = "a master key is 64 hexadecimal digits: `openssl rand -hex 32` makes one; keep the old one if there is a store";
            Failure::new(format!("{place} holds no master key"), hint)
        })?;
        Ok(Self(bytes))
    }

    /// The key for one purpose (HKDF-SHA256, RFC 5869): none tells anything of another.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let extracted = Salt::new(HKDF_SHA256, b"deputize master 1").extract(&self.0);
        #[expect(clippy::expect_used, reason = "32 octets are far below what HKDF-SHA256 can give")]
        extracted
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut key))
            .expect("a key of 32 octets can be derived");
        key
    }

    /// Keys the digests of client secrets.
    pub(crate) fn pepper(&self) -> [u8; 32] {
        self.derive("pepper")
    }

    /// The digest that the directory keeps of a client secret.
    pub(crate) fn digest(&self, secret: &Secret) -> Digest {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.pepper());
        let tag = aws_lc_rs::hmac::sign(&key, secret.expose().as_bytes());
        let mut digest = [0; 32];
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(digest)
    }

    /// The authority's signing keys: those that the store has, and new ones for algorithms that have none.
    pub(crate) async fn signing_keys(&self, store: &Arc<Store>, now: Timestamp) -> Result<Vec<SigningKey>, Failure> {
        let sealer = Sealer::new(&self.0, "signing keys");
        let held = Self::unseal(store, &sealer)?;
        let missing = || ALGORITHMS.into_iter().filter(|wanted| held.iter().all(|key| key.algorithm() != *wanted));
        if missing().next().is_none() {
            return Ok(held);
        }
        // Together, so that they share a commit.
        let mut storing = JoinSet::new();
        for algorithm in missing() {
            // An RSA key takes a while, and others are being served.
            let made = spawn_blocking(move || SigningKey::generate(algorithm)).await;
            let key = made.ok().and_then(Result::ok).ok_or_else(|| unmade(algorithm))?;
            let ends = now.plus(LIFE);
            let key = if algorithm == Algorithm::RS256 {
                let certificate = key.self_signed("deputize signing key", now.plus(-3_600), ends);
                key.with_certificate(certificate.map_err(Failure::told)?).map_err(Failure::told)?
            } else {
                key
            };
            let sealed = sealer.seal(system::unpredictable(), key.kid().as_bytes(), key.pkcs8());
            let row = store::SigningKey {
                kid: key.kid().to_owned(),
                algorithm: algorithm.to_string(),
                sealed: Secret::new(sealed),
                certificate: key.certificate().unwrap_or_default().to_vec(),
                created: now,
                not_after: ends,
                state: KeyState::Active,
            };
            let store = Arc::clone(store);
            storing.spawn(async move { store.put_first_signing_key(row).await });
        }
        while let Some(stored) = storing.join_next().await {
            match stored {
                // Another process was first; its key signs.
                Ok(Ok(()) | Err(CommitError::Conflict)) => {}
                Ok(Err(CommitError::Unavailable)) | Err(_) => return Err(unavailable()),
            }
        }
        Self::unseal(store, &sealer)
    }

    fn unseal(store: &Store, sealer: &Sealer) -> Result<Vec<SigningKey>, Failure> {
        let rows = store.signing_keys().map_err(|_| unavailable())?;
        let usable = rows.into_iter().filter(|row| matches!(row.state, KeyState::Active | KeyState::Retired));
        usable
            .map(|row| {
                let algorithm = row.algorithm.parse().map_err(|_| unreadable(&row.kid))?;
                let plain = sealer.open(row.kid.as_bytes(), row.sealed.expose()).ok_or_else(|| unreadable(&row.kid))?;
                let key = SigningKey::from_pkcs8(algorithm, &plain).map_err(|_| unreadable(&row.kid))?;
                if row.certificate.is_empty() {
                    return Ok(key);
                }
                key.with_certificate(row.certificate).map_err(|fault| {
                    Failure::new(
                        format!("the signing key `{}`: {fault}", row.kid),
                        "restore the store from its last copy",
                    )
                })
            })
            .collect()
    }
}

fn unavailable() -> Failure {
    Failure::new("the store does not answer", "check its disk, and that nobody holds it")
}

fn unmade(algorithm: Algorithm) -> Failure {
    Failure::new(format!("no key for {algorithm} could be made"), "try again")
}

fn unreadable(kid: &str) -> Failure {
    let hint =
        "give the master key that the store was made with: the file `master.key`, or the variable DEPUTIZE_MASTER_KEY";
    Failure::new(format!("the signing key `{kid}` cannot be opened with this master key"), hint)
}

#[cfg(test)]
mod tests {
    use super::MasterKey;
    use crate::data::{Data, Temporary};
    use crate::instance::open_store;
    use decision::Timestamp;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn authorities_first_started_at_once_on_one_folder_agree_on_one_key_for_each_algorithm() {
        const STARTED: usize = 4;
        let folder = Temporary::create().unwrap();
        let barrier = Barrier::new(STARTED);
        let start = || {
            barrier.wait();
            let data = Data::open(&folder.path().join("data")).unwrap();
            let master = MasterKey::load(&data, None).unwrap();
            let store = open_store(&data, &master).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let keys = runtime.block_on(master.signing_keys(&store, Timestamp(1_800_000_000))).unwrap();
            keys.iter().map(|key| key.kid().to_owned()).collect::<BTreeSet<String>>()
        };
        let started: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..STARTED).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started[0].len(), super::ALGORITHMS.len());
        assert!(started.iter().all(|keys| *keys == started[0]), "{started:?}");
    }
}
