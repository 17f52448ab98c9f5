//! What every token that this authority issues is like. One with its signature that is otherwise was never issued: somebody
//! else had the key for a moment, or we have a defect. Either way it is worth nothing.
use serde::Deserialize;
use serde_json::Value;

/// The longest life of a token, in seconds: 28 hours.
const LONGEST: i64 = 100_800;
/// The client that the user signed in to, and eight hops.
const ACTORS: usize = 9;

#[derive(Deserialize)]
pub(super) struct Issued {
    sub: String,
    uti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    appid: Option<String>,
    #[serde(default)]
    idtyp: Option<String>,
    #[serde(default, deserialize_with = "present")]
    nonce: bool,
    #[serde(default, deserialize_with = "present")]
    events: bool,
    #[serde(default, deserialize_with = "present")]
    token_introspection: bool,
    #[serde(default, rename = "roles")]
    _roles: Vec<String>,
    #[serde(default)]
    act: Option<Value>,
}

impl Issued {
    /// Whether these can be the claims of a token of ours.
    pub(super) fn plausible(&self) -> bool {
        let texts = [&self.sub, &self.uti].into_iter().chain(&self.jti).chain(&self.azp).chain(&self.appid);
        let named = texts.into_iter().all(|text| !text.is_empty() && !text.contains(char::is_control));
        let timed = 0 <= self.iat && self.iat <= self.nbf && self.nbf < self.exp && self.exp - self.iat <= LONGEST;
        // ID tokens have a nonce, access tokens have `idtyp`.
        let one_kind = !(self.events || self.token_introspection || self.nonce && self.idtyp.is_some());
        named && timed && one_kind && self.act.as_ref().is_none_or(|act| chain(act, ACTORS))
    }
}

/// RFC 8693 section 4.1: each actor has a `sub`, and perhaps one before it.
fn chain(act: &Value, depth: usize) -> bool {
    let named = act.get("sub").and_then(Value::as_str).is_some_and(|sub| !sub.is_empty());
    depth > 0 && named && act.get("act").is_none_or(|before| chain(before, depth - 1))
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| true)
}
