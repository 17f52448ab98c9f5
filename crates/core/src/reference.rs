//! Opaque names, each for one audience: two APIs cannot tell from them that they serve the same user or the same sign-in.
//!
//! A token carries those of its session and its authorizations in `rh`, and a cut-off names them in the same way.
use crate::chain::Chain;
use crate::id::{AppId, FamilyId, SessionId, TenantId, UserId};
use crate::ports::Crypto;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `sub` of a user at an audience.
pub(crate) fn user(crypto: &dyn Crypto, tenant: TenantId, user: UserId, audience: AppId) -> String {
    URL_SAFE_NO_PAD.encode(crypto.keyed_digest(&format!("sub\0{tenant}\0{user}\0{audience}")).0)
}

/// A session's name for an audience.
pub(crate) fn session(crypto: &dyn Crypto, session: SessionId, audience: AppId) -> String {
    short(crypto, &format!("session\0{session}\0{audience}"))
}

/// An authorization's name for an audience.
pub(crate) fn grant(crypto: &dyn Crypto, family: FamilyId, audience: AppId) -> String {
    short(crypto, &format!("grant\0{family}\0{audience}"))
}

fn short(crypto: &dyn Crypto, text: &str) -> String {
    let digest = crypto.keyed_digest(text).0;
    URL_SAFE_NO_PAD.encode(digest.first_chunk::<16>().unwrap_or(&[0; 16]))
}

/// `rh`: `1.{the newest change that the decision saw}`, and for user tokens `.{session}.{authorization}...`.
pub(crate) fn rh(
    crypto: &dyn Crypto,
    view: u64,
    chain: Option<&Chain>,
    grants: &[FamilyId],
    audience: AppId,
) -> String {
    let mut text = format!("1.{view}");
    if let Some(chain) = chain {
        let grants = grants.iter().map(|family| grant(crypto, *family, audience));
        for name in std::iter::once(session(crypto, chain.session, audience)).chain(grants) {
            text.push('.');
            text.push_str(&name);
        }
    }
    text
}
