//! Tokens that were good, so that one that is seen again costs a digest in place of a signature.
use super::Times;
use crate::cut_offs::Marked;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The digest of a token and of the provider that it was shown for.
pub(super) type TokenDigest = [u8; 32];

/// Bounded in bytes.
pub(crate) struct SeenTokens(Cache<TokenDigest, Arc<Seen>, Weigh>);

/// What was proven of a token; never whether it is good now.
pub(super) struct Seen {
    /// Of the keys that proved it.
    pub(super) generation: u64,
    pub(super) times: Times,
    pub(super) answer: Bytes,
    /// What cut-offs find it by, where its provider tells of them.
    pub(super) marked: Option<Marked>,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<TokenDigest, Arc<Seen>> for Weigh {
    fn weight(&self, _: &TokenDigest, seen: &Arc<Seen>) -> u64 {
        (seen.answer.len() + seen.marked.as_ref().map_or(0, Marked::weight) + 220) as u64
    }
}

impl SeenTokens {
    /// Holds at most about so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / 1_024).unwrap_or(usize::MAX).clamp(16, 65_536);
        Self(Cache::with_weighter(entries, bytes, Weigh))
    }

    pub(super) fn digest(provider: &str, token: &str) -> TokenDigest {
        let mut hash = Sha256::new();
        hash.update((provider.len() as u64).to_be_bytes());
        hash.update(provider);
        hash.update(token);
        hash.finalize().into()
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Arc<Seen>> {
        self.0.get(digest)
    }

    pub(super) fn keep(&self, digest: TokenDigest, seen: Arc<Seen>) {
        self.0.insert(digest, seen);
    }

    pub(super) fn forget(&self, digest: &TokenDigest) {
        self.0.remove(digest);
    }

    /// Forgets all.
    pub(crate) fn flush(&self) {
        self.0.clear();
    }

    /// How many bytes are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
