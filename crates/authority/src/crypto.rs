//! The keys behind core's port: signing, verifying, sealing, digests.
mod issued;

use crate::password::{PasswordCost, Passwords};
use crate::{Federation, Random};
use decision::Timestamp;
use deputize_core::estate::CertificateRead;
use deputize_core::ledger::Unavailable;
use deputize_core::model::{Application, Digest, KeyCredential};
use deputize_core::ports::{Crypto, Pending};
use deputize_core::token::{AssertionFacts, ClientAssertionClaims, ClientAssertionFacts, FederatedFacts};
use deputize_core::token_endpoint::FOREIGN_KINDS;
use deputize_core::workload::TrustedCertificateSubject;
use hmac::{Hmac, KeyInit, Mac};
use issued::Issued;
use jose::assertion::{Certificate, TrustedSubject};
use jose::seal::Sealer;
use jose::{Header, KeySet, SigningKey, Token};
use oauth::Secret;
use quick_cache::sync::Cache;
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Parsed client certificates kept at once.
const CERTIFICATES: usize = 10_000;

pub(crate) struct Keys {
    signing: Vec<SigningKey>,
    verifying: KeySet,
    /// Keys that sign nothing any more, and whose signatures are void.
    withdrawn: RwLock<HashSet<String>>,
    certificates: Cache<String, Arc<Certificate>>,
    subjects: Cache<[u8; 32], Arc<TrustedSubject>>,
    federation: Federation,
    pepper: Hmac<Sha256>,
    sealer: Sealer,
    passwords: Passwords,
    random: Random,
}

impl Keys {
    pub(crate) fn new(
        signing: Vec<SigningKey>,
        pepper: &[u8; 32],
        seal_key: &[u8; 32],
        random: Random,
        cost: PasswordCost,
        federation: Federation,
    ) -> Self {
        let verifying = KeySet::from_keys(signing.iter().map(SigningKey::verifying_key).collect());
        let mut salt = [0; 16];
        random(&mut salt);
        Self {
            signing,
            verifying,
            withdrawn: RwLock::default(),
            certificates: Cache::new(CERTIFICATES),
            subjects: Cache::new(CERTIFICATES),
            federation,
            pepper: keyed(pepper),
            sealer: Sealer::new(seal_key, "claims and tickets"),
            passwords: Passwords::new(salt, cost),
            random,
        }
    }

    /// Takes a key out of use, for good.
    pub(crate) fn withdraw(&self, kid: &str) {
        self.withdrawn.write().unwrap_or_else(PoisonError::into_inner).insert(kid.to_owned());
    }

    fn is_withdrawn(&self, kid: &str) -> bool {
        self.withdrawn.read().unwrap_or_else(PoisonError::into_inner).contains(kid)
    }

