//! What APIs demanded of users' tokens, so that the next call has such a token at once.
use crate::apis::{Api, Options};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The digest of an API, of what it is called with, and of a user's token.
pub(super) type Call = [u8; 32];

/// Claims by calls, bounded in bytes. A user's next token begins anew.
pub(crate) struct Demands(Cache<Call, Arc<str>, Weigh>);

#[derive(Clone)]
struct Weigh;

impl Weighter<Call, Arc<str>> for Weigh {
    fn weight(&self, _: &Call, claims: &Arc<str>) -> u64 {
        (claims.len() + 150) as u64
    }
}

impl Demands {
    /// Holds at most about so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / 256).unwrap_or(usize::MAX).clamp(16, 65_536);
        Self(Cache::with_weighter(entries, bytes, Weigh))
    }

    pub(super) fn call(api: &Api, options: &Options, user: [&str; 2]) -> Call {
        let mut hash = Sha256::new();
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let (scopes, agent) = (options.scopes.join(" "), optional(&options.agent));
        let (name, bound, [kind, user]) = (api.name.to_ascii_lowercase(), optional(&options.confirmation), user);
        for part in [&name, &scopes, &agent, &bound, kind, user] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    pub(super) fn of(&self, call: &Call) -> Option<Arc<str>> {
        self.0.get(call)
    }

    pub(super) fn keep(&self, call: Call, claims: &str) {
        self.0.insert(call, claims.into());
    }

    pub(super) fn forget(&self, call: &Call) {
        self.0.remove(call);
    }

    /// Forgets all.
    pub(crate) fn flush(&self) {
        self.0.clear();
    }
}
