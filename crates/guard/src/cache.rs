//! Verified tokens, so that a token seen before costs a digest in place of a signature.
use crate::evidence::Proven;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// About how many bytes a token takes here.
const USUAL: u64 = 3_000;
/// How many tokens that came once are remembered for each one that there is room for.
const MARKS: usize = 4;

/// The digest of a token's text.
pub(crate) type TokenDigest = [u8; 32];

/// Bounded in bytes. Holds what was proven, never a verdict: times and routes are judged on every hit.
///
/// A token is kept when it is verified for the second time: most that come once do not come again, and would only push out those
/// that do.
pub(crate) struct VerifiedTokens {
    kept: Cache<TokenDigest, Arc<Proven>, Bytes>,
    /// Of tokens that came once: a part of each digest, in the place that another part names, the latest first.
    met: OnceLock<Box<[[AtomicU32; MARKS]]>>,
    room: usize,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<TokenDigest, Arc<Proven>> for Bytes {
    fn weight(&self, _: &TokenDigest, proven: &Arc<Proven>) -> u64 {
        proven.weight()
    }
}

impl VerifiedTokens {
    pub(crate) fn new(bytes: u64) -> Self {
        let room = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX).clamp(16, 1 << 24);
        let marks = (room * size_of::<[AtomicU32; MARKS]>()) as u64;
        Self { kept: Cache::with_weighter(room, bytes.saturating_sub(marks), Bytes), met: OnceLock::new(), room }
    }

    pub(crate) fn digest(token: &str) -> TokenDigest {
        Sha256::digest(token.as_bytes()).into()
    }

    pub(crate) fn find(&self, digest: &TokenDigest) -> Option<Arc<Proven>> {
        self.kept.get(digest)
    }

    /// Keeps what was proven, from the second time on.
    pub(crate) fn keep(&self, digest: TokenDigest, proven: &Arc<Proven>) {
        if self.has_met(&digest) {
            self.kept.insert(digest, Arc::clone(proven));
        }
    }

    /// Whether it was verified before, as far as is remembered. Threads that come at once may forget one another's: it costs a
    /// verification more.
    fn has_met(&self, digest: &TokenDigest) -> bool {
        let ([place, mark, ..], _) = digest.as_chunks() else { return true };
        let met = self.met.get_or_init(|| repeat_with(Default::default).take(self.room).collect());
        let place = u32::from_le_bytes(*place) as usize % met.len();
        let mut mark = u32::from_le_bytes(*mark) | 1;
        let Some(marks) = met.get(place) else { return true };
        if marks.iter().any(|met| met.load(Ordering::Relaxed) == mark) {
            return true;
        }
        for met in marks {
            mark = met.swap(mark, Ordering::Relaxed);
        }
        false
    }

    pub(crate) fn forget(&self, digest: &TokenDigest) {
        self.kept.remove(digest);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.kept.weight()
    }
}