    /// The keys that are in use.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &SigningKey> {
        self.signing.iter().filter(|key| !self.is_withdrawn(key.kid()))
    }

    fn certificate(&self, credential: &KeyCredential) -> Option<Arc<Certificate>> {
        use base64::Engine as _;
        self.certificates
            .get_or_insert_with(&credential.key, || {
                let der = base64::engine::general_purpose::STANDARD.decode(&credential.key).map_err(drop)?;
                Certificate::from_der(&der).map(Arc::new).map_err(drop)
            })
            .ok()
    }

    fn subject(&self, trusted: &TrustedCertificateSubject) -> Option<Arc<TrustedSubject>> {
        use base64::Engine as _;
        use sha2::Digest as _;
        let mut whole = Sha256::new();
        let parts = [&trusted.subject_name, &trusted.authority];
        for part in parts.into_iter().chain(&trusted.revoked_certificate_identifiers) {
            whole.update(part.len().to_be_bytes());
            whole.update(part);
        }
        let read = || {
            let der = base64::engine::general_purpose::STANDARD.decode(&trusted.authority).map_err(drop)?;
            let revoked = &trusted.revoked_certificate_identifiers;
            TrustedSubject::new(&trusted.subject_name, &der, revoked).map(Arc::new).map_err(drop)
        };
        self.subjects.get_or_insert_with(&<[u8; 32]>::from(whole.finalize()), read).ok()
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(pepper: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(pepper).expect("HMAC takes keys of any length")
}

impl Crypto for Keys {
    fn sign(&self, algorithm: &str, typ: &str, v1: bool, claims: &[u8]) -> Result<Secret, Unavailable> {
        let key = self.in_use().find(|key| key.algorithm().as_str() == algorithm).ok_or(Unavailable)?;
        let x5t = key.certificate().filter(|_| v1).map(|_| key.kid().to_owned());
        key.sign(&Header { x5t, ..Header::typ(typ) }, claims).map(Secret::new).map_err(|error| {
            tracing::error!(algorithm, %error, "a token could not be signed");
            Unavailable
        })
    }

    fn assertion(&self, text: &str) -> AssertionFacts {
        let token = match Token::parse(text) {
            Ok(token) => token,
            Err(refusal) => return AssertionFacts::Malformed { reason: refusal.to_string() },
        };
        let typ = token.header().typ.as_deref().unwrap_or_default();
        if !["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ)) {
            let foreign = FOREIGN_KINDS.iter().any(|known| typ.to_ascii_lowercase().starts_with(known));
            let shown = if foreign || typ == "oauth-id-jag+jwt" { typ } else { "another value" };
            return AssertionFacts::OtherKind {
                typ: if typ.is_empty() { "no value".into() } else { shown.to_owned() },
            };
        }
        let verified = self.verifying.key_for(&token).and_then(|key| token.verify(key));
        if token.header().kid.as_deref().is_some_and(|kid| self.is_withdrawn(kid)) {
            return AssertionFacts::Unverified { reason: "the key that signed it was withdrawn".into() };
        }
        match verified {
            Err(refusal) => AssertionFacts::Unverified { reason: refusal.to_string() },
            Ok(verified) => match verified.claims::<Issued>().and_then(|issued| Ok((issued, verified.claims()?))) {
                Ok((issued, claims)) if issued.plausible() => AssertionFacts::Verified(Box::new(claims)),
                Ok(_) => AssertionFacts::Malformed { reason: "claims that this authority does not issue".into() },
                Err(refusal) => AssertionFacts::Malformed { reason: refusal.to_string() },
            },
        }
    }

    fn client_assertion(&self, text: &str, client: &Application, now: Timestamp) -> ClientAssertionFacts {
        let known: Vec<_> = client.key_credentials.iter().filter_map(|c| Some((c, self.certificate(c)?))).collect();
        let parsed: Vec<Arc<Certificate>> = known.iter().map(|(_, certificate)| certificate.clone()).collect();
        let subjects = &client.trusted_certificate_subjects;
        let subjects: Vec<_> = subjects.iter().filter_map(|trusted| self.subject(trusted)).collect();
        match jose::assertion::verify_trusting(text, &parsed, &subjects, now) {
            Err(refusal) => ClientAssertionFacts::Refused { check: refusal.check(), reason: refusal.to_string() },
            Ok(assertion) => {
                let of = |(_, certificate): &&(&KeyCredential, Arc<Certificate>)| {
                    certificate.x5t_s256() == assertion.thumbprint
                };
                // One that is not registered is of a trusted subject: nothing else is verified.
                let registered = known.iter().find(of).map(|(credential, _)| *credential);
                let dates = registered.map(|credential| (credential.start_date_time, credential.end_date_time));
                let (start, end) = dates.unwrap_or((assertion.certificate_not_before, assertion.certificate_not_after));
                ClientAssertionFacts::Verified(Box::new(ClientAssertionClaims {
                    key_id: registered.map(|credential| credential.key_id).unwrap_or_default(),
                    thumbprint: assertion.thumbprint,
                    iss: assertion.iss,
                    sub: assertion.sub,
                    aud: assertion.aud,
                    jti: assertion.jti,
                    exp: assertion.exp,
                    nbf: assertion.nbf,
                    certificate_not_before: assertion.certificate_not_before.max(start),
                    certificate_not_after: assertion.certificate_not_after.min(end),
                }))
            }
        }
    }

    fn federated_assertion<'a>(
        &'a self,
        text: &'a str,
        issuer: &'a str,
        now: Timestamp,
    ) -> Pending<'a, FederatedFacts> {
        Box::pin(self.federation.read(text, issuer, now))
    }

    fn certificate(&self, base64: &str) -> Result<CertificateRead, String> {
        use base64::Engine as _;
        let engine = &base64::engine::general_purpose::STANDARD;
        let der = engine.decode(base64).map_err(|_| "give the DER certificate in standard base64".to_owned())?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| format!("give an RSA certificate of 2048 bits or more ({error})"))?;
        let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
        Ok(CertificateRead { key: engine.encode(der), not_before, not_after })
    }

    fn keyed_digest(&self, secret: &str) -> Digest {
        let mut mac = self.pepper.clone();
        mac.update(secret.as_bytes());
        Digest(mac.finalize().into_bytes().into())
    }

    fn seal(&self, plain: &[u8]) -> String {
        let mut nonce = [0; 12];
        (self.random)(&mut nonce);
        self.sealer.seal(nonce, b"", plain)
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        self.sealer.open(b"", sealed)
    }

    fn one_time_code(&self, secret: &[u8], step: u64) -> u32 {
        jose::one_time_code(secret, step)
    }

    fn random(&self, buffer: &mut [u8]) {
        (self.random)(buffer);
    }

    fn password_matches<'a>(&'a self, password: &'a str, hash: Option<&'a str>) -> Pending<'a, Option<bool>> {
        Box::pin(self.passwords.matches(password, hash))
    }
}
