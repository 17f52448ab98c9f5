//! The keys of one issuer (RFC 7517 section 5), found by name only.
use crate::{Algorithm, Jwk, KeyError, KeySetError, Refusal, Token, VerifyingKey, json};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The largest key set, in bytes.
pub const MAX_KEY_SET: usize = 1 << 20;
/// The most keys in a set.
pub const MAX_KEYS: usize = 256;

/// The keys of **one issuer**. There is no way to try them all: a token names its key, or is refused.
///
/// ```
/// use jose::{Algorithm, KeySet, SigningKey};
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let json = serde_json::json!({ "keys": [key.public_jwk(), { "kty": "oct", "kid": "s", "k": "AA" }] }).to_string();
/// let (keys, skipped) = KeySet::parse(json.as_bytes(), None)?;
/// assert!(keys.find(key.kid()).is_some());
/// assert_eq!(skipped[0].reason, jose::KeyError::Symmetric);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: HashMap<String, Arc<VerifyingKey>>,
    /// RSA keys that state no `alg`, once for each algorithm of their family.
    unbound: HashMap<String, Vec<Arc<VerifyingKey>>>,
}

/// A key of a set that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the list.
    pub index: usize,
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// Why it is not used.
    pub reason: KeyError,
}

impl KeySet {
    /// Reads a key set. A bad key is skipped with the reason, the others are used; of keys that share a name none is used.
    /// `default_alg` binds RSA keys that state no `alg`.
    pub fn parse(octets: &[u8], default_alg: Option<Algorithm>) -> Result<(Self, Vec<SkippedKey>), KeySetError> {
        if octets.len() > MAX_KEY_SET {
            return Err(KeySetError::TooLarge);
        }
        json::check(octets).map_err(KeySetError::Json)?;
        let document: Value = serde_json::from_slice(octets).map_err(|_| KeySetError::NoKeys)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let (mut once, mut repeated) = (HashSet::new(), HashSet::new());
        // What encrypts is never taken for what signs, and may have its name.
        let signs = |entry: &&Value| entry.get("use").and_then(Value::as_str) != Some("enc");
        for kid in entries.iter().filter(signs).filter_map(kid) {
            if !once.insert(kid) {
                repeated.insert(kid);
            }
        }
        let (mut keys, mut unbound, mut skipped) = (HashMap::new(), HashMap::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let imported = match kid(entry) {
                None => Err(KeyError::KidMissing),
                Some(kid) if repeated.contains(kid) => Err(KeyError::KidDuplicate),
                Some(_) => Jwk::from_value(entry.clone()).and_then(|jwk| VerifyingKey::from_jwk(&jwk, default_alg)),
            };
            match imported {
                Ok(key) => {
                    if states_no_algorithm(entry) {
                        unbound.insert(key.kid().to_owned(), family(entry));
                    }
                    keys.insert(key.kid().to_owned(), Arc::new(key));
                }
                Err(reason) => skipped.push(SkippedKey { index, kid: kid(entry).map(str::to_owned), reason }),
            }
        }
        Ok((Self { keys, unbound }, skipped))
    }

    /// A set of keys at hand; of keys that share a name none is used.
    pub fn from_keys(keys: Vec<VerifyingKey>) -> Self {
        let (mut once, mut repeated) = (HashMap::new(), HashSet::new());
        for key in keys {
            let kid = key.kid().to_owned();
            if once.insert(kid.clone(), Arc::new(key)).is_some() {
                repeated.insert(kid);
            }
        }
        once.retain(|kid, _| !repeated.contains(kid));
        Self { keys: once, unbound: HashMap::new() }
    }

    /// The key of this name, byte for byte.
    pub fn find(&self, kid: &str) -> Option<&Arc<VerifyingKey>> {
        self.keys.get(kid)
    }

    /// The key of this name, for this algorithm: its own, or where the key set binds an RSA key to none, any that RSA keys
    /// have. For those who must take what their issuers sign with, and do not choose it.
    pub fn find_for(&self, kid: &str, algorithm: Algorithm) -> Option<&Arc<VerifyingKey>> {
        let fits = |key: &&Arc<VerifyingKey>| key.algorithm() == algorithm;
        self.find(kid).filter(fits).or_else(|| self.unbound.get(kid)?.iter().find(fits))
    }

    /// The key that a token names; a token that names none is refused.
    pub fn key_for(&self, token: &Token<'_>) -> Result<&Arc<VerifyingKey>, Refusal> {
        let kid = token.header().kid.as_deref().ok_or(Refusal::KeyMissing)?;
        self.find(kid).ok_or(Refusal::KeyUnknown)
    }

    /// The keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<VerifyingKey>> {
        self.keys.values()
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none: such a set must not take the place of one that has keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn states_no_algorithm(entry: &Value) -> bool {
    entry.get("alg").is_none() && entry.get("kty").and_then(Value::as_str) == Some("RSA")
}

/// A key that is known to be sound, for every algorithm of RSA.
fn family(entry: &Value) -> Vec<Arc<VerifyingKey>> {
    let Ok(jwk) = Jwk::from_value(entry.clone()) else { return Vec::new() };
    let bound = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_rsa());
    bound.filter_map(|algorithm| VerifyingKey::from_jwk(&jwk, Some(algorithm)).ok()).map(Arc::new).collect()
}

fn kid(entry: &Value) -> Option<&str> {
    entry.get("kid").and_then(Value::as_str)
}
