//! Why a token is refused, and which check that is.
use crate::{Algorithm, JsonFault};
use decision::CheckId;
use std::fmt;
use thiserror::Error;

/// One of the three segments of a compact JWS (RFC 7515 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The JOSE header.
    Header,
    /// The claims.
    Payload,
    /// The signature.
    Signature,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Why a token is refused: a variant for each thing that can be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Larger than [`crate::MAX_TOKEN`].
    #[error("the token is larger than {} bytes; ask for fewer claims in it", crate::MAX_TOKEN)]
    TooLarge,
    /// Not three segments.
    #[error("the token is not three non-empty segments; send a signed JWT in compact form")]
    Segments,
    /// Five segments: a JWE.
    #[error("the token is encrypted; send one that is only signed")]
    Encrypted,
    /// A segment that is not canonical base64url.
    #[error("the {0} is not canonical unpadded base64url; send the token exactly as it was received")]
    Encoding(Segment),
    /// A header that is not strict JSON.
    #[error("the header is {0}")]
    Header(JsonFault),
    /// A header parameter that is not a string.
    #[error("the header parameter `{0}` is not a string")]
    HeaderMember(&'static str),
    /// `crit` or `b64`: an extension that is not implemented (RFC 7515 section 4.1.11, RFC 7797).
    #[error("the header has `{0}`; no extension is implemented")]
    Extension(&'static str),
    /// `cty: JWT` (RFC 7519 section 5.2).
    #[error("the token holds another token; send the inner one")]
    Nested,
    /// No `alg`, or one that is not a string.
    #[error("the header names no algorithm")]
    AlgorithmMissing,
    /// An `alg` other than the one bound to the key.
    #[error("the algorithm is not {bound}, which is bound to the key")]
    Algorithm {
        /// The name of the algorithm that is bound to the key.
        bound: &'static str,
    },
    /// No `kid`.
    #[error("the header names no key")]
    KeyMissing,
    /// A `kid` that is none of the issuer's.
    #[error("the header names a key that the issuer does not have")]
    KeyUnknown,
    /// The signature does not hold.
    #[error("the signature is not valid")]
    Signature,
    /// Claims that are not strict JSON.
    #[error("the claims are {0}")]
    Claims(JsonFault),
    /// Claims that are JSON of another shape than was asked for.
    #[error("a claim is missing or of the wrong type")]
    Shape,
}

impl Refusal {
    pub(crate) const fn algorithm(bound: Algorithm) -> Self {
        Self::Algorithm { bound: bound.as_str() }
    }

    /// The check that failed.
    pub const fn check(&self) -> CheckId {
        match self {
            Self::TooLarge => CheckId::TokenSize,
            Self::Segments
            | Self::Encrypted
            | Self::Encoding(_)
            | Self::Header(_)
            | Self::HeaderMember(_)
            | Self::Extension(_)
            | Self::Nested => CheckId::TokenForm,
            Self::AlgorithmMissing | Self::Algorithm { .. } => CheckId::TokenAlgorithm,
            Self::KeyMissing | Self::KeyUnknown => CheckId::TokenKey,
            Self::Signature => CheckId::TokenSignature,
            Self::Claims(_) | Self::Shape => CheckId::TokenClaims,
        }
    }
}
