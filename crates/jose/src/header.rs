//! Headers: what a token that we sign says of itself, and what a token that we received says.
use crate::{Jwk, Refusal, Segment, base64url, json};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The header of a token to be signed (RFC 7515 section 4.1); the key adds `alg` and `kid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The kind of token: `JWT`, `at+jwt`, `dpop+jwt`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// SHA-1 thumbprint of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// SHA-256 thumbprint of the certificate.
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
    /// The certificate chain, each in base64 of its DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x5c: Option<Vec<String>>,
    /// The public key itself, for proofs of possession (RFC 9449 section 4.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Jwk>,
}

impl Header {
    /// A header that says no more than what kind of token it is.
    pub fn typ(typ: impl Into<String>) -> Self {
        Self { typ: Some(typ.into()), ..Self::default() }
    }
}

/// The header of a token that was received: **not verified**. Embedded keys and links to keys are not even read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoseHeader {
    /// The algorithm, as written; a key decides whether it is the right one.
    pub alg: String,
    /// The key's name.
    pub kid: Option<String>,
    /// The kind of token.
    pub typ: Option<String>,
    /// The kind of payload; never `JWT`.
    pub cty: Option<String>,
    /// SHA-1 thumbprint of a certificate. Chooses no key, save among the registered certificates of a client.
    pub x5t: Option<String>,
    /// SHA-256 thumbprint of a certificate. Chooses no key, save among the registered certificates of a client.
    pub x5t_s256: Option<String>,
}

impl JoseHeader {
    pub(crate) fn parse(segment: &str) -> Result<Self, Refusal> {
        let octets = base64url::decode(segment).ok_or(Refusal::Encoding(Segment::Header))?;
        json::check(&octets).map_err(Refusal::Header)?;
        let raw: Raw = serde_json::from_slice(&octets).map_err(|_| Refusal::Header(json::JsonFault::Syntax))?;
        if !matches!(raw.crit, Field::Absent) {
            return Err(Refusal::Extension("crit"));
        }
        if !matches!(raw.b64, Field::Absent) {
            return Err(Refusal::Extension("b64"));
        }
        let Field::Text(alg) = raw.alg else { return Err(Refusal::AlgorithmMissing) };
        let cty = raw.cty.text("cty")?;
        if cty.as_deref().is_some_and(|c| c.eq_ignore_ascii_case("JWT") || c.eq_ignore_ascii_case("application/jwt")) {
            return Err(Refusal::Nested);
        }
        Ok(Self {
            alg,
            kid: raw.kid.text("kid")?,
            typ: raw.typ.text("typ")?,
            cty,
            x5t: raw.x5t.text("x5t")?,
            x5t_s256: raw.x5t_s256.text("x5t#S256")?,
        })
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Raw {
    alg: Field,
    kid: Field,
    typ: Field,
    cty: Field,
    crit: Field,
    b64: Field,
    x5t: Field,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Field,
}

/// A member that may be absent; `null` is present.
#[derive(Default)]
enum Field {
    #[default]
    Absent,
    Text(String),
    Other,
}

impl Field {
    fn text(self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Other => Err(Refusal::HeaderMember(name)),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Field, E> {
                Ok(Field::Text(text.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Field, E> {
                Ok(Field::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
                Ok(Field::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
                Ok(Field::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
                Ok(Field::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
                Ok(Field::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }
        from.deserialize_any(Any)
    }
}
