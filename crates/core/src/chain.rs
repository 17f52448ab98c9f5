//! The chain behind a user's token: its root session, how strongly the user authenticated, and who acted since.
//!
//! It travels in every user token as one opaque claim, so that limits and audit hold in either profile.
use crate::id::{AppId, FamilyId, SessionId};
use crate::ledger::Proven;
use decision::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const VERSION: u8 = 2;
/// Authentication methods (RFC 8176) that a chain can tell of, by bit.
const METHODS: [&str; 5] = ["pwd", "mfa", "otp", "swk", "fed"];

/// A chain has at most nine links, and each adds at most one authorization.
const MAX_GRANTS: usize = 9;

/// The state of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The session it starts with.
    pub session: SessionId,
    /// Nothing in the chain outlives this moment.
    pub session_ends: Timestamp,
    /// When the user proved who they are.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// When they last showed a second factor.
    pub mfa_time: Option<Timestamp>,
    /// Authentication contexts satisfied, `c1` ... `c99`.
    pub acrs: Vec<String>,
    /// The authorizations it rests on, nearest first: each is a family of refresh tokens, and revoking one ends all of this.
    pub grants: Vec<FamilyId>,
    /// Who acted, nearest first; the last is the client that the user signed in to.
    pub actors: Vec<AppId>,
}

impl Chain {
    /// What the user had proven when it was sealed.
    pub fn proven(&self) -> Proven {
        Proven { amr: self.amr.clone(), mfa_time: self.mfa_time }
    }

    /// On-Behalf-Of hops so far.
    pub fn hops(&self) -> usize {
        self.actors.len().saturating_sub(1)
    }

    /// The compact form that is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.session.0.as_bytes());
        bytes.extend(self.session_ends.0.to_be_bytes());
        bytes.extend(self.auth_time.0.to_be_bytes());
        bytes.extend(self.mfa_time.map_or(i64::MIN, |at| at.0).to_be_bytes());
        let known = |method: &&str| self.amr.iter().any(|amr| amr == *method);
        bytes.push(METHODS.iter().enumerate().filter(|(_, m)| known(m)).fold(0, |bits, (n, _)| bits | 1 << n));
        let contexts: Vec<u8> = self.acrs.iter().filter_map(|c| c.strip_prefix('c')?.parse().ok()).collect();
        bytes.push(u8::try_from(contexts.len()).unwrap_or(0));
        bytes.extend(contexts);
        let grants = self.grants.get(..MAX_GRANTS).unwrap_or(&self.grants);
        bytes.push(u8::try_from(grants.len()).unwrap_or(0));
        bytes.extend(grants.iter().flat_map(|grant| *grant.0.as_bytes()));
        bytes.extend(self.actors.iter().flat_map(|actor| *actor.0.as_bytes()));
        bytes
    }

    /// Reads the compact form; `None` if it is of another version or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (ends, rest) = rest.split_first_chunk::<8>()?;
        let (auth_time, rest) = rest.split_first_chunk::<8>()?;
        let (mfa_time, rest) = rest.split_first_chunk::<8>()?;
        let mfa_time = i64::from_be_bytes(*mfa_time);
        let (methods, rest) = rest.split_first()?;
        let (contexts, rest) = rest.split_first()?;
        let (contexts, rest) = rest.split_at_checked(usize::from(*contexts))?;
        let (grants, rest) = rest.split_first()?;
        let (grants, rest) = rest.split_at_checked(usize::from(*grants) * 16)?;
        let ids =
            |bytes: &[u8]| -> Vec<Uuid> { bytes.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect() };
        (*version == VERSION && rest.len().is_multiple_of(16)).then(|| Self {
            session: SessionId(Uuid::from_bytes(*session)),
            session_ends: Timestamp(i64::from_be_bytes(*ends)),
            auth_time: Timestamp(i64::from_be_bytes(*auth_time)),
            amr: METHODS
                .iter()
                .enumerate()
                .filter(|(n, _)| methods >> n & 1 == 1)
                .map(|(_, m)| (*m).to_owned())
                .collect(),
            mfa_time: (mfa_time != i64::MIN).then_some(Timestamp(mfa_time)),
            acrs: contexts.iter().map(|context| format!("c{context}")).collect(),
            grants: ids(grants).into_iter().map(FamilyId).collect(),
            actors: ids(rest).into_iter().map(AppId).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;
    use crate::id::{AppId, FamilyId, SessionId};
    use decision::Timestamp;
    use uuid::Uuid;

    #[test]
    fn what_is_encoded_is_decoded_and_damage_is_noticed() {
        let chain = Chain {
            session: SessionId(Uuid::from_u128(7)),
            session_ends: Timestamp(2_000_000_000),
            auth_time: Timestamp(1_900_000_000),
            amr: vec!["pwd".into(), "mfa".into()],
            mfa_time: Some(Timestamp(1_900_000_030)),
            acrs: vec!["c1".into(), "c99".into()],
            grants: vec![FamilyId(Uuid::from_u128(8)), FamilyId(Uuid::from_u128(9))],
            actors: vec![AppId(Uuid::from_u128(1)), AppId(Uuid::from_u128(2))],
        };
        let bytes = chain.encode();
        assert_eq!(Chain::decode(&bytes), Some(chain));
        for cut in 0..bytes.len() {
            assert_ne!(Chain::decode(&bytes[..cut]).map(|c| c.actors.len()), Some(2), "cut at {cut}");
        }
    }
}
