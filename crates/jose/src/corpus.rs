//! The corpus of hostile tokens: several hundred, minted with live keys, for every entry point that takes tokens; and
//! [`Mutations`] of good tokens, as many as one likes.
//!
//! Each row is one line of the table of attacks on tokens (`J-00` … `J-26`); each token says what must become of it, why, and
//! whether an RFC demands that or we do. Tokens of [`Layer::Jose`] are judged by key lookup and verification; those of
//! [`Layer::Claims`] carry a valid signature over strict JSON, and are judged by whoever reads the claims.
//!
//! ```
//! use decision::Timestamp;
//! use jose::corpus::{Expect, Issuer, Profile, corpus};
//! let issuer = Issuer::new(Profile::ENTRA, "https://login.example/t1/v2.0", "api://orders", "t1", Timestamp(1_750_000_000))?;
//! let tokens = corpus(&issuer);
//! assert!(tokens.len() >= 500 && tokens.iter().any(|t| t.expect == Expect::Accept));
//! # Ok::<(), jose::KeyError>(())
//! ```
mod accepted;
mod algorithms;
mod claims;
#[cfg(test)]
mod differential;
mod embedded;
mod encodings;
mod kinds;
mod mint;
mod mutations;
mod numbers;
#[cfg(feature = "pkcs12")]
pub mod pkcs12;
mod proofs;
mod signatures;
#[cfg(test)]
mod tests;

use crate::{Algorithm, KeyError, SigningKey};
use decision::Timestamp;
use mint::Mint;
pub use mutations::{Mutations, Tally};
pub use proofs::{Bound, proofs};
use serde_json::{Map, Value, json};

/// Whose tokens the corpus holds.
pub struct Issuer {
    /// The published keys. The first signs whatever does not ask for another; rows about an algorithm that no key has are
    /// left out.
    pub keys: Vec<SigningKey>,
    /// The issuer.
    pub iss: String,
    /// The audience of the entry point.
    pub aud: String,
    /// The tenant.
    pub tid: String,
    /// The moment at which the tokens are judged.
    pub now: Timestamp,
    /// The shape of good tokens.
    pub profile: Profile,
    /// Another issuer, whose tokens the entry point may accept too, but never with the first one's name.
    pub neighbour: Neighbour,
}

/// A second issuer beside the first, with a key and a tenant of its own.
pub struct Neighbour {
    /// Its key.
    pub key: SigningKey,
    /// Its name.
    pub iss: String,
    /// Its tenant.
    pub tid: String,
}

/// The shape of good access tokens.
#[derive(Clone, Copy)]
pub struct Profile {
    /// Their `typ`.
    pub typ: &'static str,
    /// Other writings of the same `typ`.
    pub same_typ: &'static [&'static str],
    /// The claim that names the client.
    pub client: &'static str,
    /// The claim that is the token's id.
    pub id: &'static str,
    /// Whether audiences are compared without regard to case.
    pub folds_audience: bool,
    /// The claims of a good token.
    pub claims: fn(&Issuer) -> Map<String, Value>,
}

impl Profile {
    /// Microsoft Entra's v2.0 access tokens.
    pub const ENTRA: Self = Self {
        typ: "JWT",
        same_typ: &["jwt", "Jwt"],
        client: "azp",
        id: "uti",
        folds_audience: true,
        claims: entra_claims,
    };
    /// Microsoft Entra's v1.0 access tokens: other claims, and the key's thumbprint in the header.
    pub const ENTRA_V1: Self = Self { client: "appid", claims: entra_v1_claims, ..Self::ENTRA };
    /// RFC 9068.
    pub const NATIVE: Self = Self {
        typ: "at+jwt",
        same_typ: &["AT+JWT", "application/at+jwt", "Application/AT+jwt"],
        client: "client_id",
        id: "jti",
        folds_audience: false,
        claims: native_claims,
    };
}

/// What must become of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is good.
    Accept,
    /// It must be refused.
    Reject,
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Key lookup by (issuer, kid) and verification.
    Jose,
    /// The reader of the claims and of `typ`.
    Claims,
}

/// Who demands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An RFC.
    Rfc,
    /// Our own stricter policy.
    Policy,
}

/// One token of the corpus.
#[derive(Clone)]
pub struct Hostile {
    /// `J-01-03`: the row and a number in it.
    pub id: String,
    /// `J-01`.
    pub row: &'static str,
    /// The token's text.
    pub token: String,
    /// What must become of it.
    pub expect: Expect,
    /// Why.
    pub reason: String,
    /// Who demands it.
    pub mark: Mark,
    /// Who judges.
    pub layer: Layer,
}

impl Hostile {
    /// Whether the token can stand in an `Authorization` header (RFC 6750 section 2.1) of usual size; the others go into forms.
    pub fn fits_header(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        !self.token.is_empty() && self.token.len() <= crate::MAX_TOKEN && self.token.chars().all(plain)
    }
}

