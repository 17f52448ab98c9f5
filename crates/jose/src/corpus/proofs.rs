//! Hostile proofs of possession (RFC 9449): what comes in `DPoP` fields beside a token that is bound to a key.
use crate::proof::digest_of;
use crate::{Algorithm, KeyError, SigningKey, base64url};
use aws_lc_rs::hmac;
use decision::Timestamp;
use serde_json::{Value, json};

/// A request with a token that is bound to a key.
pub struct Bound<'a> {
    /// The key.
    pub key: &'a SigningKey,
    /// The method.
    pub method: &'a str,
    /// The address, without query and fragment.
    pub uri: &'a str,
    /// The token.
    pub token: &'a str,
    /// The moment.
    pub now: Timestamp,
    /// For how many seconds proofs are good.
    pub max_age: i64,
}

impl Bound<'_> {
    /// A good proof with this id.
    pub fn good(&self, jti: &str) -> String {
        self.edited(jti, |_, _| {})
    }

    /// A good proof, but for edits of its header and its claims.
    pub fn edited(&self, jti: &str, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": self.key.algorithm().as_str(), "jwk": self.key.public_jwk()});
        let mut claims = json!({
            "jti": jti, "htm": self.method, "htu": self.uri, "iat": self.now.0, "ath": digest_of(self.token),
        });
        edit(&mut header, &mut claims);
        self.signed(&header, &claims)
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let signed = self.key.sign_octets(header.to_string().as_bytes(), claims.to_string().as_bytes());
        signed.unwrap_or_default()
    }
}

