//! Why a key is refused, and why signing failed.
use thiserror::Error;

/// Why a key or certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// An algorithm that is none of [`crate::Algorithm`].
    #[error("the algorithm is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA")]
    AlgorithmUnknown,
    /// An RSA key without `alg`, and no default.
    #[error("the key states no `alg`; bind one in the issuer's configuration")]
    AlgorithmMissing,
    /// `alg` and the kind of key or curve do not go together.
    #[error("the algorithm does not fit the kind of key or its curve")]
    AlgorithmMismatch,
    /// A symmetric key among public ones.
    #[error("the key is symmetric; a key set holds public keys only")]
    Symmetric,
    /// A private member among public ones (RFC 7518 section 6).
    #[error("the key holds private members; remove them and replace the key, for it is no longer secret")]
    Private,
    /// `use` other than `sig`.
    #[error("`use` is not `sig`")]
    Use,
    /// `key_ops` without `verify`, or with operations that conflict (RFC 7517 section 4.3).
    #[error("`key_ops` does not allow to verify, or conflicts with `use`")]
    Operations,
    /// A member that is missing or malformed.
    #[error("the member `{0}` is missing or malformed")]
    Member(&'static str),
    /// A JWK that is not an object with members of the right types.
    #[error("the key is not a JSON Web Key")]
    Malformed,
    /// RSA below 2048 bits, or above 8192.
    #[error("the RSA modulus has fewer than 2048 or more than 8192 bits")]
    Size,
    /// An even modulus, or an exponent that is even or below 65537.
    #[error("the RSA modulus is even, or the exponent is even or below 65537")]
    Exponent,
    /// The fingerprint of CVE-2017-15361.
    #[error("the RSA key was made by a generator whose keys can be factored (ROCA); make a new one")]
    Roca,
    /// A point that is not on the curve.
    #[error("the public key is not a point on its curve")]
    Point,
    /// No `kid` in a key set.
    #[error("the key has no `kid`")]
    KidMissing,
    /// A `kid` that several keys of a set have.
    #[error("several keys of the set have this `kid`")]
    KidDuplicate,
    /// Not a certificate.
    #[error("not an X.509 certificate in DER or PEM")]
    Certificate,
    /// A certificate whose public key is not the signing key's (RFC 7517 section 4.7).
    #[error("the certificate is another key's; give the one that was made for this key")]
    CertificateOfAnotherKey,
    /// A certificate that may not vouch for others.
    #[error("not the certificate of a certificate authority (basic constraints, key usage)")]
    NoAuthority,
    /// No private key block in a PEM text.
    #[error("no unencrypted private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    Pem,
    /// A private key that cannot be read or is of another kind.
    #[error("the private key cannot be read, or is of another kind than the algorithm")]
    PrivateKey,
    /// Dates that a certificate cannot have.
    #[error("the certificate's dates are not in order or not between 1970 and 9999")]
    Dates,
    /// Cryptography failed: no randomness, or a defect.
    #[error("the key could not be made")]
    Generate,
    /// A symmetric key shorter than the hash's output (RFC 7518 section 3.2).
    #[error("the symmetric key is shorter than the output of its hash")]
    Short,
}

/// Why a key set cannot be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// Larger than [`crate::MAX_KEY_SET`].
    #[error("the key set is larger than {} bytes", crate::MAX_KEY_SET)]
    TooLarge,
    /// More keys than [`crate::MAX_KEYS`].
    #[error("the key set holds more than {} keys", crate::MAX_KEYS)]
    TooMany,
    /// Not strict JSON.
    #[error("the key set is {0}")]
    Json(crate::JsonFault),
    /// No list of keys.
    #[error("the key set has no list `keys` (RFC 7517 section 5)")]
    NoKeys,
}

/// Why a token was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignError {
    /// Claims that our own verifier would refuse.
    #[error("the claims are {0}")]
    Claims(crate::JsonFault),
    /// Cryptography failed: no randomness, or a defect.
    #[error("the token could not be signed")]
    Failed,
}
