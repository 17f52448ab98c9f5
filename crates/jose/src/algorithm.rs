//! The signature algorithms of JWS (RFC 7518 section 3.1, RFC 8037): asymmetric only.
use crate::KeyError;
use aws_lc_rs::signature;
use std::fmt;
use std::str::FromStr;

/// How a key signs. A key is bound to exactly one.
#[expect(missing_docs, reason = "the names are those of RFC 7518 section 3.1 and RFC 8037 section 3.1")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// The name in a header's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether RSA keys sign with it.
    pub(crate) fn is_rsa(self) -> bool {
        matches!(self.scheme(), Scheme::Rsa(..))
    }

    pub(crate) fn scheme(self) -> Scheme {
        use signature as s;
        match self {
            Self::RS256 => Scheme::Rsa(&s::RSA_PKCS1_2048_8192_SHA256, &s::RSA_PKCS1_SHA256),
            Self::RS384 => Scheme::Rsa(&s::RSA_PKCS1_2048_8192_SHA384, &s::RSA_PKCS1_SHA384),
            Self::RS512 => Scheme::Rsa(&s::RSA_PKCS1_2048_8192_SHA512, &s::RSA_PKCS1_SHA512),
            Self::PS256 => Scheme::Rsa(&s::RSA_PSS_2048_8192_SHA256, &s::RSA_PSS_SHA256),
            Self::PS384 => Scheme::Rsa(&s::RSA_PSS_2048_8192_SHA384, &s::RSA_PSS_SHA384),
            Self::PS512 => Scheme::Rsa(&s::RSA_PSS_2048_8192_SHA512, &s::RSA_PSS_SHA512),
            Self::ES256 => Scheme::Ecdsa(Curve::P256, &s::ECDSA_P256_SHA256_FIXED, &s::ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::ES384 => Scheme::Ecdsa(Curve::P384, &s::ECDSA_P384_SHA384_FIXED, &s::ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::ES512 => Scheme::Ecdsa(Curve::P521, &s::ECDSA_P521_SHA512_FIXED, &s::ECDSA_P521_SHA512_FIXED_SIGNING),
            Self::EdDSA => Scheme::Ed25519,
        }
    }
}

/// What an algorithm is made of in aws-lc-rs.
pub(crate) enum Scheme {
    Rsa(&'static signature::RsaParameters, &'static signature::RsaSignatureEncoding),
    Ecdsa(Curve, &'static signature::EcdsaVerificationAlgorithm, &'static signature::EcdsaSigningAlgorithm),
    Ed25519,
}

/// The curves of RFC 7518 section 6.2.1.1; each serves one algorithm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Octets of a coordinate.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn named(name: &str) -> Option<(Self, Algorithm)> {
        match name {
            "P-256" => Some((Self::P256, Algorithm::ES256)),
            "P-384" => Some((Self::P384, Algorithm::ES384)),
            "P-521" => Some((Self::P521, Algorithm::ES512)),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    /// Byte-exact: `rs256` is not an algorithm.
    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|a| a.as_str() == name).ok_or(KeyError::AlgorithmUnknown)
    }
}
