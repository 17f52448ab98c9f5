//! A public key, parsed once and bound to one algorithm.
use crate::algorithm::{Curve, Scheme};
use crate::{Algorithm, Jwk, KeyError, base64url, rsa};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use std::fmt;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A public key that verifies signatures of exactly one algorithm.
///
/// The binding is what refuses algorithm confusion: a token's `alg` must equal the key's, whatever the header says.
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: String,
    issuer: Option<String>,
    public: ParsedPublicKey,
}

impl VerifyingKey {
    /// Imports a JWK (RFC 7517). Its own `alg` binds it, else the curve, else `default_alg`. Without `kid` it is named by
    /// its thumbprint (RFC 7638).
    pub fn from_jwk(jwk: &Jwk, default_alg: Option<Algorithm>) -> Result<Self, KeyError> {
        let algorithm = bound_algorithm(jwk, default_alg)?;
        check_use(jwk)?;
        let public = match algorithm.scheme() {
            Scheme::Rsa(parameters, _) => {
                let (n, e) = (member("n", jwk.n.as_ref())?, member("e", jwk.e.as_ref())?);
                if n.first() == Some(&0) {
                    return Err(KeyError::Member("n"));
                }
                rsa::check(&n, &e)?;
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| KeyError::Malformed)?
            }
            Scheme::Ecdsa(curve, verification, _) => {
                let (x, y) = (member("x", jwk.x.as_ref())?, member("y", jwk.y.as_ref())?);
                if x.len() != curve.width() || y.len() != curve.width() {
                    return Err(KeyError::Point);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                ParsedPublicKey::new(verification, point).map_err(|_| KeyError::Point)?
            }
            Scheme::Ed25519 => {
                let x = member("x", jwk.x.as_ref())?;
                // Checked here, for a DER structure would be taken too.
                if x.len() != 32 {
                    return Err(KeyError::Point);
                }
                ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyError::Point)?
            }
        };
        let kid = jwk.kid.clone().or_else(|| jwk.thumbprint()).ok_or(KeyError::Malformed)?;
        Ok(Self { algorithm, kid, issuer: jwk.issuer.clone(), public })
    }

    /// Imports the public key of a certificate; it is named by the certificate's SHA-1 thumbprint (`x5t`).
    pub fn from_certificate_der(der: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut jwk = certificate_jwk(der, algorithm)?;
        jwk.kid = Some(x5t(der));
        Self::from_jwk(&jwk, Some(algorithm))
    }

    /// The one algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Entra's per-key issuer, possibly with `{tenantid}` in it.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }

    /// The public key as an X.509 SubjectPublicKeyInfo.
    #[cfg(any(test, feature = "corpus"))]
    pub(crate) fn spki(&self) -> Vec<u8> {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let der: Result<PublicKeyX509Der<'_>, _> = self.public.as_der();
        der.map(|d| d.as_ref().to_vec()).unwrap_or_default()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

fn bound_algorithm(jwk: &Jwk, default: Option<Algorithm>) -> Result<Algorithm, KeyError> {
    let stated = jwk.alg.as_deref().map(str::parse::<Algorithm>).transpose()?;
    match jwk.kty.as_str() {
        "RSA" => match stated.or(default.filter(|a| matches!(a.scheme(), Scheme::Rsa(..)))) {
            Some(algorithm) if matches!(algorithm.scheme(), Scheme::Rsa(..)) => Ok(algorithm),
            Some(_) => Err(KeyError::AlgorithmMismatch),
            None => Err(KeyError::AlgorithmMissing),
        },
        "EC" | "OKP" => {
            let crv = jwk.crv.as_deref().ok_or(KeyError::Member("crv"))?;
            let bound = match jwk.kty.as_str() {
                "EC" => Curve::named(crv).map(|(_, algorithm)| algorithm),
                _ => (crv == "Ed25519").then_some(Algorithm::EdDSA),
            };
            let bound = bound.ok_or(KeyError::Member("crv"))?;
            if stated.is_none_or(|s| s == bound) { Ok(bound) } else { Err(KeyError::AlgorithmMismatch) }
        }
        "oct" => Err(KeyError::Symmetric),
        _ => Err(KeyError::Member("kty")),
    }
}

fn check_use(jwk: &Jwk) -> Result<(), KeyError> {
    if jwk.use_.as_deref().is_some_and(|u| u != "sig") {
        return Err(KeyError::Use);
    }
    let Some(operations) = &jwk.key_ops else { return Ok(()) };
    let verifies = operations.iter().any(|o| o == "verify");
    if verifies && operations.iter().all(|o| o == "verify" || o == "sign") { Ok(()) } else { Err(KeyError::Operations) }
}

fn member(name: &'static str, value: Option<&String>) -> Result<Vec<u8>, KeyError> {
    let octets = value.and_then(|v| base64url::decode(v)).ok_or(KeyError::Member(name))?;
    if octets.is_empty() { Err(KeyError::Member(name)) } else { Ok(octets) }
}

/// The public key that a certificate holds (RFC 5280 section 4.1.2.7), where it is of the algorithm's kind.
pub(crate) fn certificate_jwk(der: &[u8], algorithm: Algorithm) -> Result<Jwk, KeyError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| KeyError::Certificate)?;
    if !rest.is_empty() {
        return Err(KeyError::Certificate);
    }
    let spki = certificate.public_key();
    match (spki.parsed().map_err(|_| KeyError::Certificate)?, algorithm.scheme()) {
        (PublicKey::RSA(key), Scheme::Rsa(..)) => Ok(rsa_jwk(key.modulus, key.exponent)),
        (PublicKey::EC(point), Scheme::Ecdsa(curve, ..)) => ec_jwk(curve, point.data()),
        (_, Scheme::Ed25519) if spki.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
            Ok(okp_jwk(&spki.subject_public_key.data))
        }
        _ => Err(KeyError::AlgorithmMismatch),
    }
}

pub(crate) fn rsa_jwk(modulus: &[u8], exponent: &[u8]) -> Jwk {
    let plain = |number: &[u8]| {
        let zeros = number.iter().take_while(|o| **o == 0).count();
        Some(base64url::encode(number.get(zeros..).unwrap_or_default()))
    };
    Jwk { kty: "RSA".to_owned(), n: plain(modulus), e: plain(exponent), ..Jwk::default() }
}

/// From an uncompressed point (SEC 1 section 2.3.3).
pub(crate) fn ec_jwk(curve: Curve, point: &[u8]) -> Result<Jwk, KeyError> {
    let (x, y) = match point.split_first() {
        Some((4, coordinates)) if coordinates.len() == 2 * curve.width() => coordinates.split_at(curve.width()),
        _ => return Err(KeyError::Point),
    };
    let (x, y) = (Some(base64url::encode(x)), Some(base64url::encode(y)));
    Ok(Jwk { kty: "EC".to_owned(), crv: Some(curve.name().to_owned()), x, y, ..Jwk::default() })
}

pub(crate) fn okp_jwk(public: &[u8]) -> Jwk {
    let x = Some(base64url::encode(public));
    Jwk { kty: "OKP".to_owned(), crv: Some("Ed25519".to_owned()), x, ..Jwk::default() }
}

/// SHA-1 thumbprint of a certificate (RFC 7515 section 4.1.7).
pub(crate) fn x5t(der: &[u8]) -> String {
    base64url::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der))
}

/// SHA-256 thumbprint of a certificate (RFC 7515 section 4.1.8).
pub(crate) fn x5t_s256(der: &[u8]) -> String {
    base64url::encode(digest(&SHA256, der))
}
