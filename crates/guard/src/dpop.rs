//! Tokens that are bound to a key, and the proofs of it that they come with (DPoP, RFC 9449).
//!
//! ```
//! # use deputize_guard as guard;
//! use jose::{Algorithm, Header, SigningKey, proof};
//! let dpop = guard::Dpop::default();
//! let key = SigningKey::generate(Algorithm::ES256)?;
//! let claims = serde_json::json!({"jti": "1", "htm": "GET", "htu": "https://api.example/a", "iat": 1_500, "ath": proof::digest_of("token")});
//! let text = key.sign(&Header { jwk: Some(key.public_jwk()), ..Header::typ("dpop+jwt") }, claims.to_string().as_bytes())?;
//! let mut headers = http::HeaderMap::new();
//! headers.insert("dpop", text.parse()?);
//! let now = decision::Timestamp(1_510);
//! let shown = dpop.verify(Some("DPoP token"), &headers, "GET", "https://api.example/a?page=2", now).unwrap();
//! assert_eq!(shown.map(|proof| proof.thumbprint().to_owned()), key.public_jwk().thumbprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod address;
mod nonces;
mod spent;

pub use spent::SpentProofs;

use crate::bearer::{self, Scheme};
use decision::{CheckId, Timestamp};
use http::{HeaderMap, HeaderName};
use jose::{Algorithm, Token, proof};
use nonces::Nonces;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The field that carries proofs (RFC 9449 section 4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The field that nonces are given out in (RFC 9449 section 8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How far ahead of ours a caller's clock may be, in seconds.
const AHEAD: i64 = 5;

/// How proofs are judged, and which ones were used. One for all who serve the same callers: a proof is good once.
pub struct Dpop {
    algorithms: Vec<Algorithm>,
    required: bool,
    max_age: i64,
    nonces: Option<Nonces>,
    spent: Arc<SpentProofs>,
    origin: Option<Box<str>>,
}

impl Default for Dpop {
    /// Proofs of every algorithm that are at most a minute old, beside tokens that are bound to nothing.
    fn default() -> Self {
        Self {
            algorithms: Algorithm::ALL.to_vec(),
            required: false,
            max_age: 60,
            nonces: None,
            spent: Arc::new(SpentProofs::new(60, 1 << 20, 1 << 17)),
            origin: None,
        }
    }
}

/// A proof that whoever makes the request holds a key: only verification makes one.
#[derive(Clone)]
pub struct Proof {
    thumbprint: Arc<str>,
    id: spent::Id,
    /// Whether its nonce will not be good for much longer.
    wants_nonce: bool,
}

/// What is wrong with a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFault {
    /// The check that failed.
    pub check: CheckId,
    /// What was found.
    pub found: String,
}

impl ProofFault {
    fn new(check: CheckId, found: impl fmt::Display) -> Self {
        Self { check, found: found.to_string() }
    }

    fn of(found: impl fmt::Display) -> Self {
        Self::new(CheckId::DpopProof, found)
    }
}

impl Dpop {
    /// Takes proofs of these algorithms alone.
    pub fn algorithms(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// Takes tokens alone that are bound to a key.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Takes proofs that are at most so many seconds old.
    pub fn max_age(mut self, seconds: i64) -> Self {
        self.max_age = seconds;
        self.spent = Arc::new(SpentProofs::new(seconds, self.spent.most, self.spent.most_of_key));
        self
    }

    /// Takes proofs alone that have a nonce of ours (RFC 9449 section 8). Who shares the secret takes each other's.
    pub fn nonces(mut self, secret: &[u8; 32]) -> Self {
        self.nonces = Some(Nonces::new(secret));
        self
    }

    /// Remembers at least so many proofs, and of one key so many: when there are more in the time that proofs are good for, further
    /// ones are refused.
    pub fn remembers(mut self, proofs: usize, of_one_key: usize) -> Self {
        self.spent = Arc::new(SpentProofs::new(self.max_age, proofs, of_one_key));
        self
    }

    /// Remembers used proofs with others, and no longer than these do.
    pub fn remembered_by(mut self, spent: Arc<SpentProofs>) -> Self {
        self.max_age = self.max_age.min(spent.max_age());
        self.spent = spent;
        self
    }

    /// What callers know the API by, such as `https://api.example`: for a guard that is a layer, which cannot see it.
    pub fn origin(mut self, origin: impl Into<Box<str>>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Whether tokens that are bound to no key are refused.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// The algorithms, with spaces between: `algs` of a challenge.
    pub fn algs(&self) -> String {
        self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The algorithms that are taken.
    pub fn taken(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// A nonce for the next proof, where they are wanted.
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.at(now))
    }

    /// A nonce for the answer, where that of this proof will not be good for much longer.
    pub fn next_nonce(&self, proof: &Proof, now: Timestamp) -> Option<String> {
        self.nonce(now).filter(|_| proof.wants_nonce)
    }

    pub(crate) fn own_origin(&self) -> &str {
        self.origin.as_deref().unwrap_or_default()
    }

    /// Verifies the proof that a token comes with; `None` where it does not come as `DPoP`. `uri` is the request's address as its
    /// caller knows it. That the proof is used once, [`spend`](Self::spend) sees to, when the token has been verified.
    ///
    /// # Errors
    /// If there is no good proof, or several.
    pub fn verify(
        &self,
        authorization: Option<&str>,
        headers: &HeaderMap,
        method: &str,
        uri: &str,
        now: Timestamp,
    ) -> Result<Option<Proof>, ProofFault> {
        // What cannot be read is for the reader of tokens to refuse.
        let Ok((Scheme::Dpop, token)) = bearer::credential(authorization) else { return Ok(None) };
        let mut fields = headers.get_all(DPOP).iter();
        let text = match (fields.next(), fields.next()) {
            (None, _) => return Err(ProofFault::of("no `DPoP` field")),
            (Some(_), Some(_)) => return Err(ProofFault::of("more than one `DPoP` field")),
            (Some(field), None) => field.to_str().map_err(|_| ProofFault::of("a `DPoP` field that is not ASCII"))?,
        };
        let proof = proof::verify(text, &self.algorithms).map_err(ProofFault::of)?;
        if proof.htm != method {
            return Err(ProofFault::of("a proof for another method"));
        }
        if !address::is_same(&proof.htu, uri) {
            return Err(ProofFault::of("a proof for another address"));
        }
        if proof.ath.as_deref() != Some(&*proof::digest_of(token)) {
            return Err(ProofFault::of("a proof for another token"));
        }
        let age = now.since(proof.iat);
        if !(-AHEAD..=self.max_age).contains(&age) {
            let found =
                format!("a proof that was made {} at {now}; at most {} s may lie between", proof.iat, self.max_age);
            return Err(ProofFault::of(found));
        }
        if !is_good_by_itself(text, now) {
            return Err(ProofFault::of("a proof that is not good now by its own `exp` or `nbf`"));
        }
        if !self.spent.covers(proof.iat) {
            return Err(ProofFault::of("a proof from before proofs were good for so long"));
        }
        let wants_nonce = match &self.nonces {
            None => false,
            Some(nonces) => {
                let age = proof.nonce.as_deref().and_then(|nonce| nonces.age(nonce, now));
                let age = age.filter(|age| (-AHEAD..=nonces::LIFE).contains(age));
                let found =
                    if proof.nonce.is_none() { "a proof without nonce" } else { "a nonce that is not good now" };
                age.ok_or_else(|| ProofFault::new(CheckId::DpopNonce, found))? > nonces::LIFE / 2
            }
        };
        Ok(Some(Proof {
            id: spent::Id::of(&proof.thumbprint, &proof.jti),
            thumbprint: proof.thumbprint.into(),
            wants_nonce,
        }))
    }

    /// Uses a proof up, once the token that it comes with has been verified: so that strangers cannot fill the store.
    ///
    /// # Errors
    /// If it was used before, or so many were that this cannot be told.
    pub fn spend(&self, proof: &Proof, now: Timestamp) -> Result<(), ProofFault> {
        self.spent.spend(&proof.id, now).map_err(|refused| match refused {
            spent::Refused::Before => ProofFault::new(CheckId::DpopOnce, "a proof that was used before"),
            spent::Refused::Full => ProofFault::new(CheckId::DpopCapacity, "more proofs than are remembered"),
        })
    }
}

/// Whether a proof, which has been verified, is good now by what it says itself, if it does (RFC 7519 sections 4.1.4 and 4.1.5).
fn is_good_by_itself(text: &str, now: Timestamp) -> bool {
    let Ok(claims) = Token::parse(text).and_then(|token| token.peek()) else { return false };
    #[expect(clippy::cast_possible_truncation, reason = "cut off on purpose, and what is out of range is at its end")]
    let cut = |value: &Value| value.as_f64().map(|seconds| seconds.floor() as i64);
    let seconds = |value: &Value| value.as_i64().or_else(|| cut(value));
    let lasts = claims.get("exp").is_none_or(|exp| seconds(exp).is_some_and(|ends| now.0 < ends));
    let began = claims.get("nbf").is_none_or(|nbf| seconds(nbf).is_some_and(|begins| begins <= now.plus(AHEAD).0));
    lasts && began
}

impl Proof {
    /// The SHA-256 thumbprint of the key (RFC 7638), in base64url: a token's `cnf.jkt`.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("algorithms", &self.algorithms)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
