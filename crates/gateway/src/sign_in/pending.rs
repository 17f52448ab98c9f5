//! A sign-in that is under way: kept by the browser that began it, so that no other can end it (login CSRF), and used once.
use super::keys::Keys;
use super::{Origin, SignIn, cookies};
use client::PendingAuthorization;
use data_encoding::HEXLOWER;
use decision::Timestamp;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a person may take.
pub(super) const LASTS: i64 = 3_600;
/// So many may be under way in one browser: its tabs sign in each by itself. The oldest is forgotten.
const MOST: usize = 5;

#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) begun: Timestamp,
    /// Where the browser goes on to.
    pub(super) landing: String,
    /// The digest of the claims challenge that it answers.
    pub(super) answers: Option<String>,
    pub(super) authorization: PendingAuthorization,
}

impl Pending {
    /// `Set-Cookie` for it, and for those that it makes one too many.
    pub(super) fn set(
        &self,
        sign_in: &SignIn,
        provider: &str,
        origin: &Origin,
        headers: &HeaderMap,
    ) -> Option<Vec<HeaderValue>> {
        let plain = serde_json::to_vec(self).ok()?;
        let sealed = sign_in.keys.seal(sign_in.random.as_ref(), &origin.pending(provider), &plain)?;
        let name = name(origin, self.authorization.state().expose());
        let mut all = vec![cookies::set(origin, &name, &sealed, Some(LASTS))?];
        // Browsers send what was set first first (RFC 6265 section 5.4).
        let others = cookies::named(headers, &origin.cookie(cookies::PENDING));
        let many = (others.len() + 1).saturating_sub(MOST);
        all.extend(others.iter().take(many).filter_map(|name| cookies::set(origin, name, "", Some(0))));
        Some(all)
    }

    /// The one that this answer belongs to, if this browser began it at this provider not too long ago.
    pub(super) fn open(
        keys: &Keys,
        provider: &str,
        origin: &Origin,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let sealed = cookies::only(headers, &name(origin, state))?;
        let pending: Self = serde_json::from_slice(&keys.open(&origin.pending(provider), sealed)?).ok()?;
        (now.since(pending.begun) < LASTS).then_some(pending)
    }
}

/// `Set-Cookie` that forgets the one with this state.
pub(super) fn forgotten(origin: &Origin, state: &str) -> Option<HeaderValue> {
    cookies::set(origin, &name(origin, state), "", Some(0))
}

fn name(origin: &Origin, state: &str) -> String {
    let mut name = origin.cookie(cookies::PENDING);
    name.extend(HEXLOWER.encode(&Sha256::digest(state)).chars().take(16));
    name
}
