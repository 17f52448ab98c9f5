//! Honest though simple: whatever is altered is noticed, because every text carries an HMAC.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::{CheckId, Timestamp};
use deputize_core::estate::CertificateRead;
use deputize_core::id::ObjectId;
use deputize_core::ledger::Unavailable;
use deputize_core::model::{Application, Digest};
use deputize_core::ports::{Crypto, Pending};
use deputize_core::token::{
    AssertionFacts, ClientAssertionClaims, ClientAssertionFacts, FederatedClaims, FederatedFacts, TokenClaims,
};
use deputize_core::token_endpoint::FOREIGN_KINDS;
use hmac::{Hmac, KeyInit as _, Mac as _};
use oauth::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub(crate) struct FakeCrypto {
    drawn: AtomicU64,
    /// How many passwords were compared: the fake's measure of time.
    pub(crate) compared: AtomicUsize,
}

fn mac(key: &str, text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn compact(key: &str, header: &Value, claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(key, &signed)))
}

fn read(text: &str) -> Option<(Value, Vec<u8>)> {
    let mut parts = text.split('.');
    let (header, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    parts.next().is_none().then_some((header, URL_SAFE_NO_PAD.decode(payload).ok()?))
}

fn genuine(key: &str, text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(signed, tag)| tag == URL_SAFE_NO_PAD.encode(mac(key, signed)))
}

fn audiences(claims: &Value) -> Vec<String> {
    match &claims["aud"] {
        Value::Array(all) => all.iter().map(|aud| aud.as_str().unwrap_or_default().to_owned()).collect(),
        one => vec![one.as_str().unwrap_or_default().to_owned()],
    }
}

fn federated(claims: &Value) -> FederatedClaims {
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    FederatedClaims {
        iss: text("iss"),
        sub: text("sub"),
        aud: audiences(claims),
        jti: claims["jti"].as_str().map(str::to_owned),
        exp: Timestamp(claims["exp"].as_i64().unwrap_or_default()),
        nbf: claims["nbf"].as_i64().map(Timestamp),
        iat: claims["iat"].as_i64().map(Timestamp),
        own: None,
    }
}

/// `x5t#S256` of a certificate of this world.
pub(crate) fn thumbprint(certificate: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(certificate))
}

impl FakeCrypto {
    pub(crate) fn new() -> Self {
        Self { drawn: AtomicU64::new(0), compared: AtomicUsize::new(0) }
    }

    /// A token of this authority with any claims and `typ`: what a leaked key or a careless issuer would make.
    pub(crate) fn forge(typ: &str, claims: &Value) -> Secret {
        Secret::new(compact("authority", &json!({"alg": "RS256", "typ": typ}), claims.to_string().as_bytes()))
    }

    /// A client assertion, signed with the certificate of this text.
    pub(crate) fn certify(certificate: &str, claims: &Value) -> String {
        compact(certificate, &json!({"alg": "PS256", "typ": "JWT"}), claims.to_string().as_bytes())
    }
}

impl Crypto for FakeCrypto {
    fn sign(&self, algorithm: &str, typ: &str, v1: bool, claims: &[u8]) -> Result<Secret, Unavailable> {
        let header =
            if v1 { json!({"alg": algorithm, "typ": typ, "x5t": "k"}) } else { json!({"alg": algorithm, "typ": typ}) };
        Ok(Secret::new(compact("authority", &header, claims)))
    }

    fn assertion(&self, text: &str) -> AssertionFacts {
        let Some((header, payload)) = read(text) else {
            return AssertionFacts::Malformed { reason: "not three segments".into() };
        };
        let typ = header["typ"].as_str().unwrap_or_default();
        if FOREIGN_KINDS.contains(&typ) {
            return AssertionFacts::OtherKind { typ: typ.to_owned() };
        }
        if !genuine("authority", text) {
            return AssertionFacts::Unverified { reason: "the signature is wrong".into() };
        }
        match serde_json::from_slice::<TokenClaims>(&payload) {
            Ok(claims) => AssertionFacts::Verified(Box::new(claims)),
            Err(_) => AssertionFacts::Malformed { reason: "a claim of the wrong type".into() },
        }
    }

    fn client_assertion(&self, text: &str, client: &Application, _: Timestamp) -> ClientAssertionFacts {
        let refuse = |check, reason: &str| ClientAssertionFacts::Refused { check, reason: reason.into() };
        let Some((_, payload)) = read(text) else { return refuse(CheckId::ClientAssertionSignature, "not a token") };
        let Some(credential) = client.key_credentials.iter().find(|credential| genuine(&credential.key, text)) else {
            return refuse(CheckId::ClientAssertionSignature, "no registered certificate fits");
        };
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        ClientAssertionFacts::Verified(Box::new(ClientAssertionClaims {
            key_id: ObjectId(credential.key_id.0),
            thumbprint: thumbprint(&credential.key),
            iss: text("iss"),
            sub: text("sub"),
            aud: audiences(&claims),
            jti: claims["jti"].as_str().map(str::to_owned),
            exp: Timestamp(claims["exp"].as_i64().unwrap_or_default()),
            nbf: claims["nbf"].as_i64().map(Timestamp),
            certificate_not_before: Timestamp(0),
            certificate_not_after: Timestamp(i64::MAX),
        }))
    }

    fn federated_assertion<'a>(&'a self, text: &'a str, issuer: &'a str, _: Timestamp) -> Pending<'a, FederatedFacts> {
        let refuse = |check, reason: &str| FederatedFacts::Refused { check, reason: reason.into() };
        let facts = match read(text) {
            Some((_, payload)) if genuine(issuer, text) => match serde_json::from_slice::<Value>(&payload) {
                Ok(claims) => FederatedFacts::Verified(Box::new(federated(&claims))),
                Err(_) => refuse(CheckId::ClientAssertionClaims, "no claims"),
            },
            _ => refuse(CheckId::ClientAssertionSignature, "not the issuer's key"),
        };
        Box::pin(std::future::ready(facts))
    }

    fn certificate(&self, base64: &str) -> Result<CertificateRead, String> {
        Ok(CertificateRead { key: base64.to_owned(), not_before: Timestamp(0), not_after: Timestamp(i64::MAX) })
    }

    fn keyed_digest(&self, secret: &str) -> Digest {
        Digest(mac("pepper", secret))
    }

    fn seal(&self, plain: &[u8]) -> String {
        let body = URL_SAFE_NO_PAD.encode(plain);
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(mac("seal", &body)))
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        if !genuine("seal", sealed) {
            return None;
        }
        URL_SAFE_NO_PAD.decode(sealed.split_once('.')?.0).ok()
    }

    fn one_time_code(&self, secret: &[u8], step: u64) -> u32 {
        let mac = mac("one-time", &format!("{}.{step}", URL_SAFE_NO_PAD.encode(secret)));
        u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]]) % 1_000_000
    }

    fn random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let block = Sha256::digest(self.drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn password_matches<'a>(&'a self, password: &'a str, hash: Option<&'a str>) -> Pending<'a, Option<bool>> {
        self.compared.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Some(hash == Some(&format!("hash of {password}")))))
    }
}
