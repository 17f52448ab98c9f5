//! JSON Web Keys (RFC 7517), public members only.
use crate::{KeyError, base64url};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A public key as JSON (RFC 7517, RFC 7518 section 6). One with private members cannot be read into this type.
///
/// ```
/// let key = jose::SigningKey::generate(jose::Algorithm::EdDSA)?.public_jwk();
/// assert_eq!((key.kty.as_str(), key.crv.as_deref()), ("OKP", Some("Ed25519")));
/// assert!(serde_json::from_str::<jose::Jwk>(r#"{"kty":"oct","k":"c2VjcmV0"}"#).is_err());
/// # Ok::<(), jose::KeyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Jwk {
    /// `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// `sig` or absent.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
    /// What the key may be used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// The one algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// The key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// SHA-1 thumbprint of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// SHA-256 thumbprint of the certificate.
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
    /// RSA modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Coordinate, or the whole public key of Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Certificate chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<Vec<String>>,
    /// Entra's: the issuer that signs with this key, possibly with `{tenantid}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// Reads one entry of a key set.
    pub(crate) fn from_value(value: Value) -> Result<Self, KeyError> {
        let Value::Object(members) = value else { return Err(KeyError::Malformed) };
        if members.get("kty").and_then(Value::as_str) == Some("oct") {
            return Err(KeyError::Symmetric);
        }
        if PRIVATE.iter().any(|m| members.contains_key(*m)) {
            return Err(KeyError::Private);
        }
        Self::deserialize(Value::Object(members)).map_err(|_| KeyError::Malformed)
    }

    /// The SHA-256 thumbprint (RFC 7638), in base64url; `None` if a member of the key is missing.
    pub fn thumbprint(&self) -> Option<String> {
        let text = |s: &str| Value::from(s).to_string();
        let [kty, n, e] = [Some(&self.kty), self.n.as_ref(), self.e.as_ref()];
        let [crv, x, y] = [&self.crv, &self.x, &self.y];
        // The members in the order of section 3.3, with nothing between them.
        let members: Vec<(&str, &String)> = match self.kty.as_str() {
            "RSA" => vec![("e", e?), ("kty", kty?), ("n", n?)],
            "EC" => vec![("crv", crv.as_ref()?), ("kty", kty?), ("x", x.as_ref()?), ("y", y.as_ref()?)],
            "OKP" => vec![("crv", crv.as_ref()?), ("kty", kty?), ("x", x.as_ref()?)],
            _ => return None,
        };
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{}", text(value))).collect();
        Some(base64url::encode(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes())))
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(from)?;
        Self::from_value(Value::Object(members)).map_err(serde::de::Error::custom)
    }
}