/// Requests that must be refused: why, and the values of their `DPoP` fields. None of them is a replay.
///
/// # Errors
/// If no key can be made.
pub fn proofs(of: &Bound<'_>) -> Result<Vec<(&'static str, Vec<String>)>, KeyError> {
    let other = SigningKey::generate(of.key.algorithm())?;
    let rsa = SigningKey::generate(Algorithm::RS256)?;
    let header = |jti: &str, name: &str, value: Value| of.edited(jti, |header, _| header[name] = value);
    let claim = |jti: &str, name: &str, value: Value| of.edited(jti, |_, claims| claims[name] = value);
    let without = |jti: &str, name: &str| {
        of.edited(jti, |header, claims| {
            for part in [header, claims] {
                part.as_object_mut().map(|members| members.remove(name));
            }
        })
    };
    let members = |name: &str, value: Value| {
        let mut key = json!(of.key.public_jwk());
        key.as_object_mut().map(|members| members.insert(name.to_owned(), value));
        key
    };
    let (authority, path) = of.uri.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap_or_default();
    let scheme = if of.uri.starts_with("https:") { "http" } else { "https" };
    let good = of.good("hostile-good");
    let (signed, signature) = good.rsplit_once('.').unwrap_or_default();
    let none = of.edited("none", |header, _| header["alg"] = json!("none"));
    let hmac_by = |secret: &[u8]| {
        let text = of.edited("hmac", |header, _| header["alg"] = json!("HS256"));
        let message = text.rsplit_once('.').map_or("", |(message, _)| message);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", base64url::encode(tag))
    };
    let another = Bound { key: &other, ..*of };
    let mut all: Vec<(&'static str, Vec<String>)> = vec![
        ("no proof", Vec::new()),
        ("two proofs", vec![of.good("first"), of.good("second")]),
        ("the same proof twice", vec![of.good("twice"), of.good("twice")]),
    ];
    let ones = [
        ("an empty field", String::new()),
        ("two proofs in one field", format!("{}, {}", of.good("first"), of.good("second"))),
        ("a scheme before the proof", format!("DPoP {}", of.good("scheme"))),
        ("the access token as its proof", of.token.to_owned()),
        ("a text that is none", "proof".to_owned()),
        ("a proof of another key", another.good("another")),
        ("another's key, signed with ours", header("swapped", "jwk", json!(other.public_jwk()))),
        (
            "our key, signed with another's",
            another.edited("forged", |header, _| header["jwk"] = json!(of.key.public_jwk())),
        ),
        ("a key of another kind", header("kind", "jwk", json!(rsa.public_jwk()))),
        (
            "a key by its name alone",
            of.edited("kid", |header, _| {
                header["kid"] = json!(of.key.kid());
                header.as_object_mut().map(|members| members.remove("jwk"));
            }),
        ),
        ("a private key", header("private", "jwk", members("d", json!("AAAA")))),
        ("a part of a private key", header("private", "jwk", members("dp", json!("AAAA")))),
        ("a symmetric key", header("oct", "jwk", json!({"kty": "oct", "k": "AAAA"}))),
        ("a key to encrypt with", header("enc", "jwk", members("use", json!("enc")))),
        ("a key for another algorithm", header("alg", "jwk", members("alg", json!("ES512")))),
        ("a key without a point", header("point", "jwk", json!({"kty": "EC", "crv": "P-256"}))),
        ("a key that is null", header("null", "jwk", Value::Null)),
        ("a key in a text", header("text", "jwk", json!(of.key.public_jwk().thumbprint()))),
        ("an ID token as a proof", header("id", "typ", json!("JWT"))),
        ("an access token's type", header("at", "typ", json!("at+jwt"))),
        ("a logout token's type", header("logout", "typ", json!("logout+jwt"))),
        ("no type", without("typ", "typ")),
        ("alg none, signed", none.clone()),
        ("alg none, unsigned", format!("{}.", none.rsplit_once('.').map_or("", |(signed, _)| signed))),
        ("HS256 with the public key", hmac_by(&of.key.verifying_key().spki())),
        ("HS256 with nothing", hmac_by(b"")),
        ("an algorithm of another key", header("rs", "alg", json!("RS256"))),
        ("an algorithm in lower case", header("lower", "alg", json!(of.key.algorithm().as_str().to_lowercase()))),
        ("an unknown critical extension", header("crit", "crit", json!(["x"]))),
        ("an empty list of critical extensions", header("crit", "crit", json!([]))),
        ("a payload that is not encoded", header("b64", "b64", json!(false))),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", signature.get(..signature.len() / 2).unwrap_or_default())),
        (
            "another's signature",
            format!("{signed}.{}", another.good("hostile-good").rsplit('.').next().unwrap_or_default()),
        ),
        ("padding", format!("{good}=")),
        ("no id", without("none", "jti")),
        ("an empty id", claim("empty", "jti", json!(""))),
        ("an id that is a number", claim("number", "jti", json!(7))),
        ("a list of ids", claim("list", "jti", json!(["a", "b"]))),
        ("no method", without("method", "htm")),
        ("another method", claim("method", "htm", json!(if of.method == "POST" { "GET" } else { "POST" }))),
        ("the method in lower case", claim("method", "htm", json!(of.method.to_lowercase()))),
        ("a list of methods", claim("method", "htm", json!([of.method]))),
        ("no address", without("address", "htu")),
        ("another path", claim("address", "htu", json!(format!("{}x", of.uri)))),
        ("a path above", claim("address", "htu", json!(format!("{}/..", of.uri)))),
        ("a path with an encoded slash", claim("address", "htu", json!(of.uri.replace(path, &format!("%2f{path}"))))),
        ("another host", claim("address", "htu", json!(of.uri.replace(authority, "evil.example")))),
        (
            "a host before it",
            claim("address", "htu", json!(of.uri.replace(authority, &format!("{authority}.evil.example")))),
        ),
        (
            "a user before the host",
            claim("address", "htu", json!(of.uri.replace(authority, &format!("a@{authority}")))),
        ),
        ("another port", claim("address", "htu", json!(of.uri.replace(authority, "api.example:444")))),
        ("another scheme", claim("address", "htu", json!(format!("{scheme}://{authority}/{path}")))),
        ("a path alone", claim("address", "htu", json!(format!("/{path}")))),
        ("the address in a query", claim("address", "htu", json!(format!("https://evil.example/?{}", of.uri)))),
        ("no address in the text", claim("address", "htu", json!("x"))),
        ("no moment", without("moment", "iat")),
        ("a moment in a text", claim("moment", "iat", json!(of.now.0.to_string()))),
        ("a proof that is too old", claim("old", "iat", json!(of.now.0 - of.max_age - 1))),
        ("a proof of last year", claim("old", "iat", json!(of.now.0 - 31_536_000))),
        ("a proof from the future", claim("future", "iat", json!(of.now.0 + 60))),
        ("a moment in milliseconds", claim("millis", "iat", json!(of.now.0 * 1_000))),
        ("a moment before time", claim("negative", "iat", json!(-1))),
        ("no token", without("ath", "ath")),
        ("another token", claim("ath", "ath", json!(digest_of("another token")))),
        ("the token itself", claim("ath", "ath", json!(of.token))),
        ("a token that is null", claim("ath", "ath", Value::Null)),
        ("the digest with padding", claim("ath", "ath", json!(format!("{}=", digest_of(of.token))))),
        ("a member twice", {
            let header = json!({"typ": "dpop+jwt", "alg": of.key.algorithm().as_str(), "jwk": of.key.public_jwk()});
            let claims = format!(
                r#"{{"jti":"d","htm":"{}","htm":"{}","htu":"{}","iat":{},"ath":"{}"}}"#,
                of.method,
                of.method,
                of.uri,
                of.now.0,
                digest_of(of.token)
            );
            of.key.sign_octets(header.to_string().as_bytes(), claims.as_bytes()).unwrap_or_default()
        }),
        ("a proof that is too large", claim("large", "more", json!("x".repeat(9_000)))),
        ("an encrypted proof", "a.b.c.d.e".to_owned()),
    ];
    all.extend(ones.map(|(why, text)| (why, vec![text])));
    Ok(all)
}