impl Issuer {
    /// An issuer with one key for each algorithm (the first is RS256), in the profile given.
    pub fn new(profile: Profile, iss: &str, aud: &str, tid: &str, now: Timestamp) -> Result<Self, KeyError> {
        let rsa = SigningKey::generate(Algorithm::RS256)?;
        let keys = Algorithm::ALL.into_iter().map(|algorithm| {
            // One modulus serves six algorithms: each is a key of its own by name.
            let key = match algorithm.as_str().as_bytes() {
                [b'R' | b'P', ..] => SigningKey::from_pkcs8(algorithm, rsa.pkcs8())?,
                _ => SigningKey::generate(algorithm)?,
            };
            Ok(key.named(format!("key-{}", algorithm.as_str())))
        });
        let neighbour = Neighbour {
            key: SigningKey::generate(Algorithm::RS256)?,
            iss: iss.replace(tid, OTHER_TENANT),
            tid: OTHER_TENANT.to_owned(),
        };
        let (iss, aud, tid) = (iss.to_owned(), aud.to_owned(), tid.to_owned());
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, iss, aud, tid, now, profile, neighbour })
    }
}

const OTHER_TENANT: &str = "99999999-9999-4999-8999-999999999999";

/// Mints tokens of one row, or of some.
type Row = fn(&mut Mint<'_>);

const ROWS: [(&[&str], Row); 26] = [
    (&["J-00"], accepted::rows),
    (&["J-01"], algorithms::none),
    (&["J-02"], algorithms::odd),
    (&["J-03"], algorithms::confusion),
    (&["J-04"], algorithms::weak),
    (&["J-05"], algorithms::other_rsa),
    (&["J-05", "J-06"], algorithms::padding),
    (&["J-06"], signatures::rsa),
    (&["J-07"], signatures::ecdsa),
    (&["J-08"], signatures::eddsa),
    (&["J-09"], signatures::altered),
    (&["J-10"], signatures::unknown_keys),
    (&["J-11"], embedded::kid),
    (&["J-12"], embedded::keys),
    (&["J-13"], embedded::extensions),
    (&["J-14"], encodings::segments),
    (&["J-14"], encodings::texts),
    (&["J-15"], encodings::json),
    (&["J-16"], claims::times),
    (&["J-17"], claims::audiences),
    (&["J-18"], claims::issuers),
    (&["J-19"], claims::tenants),
    (&["J-20"], kinds::rows),
    (&["J-21"], claims::bindings),
    (&["J-22", "J-23"], encodings::other_forms),
    (&["J-26"], claims::shapes),
];

/// The whole corpus.
pub fn corpus(issuer: &Issuer) -> Vec<Hostile> {
    minted(issuer, |_| true)
}

/// One row of the corpus: `J-00` … `J-26`.
pub fn row(issuer: &Issuer, name: &str) -> Vec<Hostile> {
    let mut tokens = minted(issuer, |rows| rows.contains(&name));
    tokens.retain(|t| t.row == name);
    tokens
}

fn minted(issuer: &Issuer, wanted: impl Fn(&[&str]) -> bool) -> Vec<Hostile> {
    let mut mint = Mint::new(issuer);
    for (_, mint_row) in ROWS.iter().filter(|(rows, _)| wanted(rows)) {
        mint_row(&mut mint);
    }
    mint.tokens
}

/// The claims of a good v2.0 access token of Entra's.
pub fn entra_claims(issuer: &Issuer) -> Map<String, Value> {
    let now = issuer.now;
    object(json!({
        "iss": issuer.iss, "aud": issuer.aud, "iat": now, "nbf": now, "exp": now.plus(3600), "tid": issuer.tid,
        "sub": "pairwise-ada", "oid": "aaaaaaaa-0000-4000-8000-00000000000a", "name": "Ada Lovelace",
        "azp": "cccccccc-0000-4000-8000-00000000000c", "azpacr": "1", "scp": "access_as_user", "roles": ["Orders.Reader"],
        "idtyp": "user", "ver": "2.0", "uti": "uti-1", "jti": "jti-1",
    }))
}

/// The claims of a good v1.0 access token.
pub fn entra_v1_claims(issuer: &Issuer) -> Map<String, Value> {
    let mut claims = entra_claims(issuer);
    for name in ["azp", "azpacr"] {
        claims.remove(name);
    }
    claims.extend(object(json!({
        "appid": "cccccccc-0000-4000-8000-00000000000c", "appidacr": "1", "acr": "1", "amr": ["pwd"], "ver": "1.0",
        "unique_name": "ada@contoso.example", "upn": "ada@contoso.example",
    })));
    claims
}

/// The claims of a good RFC 9068 access token.
pub fn native_claims(issuer: &Issuer) -> Map<String, Value> {
    let mut claims = entra_claims(issuer);
    for name in ["azp", "azpacr", "uti"] {
        claims.remove(name);
    }
    claims.insert("client_id".to_owned(), "cccccccc-0000-4000-8000-00000000000c".into());
    claims.insert("azp".to_owned(), "cccccccc-0000-4000-8000-00000000000c".into());
    claims.insert("scope".to_owned(), "access_as_user".into());
    claims
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}
