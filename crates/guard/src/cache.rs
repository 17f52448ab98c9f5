//! Verified tokens, so that a token seen before costs a digest in place of a signature.
use crate::evidence::Proven;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The digest of a token's text.
pub(crate) type TokenDigest = [u8; 32];

/// Bounded in bytes. Holds what was proven, never a verdict: times and routes are judged on every hit.
pub(crate) struct VerifiedTokens(Cache<TokenDigest, Arc<Proven>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<TokenDigest, Arc<Proven>> for Bytes {
    fn weight(&self, _: &TokenDigest, proven: &Arc<Proven>) -> u64 {
        proven.weight()
    }
}

impl VerifiedTokens {
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / 3_000).unwrap_or(usize::MAX).max(16);
        Self(Cache::with_weighter(entries, bytes, Bytes))
    }

    pub(crate) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token.as_bytes()).into()
    }

    pub(crate) fn find(&self, digest: &TokenDigest) -> Option<Arc<Proven>> {
        self.0.get(digest)
    }

    pub(crate) fn keep(&self, digest: TokenDigest, proven: Arc<Proven>) {
        self.0.insert(digest, proven);
    }

    pub(crate) fn forget(&self, digest: &TokenDigest) {
        self.0.remove(digest);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
