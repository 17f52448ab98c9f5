//! Other issuers whose tokens may prove our applications: where their keys are, and how far we go for them.
//!
//! An issuer that the operator configured is reached as configured. Any other is one that an application named: it is
//! reached over the public internet only, through its own discovery document, by a client that follows no redirect.
use decision::{CheckId, Timestamp};
use deputize_core::token::{FederatedClaims, FederatedFacts};
use fetch::{IssuerKeys, KeySource, Lifetimes, Location, Transport};
use jose::assertion::{AssertionRefusal, FederatedAssertion, verify_federated};
use jose::{Algorithm, Refusal};
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Issuers kept at once that nobody configured.
const LEARNED: usize = 1_024;

/// The issuers of workload identity federation. Without a transport, only those that are configured.
pub struct Federation {
    transport: Option<Arc<dyn Transport>>,
    configured: HashMap<String, Arc<IssuerKeys>>,
    learned: Cache<String, Arc<IssuerKeys>>,
}

impl Default for Federation {
    fn default() -> Self {
        Self { transport: None, configured: HashMap::new(), learned: Cache::new(LEARNED) }
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation").field("configured", &self.configured.keys()).finish_non_exhaustive()
    }
}

impl Federation {
    /// Reaches the issuers that applications name with this client, which must not reach private addresses.
    pub fn over(transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..Self::default() }
    }

    /// An issuer whose keys are got in a way of their own.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>, keys: Arc<IssuerKeys>) -> Self {
        self.configured.insert(issuer.into(), keys);
        self
    }

    fn keys(&self, issuer: &str) -> Option<Arc<IssuerKeys>> {
        if let Some(keys) = self.configured.get(issuer) {
            return Some(Arc::clone(keys));
        }
        let transport = self.transport.as_ref()?;
        let learned = self.learned.get_or_insert_with(issuer, || {
            let source = KeySource {
                issuer: issuer.to_owned(),
                location: Location::Metadata(discovery(issuer)),
                default_algorithm: Some(Algorithm::RS256),
                // Google's and others' keys are on another host than their issuer; the metadata of the issuer says so.
                foreign_keys_host: true,
            };
            Ok::<_, std::convert::Infallible>(IssuerKeys::fetched(source, Arc::clone(transport), Lifetimes::default()))
        });
        learned.ok()
    }

    /// Reads an assertion with the keys of its issuer. An unknown key makes us look again, at most once in a while, together
    /// with everybody else who waits.
    pub(crate) async fn read(&self, text: &str, issuer: &str, now: Timestamp) -> FederatedFacts {
        let unreachable = || FederatedFacts::Refused {
            check: CheckId::FederatedKeys,
            reason: "no keys: the issuer cannot be reached, or its metadata and keys are not usable".to_owned(),
        };
        let Some(keys) = self.keys(issuer) else { return unreachable() };
        let mut judged = judge(text, &keys, now);
        if matches!(judged, None | Some(Err(AssertionRefusal::Token(Refusal::KeyUnknown)))) && keys.may_refresh(now) {
            keys.refresh(now).await;
            judged = judge(text, &keys, now);
        }
        match judged {
            None => unreachable(),
            Some(Err(refusal)) => FederatedFacts::Refused { check: refusal.check(), reason: refusal.to_string() },
            Some(Ok(FederatedAssertion { iss, sub, aud, jti, exp, nbf, iat })) => {
                FederatedFacts::Verified(Box::new(FederatedClaims { iss, sub, aud, jti, exp, nbf, iat, own: None }))
            }
        }
    }
}

fn judge(text: &str, keys: &Arc<IssuerKeys>, now: Timestamp) -> Option<Result<FederatedAssertion, AssertionRefusal>> {
    let current = keys.current(now)?;
    Some(verify_federated(text, &current.as_ref()?.keys))
}

/// OpenID Connect Discovery section 4.
pub fn discovery(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}
