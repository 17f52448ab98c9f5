//! A private key, parsed once and bound to one algorithm.
mod private_jwk;
#[cfg(test)]
mod tests;

use crate::algorithm::Scheme;
use crate::verifying_key::{certificate_jwk, ec_jwk, okp_jwk, rsa_jwk, x5t, x5t_s256};
use crate::{Algorithm, Header, Jwk, KeyError, SignError, VerifyingKey, base64url, json};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaSignatureEncoding};
use decision::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use std::fmt;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

/// A private key that signs with exactly one algorithm.
///
/// ```
/// use jose::{Algorithm, Header, SigningKey};
/// let key = SigningKey::generate(Algorithm::PS256)?;
/// let token = key.sign(&Header::typ("JWT"), br#"{"iss":"https://login.example"}"#)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
    pkcs8: Vec<u8>,
    jwk: Jwk,
    kid: String,
    certificate: Option<Vec<u8>>,
}

enum Pair {
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a new key; RSA with 2048 bits.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let (pair, pkcs8) = match algorithm.scheme() {
            Scheme::Rsa(_, padding) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
                let der = rsa_pkcs8(&pair)?;
                (Pair::Rsa(pair, padding), der)
            }
            Scheme::Ecdsa(_, _, signing) => {
                let pair = EcdsaKeyPair::generate(signing).map_err(|_| KeyError::Generate)?;
                let der = ec_pkcs8(&pair)?;
                (Pair::Ecdsa(pair), der)
            }
            Scheme::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
                let der = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?.as_ref().to_vec();
                (Pair::Ed25519(pair), der)
            }
        };
        Self::assemble(algorithm, pair, pkcs8)
    }

    /// Reads a private key from PKCS#8 (RFC 5208) in DER.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let pair = match algorithm.scheme() {
            Scheme::Rsa(_, padding) => {
                Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::PrivateKey)?, padding)
            }
            Scheme::Ecdsa(_, _, signing) => {
                Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(signing, der).map_err(|_| KeyError::PrivateKey)?)
            }
            // "Maybe unchecked": files of other programs lack the public half, from which there is nothing to check.
            Scheme::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::PrivateKey)?)
            }
        };
        Self::assemble(algorithm, pair, der.to_vec())
    }

    /// Reads the first private key of a PEM text, in PKCS#8, PKCS#1 or SEC1; other blocks are ignored.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Pem)? {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(algorithm, der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => {
                let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| KeyError::PrivateKey)?;
                Self::from_pkcs8(algorithm, &rsa_pkcs8(&pair)?)
            }
            PrivateKeyDer::Sec1(der) => {
                let Scheme::Ecdsa(_, _, signing) = algorithm.scheme() else { return Err(KeyError::PrivateKey) };
                let pair = EcdsaKeyPair::from_private_key_der(signing, der.secret_sec1_der())
                    .map_err(|_| KeyError::PrivateKey)?;
                let der = ec_pkcs8(&pair)?;
                Self::assemble(algorithm, Pair::Ecdsa(pair), der)
            }
            _ => Err(KeyError::Pem),
        }
    }

    fn assemble(algorithm: Algorithm, pair: Pair, pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let mut jwk = match (&pair, algorithm.scheme()) {
            (Pair::Rsa(pair, _), _) => {
                let (_, public) =
                    RSAPublicKey::from_der(pair.public_key().as_ref()).map_err(|_| KeyError::PrivateKey)?;
                rsa_jwk(public.modulus, public.exponent)
            }
            (Pair::Ecdsa(pair), Scheme::Ecdsa(curve, ..)) => ec_jwk(curve, pair.public_key().as_ref())?,
            (Pair::Ed25519(pair), _) => okp_jwk(pair.public_key().as_ref()),
            (Pair::Ecdsa(_), _) => return Err(KeyError::AlgorithmMismatch),
        };
        jwk.alg = Some(algorithm.to_string());
        jwk.use_ = Some("sig".to_owned());
        // What nobody would accept is not signed with: the rules for import hold for our own keys too.
        let kid = VerifyingKey::from_jwk(&jwk, None)?.kid().to_owned();
        jwk.kid = Some(kid.clone());
        Ok(Self { algorithm, pair, pkcs8, jwk, kid, certificate: None })
    }

    /// The private key in PKCS#8, to be sealed at rest and for nothing else.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The one algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name: its RFC 7638 thumbprint, or its certificate's, or what it was given.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// This key under another name.
    pub fn named(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self.jwk.kid = Some(self.kid.clone());
        self
    }

    /// This key with its certificate: it is named by the thumbprint and published with `x5t` and `x5c`, as Entra does.
    /// A certificate of another key would make every reader of `x5c` refuse what this one signs.
    pub fn with_certificate(mut self, der: Vec<u8>) -> Result<Self, KeyError> {
        // RFC 7638 takes of a key just what its SubjectPublicKeyInfo holds.
        if certificate_jwk(&der, self.algorithm)?.thumbprint() != self.jwk.thumbprint() {
            return Err(KeyError::CertificateOfAnotherKey);
        }
        self.jwk.x5t = Some(x5t(&der));
        self.jwk.x5t_s256 = Some(x5t_s256(&der));
        self.jwk.x5c = Some(vec![base64url::encode_standard(&der)]);
        self.certificate = Some(der);
        let kid = self.jwk.x5t.clone().unwrap_or_default();
        Ok(self.named(kid))
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Makes a certificate for this key, signed by itself, in DER.
    pub fn self_signed(
        &self,
        common_name: &str,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Vec<u8>, KeyError> {
        const LAST: i64 = 253_402_300_799;
        if not_before.0 < 0 || not_after.0 > LAST || not_before >= not_after {
            return Err(KeyError::Dates);
        }
        let moment =
            |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(at.0.unsigned_abs());
        let algorithm = match self.algorithm {
            Algorithm::RS256 | Algorithm::PS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::RS384 | Algorithm::PS384 => &rcgen::PKCS_RSA_SHA384,
            Algorithm::RS512 | Algorithm::PS512 => &rcgen::PKCS_RSA_SHA512,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Algorithm::ES512 => &rcgen::PKCS_ECDSA_P521_SHA512,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
        };
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(self.pkcs8()), algorithm)
            .map_err(|_| KeyError::PrivateKey)?;
        let mut parameters = rcgen::CertificateParams::default();
        parameters.not_before = moment(not_before);
        parameters.not_after = moment(not_after);
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let certificate = parameters.self_signed(&pair).map_err(|_| KeyError::Generate)?;
        Ok(certificate.der().to_vec())
    }

    /// The public half, to be published.
    pub fn public_jwk(&self) -> Jwk {
        self.jwk.clone()
    }

    /// The public half, to verify with.
    #[expect(clippy::expect_used, reason = "`assemble` has imported the same members; only names were added since")]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::from_jwk(&self.jwk, None).expect("the key was imported when it was read")
    }

    /// Signs claims, which must be a JSON object, into a compact JWS (RFC 7515 section 7.1).
    pub fn sign(&self, header: &Header, claims: &[u8]) -> Result<String, SignError> {
        #[derive(Serialize)]
        struct Whole<'a> {
            alg: &'static str,
            kid: &'a str,
            #[serde(flatten)]
            rest: &'a Header,
        }
        json::check(claims).map_err(SignError::Claims)?;
        let whole = Whole { alg: self.algorithm.as_str(), kid: &self.kid, rest: header };
        let header = serde_json::to_vec(&whole).map_err(|_| SignError::Failed)?;
        self.sign_octets(&header, claims)
    }

    /// Signs any header and any payload.
    pub(crate) fn sign_octets(&self, header: &[u8], payload: &[u8]) -> Result<String, SignError> {
        let mut token = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
        let signature = self.sign_message(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(signature));
        Ok(token)
    }

    pub(crate) fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature).map_err(|_| SignError::Failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => {
                pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| SignError::Failed)
            }
            Pair::Ed25519(pair) => pair.try_sign(message).map(|s| s.as_ref().to_vec()).map_err(|_| SignError::Failed),
        }
    }
}

/// What no honest issuer does, for the corpus.
#[cfg(any(test, feature = "corpus"))]
impl SigningKey {
    /// RSASSA-PSS with SHA-256 and no salt.
    pub(crate) fn sign_unsalted(&self, message: &[u8]) -> Vec<u8> {
        use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaPssSaltLength};
        let Pair::Rsa(pair, _) = &self.pair else { return Vec::new() };
        let mut signature = vec![0; pair.public_modulus_len()];
        let padding: &'static RsaSignatureEncoding =
            &const { RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(0)) };
        let signed = pair.sign(padding, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).unwrap_or_default()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn rsa_pkcs8(pair: &RsaKeyPair) -> Result<Vec<u8>, KeyError> {
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::PrivateKey)?;
    Ok(der.as_ref().to_vec())
}

fn ec_pkcs8(pair: &EcdsaKeyPair) -> Result<Vec<u8>, KeyError> {
    Ok(pair.to_pkcs8v1().map_err(|_| KeyError::PrivateKey)?.as_ref().to_vec())
}
