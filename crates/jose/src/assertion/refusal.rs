//! Why a client assertion is refused, and which check that is.
use super::ChainFault;
use crate::Refusal;
use decision::CheckId;
use thiserror::Error;

/// Why a client assertion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssertionRefusal {
    /// The form, the signature or the JSON of the token.
    #[error("{0}")]
    Token(Refusal),
    /// Another kind of token.
    #[error("the header's `typ` must be 'JWT' or 'http://openid.net/specs/jwt/1.0', or be left out")]
    Type,
    /// Neither RS256 nor PS256.
    #[error("the algorithm must be RS256 or PS256")]
    Algorithm,
    /// No thumbprint.
    #[error("the header names no certificate; add `x5t#S256` (or `x5t`, or either of them as `kid`)")]
    Thumbprint,
    /// A thumbprint of no registered certificate.
    #[error("the thumbprint is that of no certificate of this application; register the certificate")]
    Certificate,
    /// A chain of certificates that leads to no trusted subject.
    #[error("{0}")]
    Chain(ChainFault),
    /// A claim that is missing or malformed.
    #[error("the claim `{0}` is missing or malformed")]
    Claim(&'static str),
}

impl AssertionRefusal {
    /// The check that failed.
    pub const fn check(&self) -> CheckId {
        match self {
            Self::Type => CheckId::ClientAssertionTyped,
            Self::Algorithm => CheckId::ClientAssertionAlgorithm,
            Self::Thumbprint | Self::Certificate => CheckId::ClientAssertionKey,
            Self::Chain(fault) => fault.check(),
            Self::Claim(_) => CheckId::ClientAssertionClaims,
            Self::Token(refusal) => match refusal {
                Refusal::AlgorithmMissing | Refusal::Algorithm { .. } => CheckId::ClientAssertionAlgorithm,
                Refusal::KeyMissing | Refusal::KeyUnknown => CheckId::ClientAssertionKey,
                Refusal::Signature => CheckId::ClientAssertionSignature,
                Refusal::TooLarge
                | Refusal::Segments
                | Refusal::Encrypted
                | Refusal::Encoding(_)
                | Refusal::Header(_)
                | Refusal::HeaderMember(_)
                | Refusal::Extension(_)
                | Refusal::Nested
                | Refusal::Claims(_)
                | Refusal::Shape => CheckId::ClientAssertionClaims,
            },
        }
    }
}
