//! Mints the tokens of the corpus, good and bad.
use super::{Expect, Hostile, Issuer, Layer, Mark, Profile};
use crate::{Algorithm, SigningKey, base64url};
use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

pub(super) struct Mint<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) main: &'a SigningKey,
    pub(super) attacker: SigningKey,
    pub(super) tokens: Vec<Hostile>,
}

/// Unwraps what can only fail by a defect of the corpus.
#[expect(clippy::expect_used, reason = "a corpus that cannot be minted is no corpus")]
pub(super) fn sure<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.expect("the corpus can be minted")
}

impl<'a> Mint<'a> {
    #[expect(clippy::expect_used, reason = "a corpus without a key is no corpus")]
    pub(super) fn new(issuer: &'a Issuer) -> Self {
        let main = issuer.keys.first().expect("an issuer has a key");
        let attacker = sure(SigningKey::generate(main.algorithm())).named(main.kid());
        Self { issuer, main, attacker, tokens: Vec::new() }
    }

    pub(super) fn key(&self, algorithm: Algorithm) -> Option<&'a SigningKey> {
        self.issuer.keys.iter().find(|k| k.algorithm() == algorithm)
    }

    pub(super) fn put(
        &mut self,
        row: &'static str,
        (expect, layer, mark): (Expect, Layer, Mark),
        reason: impl Into<String>,
        token: String,
    ) {
        let number = self.tokens.iter().filter(|t| t.row == row).count() + 1;
        let id = format!("{row}-{number:02}");
        self.tokens.push(Hostile { id, row, token, expect, reason: reason.into(), mark, layer });
    }

    /// Refused by key lookup and verification, as an RFC demands.
    pub(super) fn reject(&mut self, row: &'static str, reason: impl Into<String>, token: String) {
        self.put(row, (Expect::Reject, Layer::Jose, Mark::Rfc), reason, token);
    }

    /// Refused by key lookup and verification, as we demand.
    pub(super) fn strict(&mut self, row: &'static str, reason: impl Into<String>, token: String) {
        self.put(row, (Expect::Reject, Layer::Jose, Mark::Policy), reason, token);
    }

    /// Refused by the reader of the claims, as an RFC demands.
    pub(super) fn claims_reject(&mut self, row: &'static str, reason: impl Into<String>, token: String) {
        self.put(row, (Expect::Reject, Layer::Claims, Mark::Rfc), reason, token);
    }

    /// Refused by the reader of the claims, as we demand.
    pub(super) fn claims_strict(&mut self, row: &'static str, reason: impl Into<String>, token: String) {
        self.put(row, (Expect::Reject, Layer::Claims, Mark::Policy), reason, token);
    }

    pub(super) fn accept(&mut self, reason: impl Into<String>, token: String) {
        self.put("J-00", (Expect::Accept, Layer::Jose, Mark::Rfc), reason, token);
    }

    pub(super) fn claims(&self) -> Map<String, Value> {
        (self.issuer.profile.claims)(self.issuer)
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        Value::Object(self.claims()).to_string().into_bytes()
    }

    pub(super) fn header_of(&self, key: &SigningKey) -> Map<String, Value> {
        let (alg, kid, typ) = (key.algorithm().as_str(), key.kid(), self.issuer.profile.typ);
        let mut header = super::object(json!({ "alg": alg, "kid": kid, "typ": typ }));
        if self.issuer.profile.client == Profile::ENTRA_V1.client {
            header.insert("x5t".to_owned(), kid.into());
        }
        header
    }

    pub(super) fn header(&self) -> Map<String, Value> {
        self.header_of(self.main)
    }

    /// A good token.
    pub(super) fn good(&self) -> String {
        self.good_by(self.main)
    }

    pub(super) fn good_by(&self, key: &SigningKey) -> String {
        Self::signed(key, self.header_of(key), &self.payload())
    }

    pub(super) fn signed(key: &SigningKey, header: Map<String, Value>, payload: &[u8]) -> String {
        sure(key.sign_octets(Value::Object(header).to_string().as_bytes(), payload))
    }

    /// A good token but for one header parameter.
    pub(super) fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header.insert(name.to_owned(), value);
        Self::signed(self.main, header, &self.payload())
    }

    pub(super) fn without_header(&self, name: &str) -> String {
        let mut header = self.header();
        header.remove(name);
        Self::signed(self.main, header, &self.payload())
    }

    /// A good token but for one claim.
    pub(super) fn with(&self, name: &str, value: Value) -> String {
        self.with_all([(name, value)])
    }

    pub(super) fn with_all<const N: usize>(&self, edits: [(&str, Value); N]) -> String {
        let mut claims = self.claims();
        for (name, value) in edits {
            claims.insert(name.to_owned(), value);
        }
        self.with_payload(Value::Object(claims).to_string().as_bytes())
    }

    pub(super) fn without(&self, names: &[&str]) -> String {
        let mut claims = self.claims();
        for name in names {
            claims.remove(*name);
        }
        self.with_payload(Value::Object(claims).to_string().as_bytes())
    }

    /// A claim whose value is not JSON that `Value` can hold.
    pub(super) fn with_text(&self, name: &str, value: &str) -> String {
        let mut claims = self.claims();
        claims.remove(name);
        let rest = Value::Object(claims).to_string();
        let rest = rest.strip_prefix('{').unwrap_or_default();
        self.with_payload(format!("{{\"{name}\":{value},{rest}").as_bytes())
    }

    pub(super) fn with_payload(&self, payload: &[u8]) -> String {
        Self::signed(self.main, self.header(), payload)
    }

    /// Signs segments as they stand.
    pub(super) fn with_segments(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        let signature = sure(self.main.sign_message(signed.as_bytes()));
        format!("{signed}.{}", base64url::encode(signature))
    }

    /// The segments of a good token.
    pub(super) fn segments(&self) -> [String; 3] {
        split(&self.good())
    }

    /// The good header and payload under another signature.
    pub(super) fn resigned(&self, key: &SigningKey, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let [header, payload, _] = split(&self.good_by(key));
        let signed = format!("{header}.{payload}");
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", base64url::encode(signature))
    }

    /// An HMAC token.
    pub(super) fn hmac(&self, algorithm: &str, secret: &[u8]) -> String {
        let mut header = self.header();
        header.insert("alg".to_owned(), algorithm.into());
        let hash = match algorithm {
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let header = base64url::encode(Value::Object(header).to_string());
        let signed = format!("{header}.{}", base64url::encode(self.payload()));
        let tag = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
        format!("{signed}.{}", base64url::encode(tag))
    }
}

pub(super) fn split(token: &str) -> [String; 3] {
    let mut segments = token.split('.').map(str::to_owned);
    std::array::from_fn(|_| segments.next().unwrap_or_default())
}
