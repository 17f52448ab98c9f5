//! Keys that are made once: the authority's, and those of its clients.
use jose::assertion::Certificate;
use jose::{Algorithm, SigningKey};
use std::sync::{Arc, LazyLock};

use super::NOON;
use decision::Timestamp;

/// One of each kind that deployments sign with.
static SIGNING: LazyLock<Vec<(Algorithm, Vec<u8>)>> = LazyLock::new(|| {
    let kinds = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    kinds.into_iter().map(|kind| (kind, SigningKey::generate(kind).unwrap().pkcs8().to_vec())).collect()
});
static CERTIFICATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (kind, pkcs8) = &SIGNING[0];
    certificate_of(&SigningKey::from_pkcs8(*kind, pkcs8).unwrap())
});

/// The authority's signing keys, again and again the same.
pub(crate) fn signing() -> Vec<SigningKey> {
    let keys = SIGNING.iter().map(|(kind, pkcs8)| SigningKey::from_pkcs8(*kind, pkcs8).unwrap());
    keys.enumerate()
        .map(|(n, key)| if n == 0 { key.with_certificate(CERTIFICATE.clone()).unwrap() } else { key })
        .collect()
}

fn certificate_of(key: &SigningKey) -> Vec<u8> {
    key.self_signed("test", NOON.plus(-86_400), NOON.plus(400 * 86_400)).unwrap()
}

/// A client's key under both algorithms, and its certificate.
pub(crate) struct ClientKey {
    pub(crate) rs256: SigningKey,
    pub(crate) ps256: SigningKey,
    pub(crate) der: Vec<u8>,
    pub(crate) certificate: Arc<Certificate>,
}

impl ClientKey {
    pub(crate) fn new(from: Timestamp, until: Timestamp) -> Self {
        let rs256 = SigningKey::generate(Algorithm::RS256).unwrap();
        let der = rs256.self_signed("client", from, until).unwrap();
        Self {
            ps256: SigningKey::from_pkcs8(Algorithm::PS256, rs256.pkcs8()).unwrap(),
            certificate: Arc::new(Certificate::from_der(&der).unwrap()),
            rs256,
            der,
        }
    }
}

/// The key that `orders` registered, the one of `rival`, one that expired, and one that nobody registered.
pub(crate) static ORDERS: LazyLock<ClientKey> = LazyLock::new(|| ClientKey::new(NOON.plus(-1000), NOON.plus(86_400)));
pub(crate) static RIVAL: LazyLock<ClientKey> = LazyLock::new(|| ClientKey::new(NOON.plus(-1000), NOON.plus(86_400)));
pub(crate) static EXPIRED: LazyLock<ClientKey> = LazyLock::new(|| ClientKey::new(NOON.plus(-9000), NOON.plus(-10)));
pub(crate) static STRANGER: LazyLock<ClientKey> = LazyLock::new(|| ClientKey::new(NOON.plus(-1000), NOON.plus(86_400)));

/// Signs any header and any payload with an RSA key, as no honest library does.
pub(crate) fn sign(key: &SigningKey, header: &[u8], payload: &[u8]) -> String {
    use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let pair = RsaKeyPair::from_pkcs8(key.pkcs8()).unwrap();
    let padding: &'static dyn RsaEncoding =
        if key.algorithm() == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    let signed = format!("{}.{}", encode(header), encode(payload));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", encode(&signature))
}
