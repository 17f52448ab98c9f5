//! Who signed in, as the authority vouches for it (OpenID Connect Core section 3.1.3.7).
use crate::authorization::same;
use crate::client::Inner;
use crate::{Client, Endpoints, Error};
use decision::Timestamp;
use fetch::Lookup;
use jose::Token;
use oauth::Secret;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// Clocks may differ by so many seconds.
const SKEW: i64 = 60;

/// Claims of access tokens, of events and of what is said of tokens: none of them must pass for a sign-in.
const OF_OTHERS: [&str; 8] = ["scp", "scope", "idtyp", "events", "token_introspection", "azpacr", "appidacr", "appid"];

/// Why an ID token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The client was built without keys, or without an issuer.
    #[error("the client has no keys or no issuer to verify it with; build it with `identity_keys` and full endpoints")]
    NoKeys,
    /// The authority's keys are not to be had.
    #[error("the authority's keys cannot be fetched; check its address, its certificate and the network")]
    Unfetched,
    /// It is not a token, or signed by nobody we know.
    #[error("it is not signed by a key of the authority")]
    Signature,
    /// It is a token of another kind.
    #[error("it is not an ID token")]
    Kind,
    /// It comes from elsewhere.
    #[error("its `iss` is not the authority")]
    Issuer,
    /// It is for another client.
    #[error("its `aud` is not this client")]
    Audience,
    /// It has ended, has not begun, or states no times.
    #[error("it is not valid now; check the clock")]
    Time,
    /// It belongs to another sign-in.
    #[error("its `nonce` is not the one that was sent")]
    Nonce,
}

impl Client {
    /// Verifies an ID token for this client that came with no sign-in of its own: with a refresh, or from an application that
    /// signed the user in by itself. Nothing says which sign-in it is of; [`Client::redeem_code`] knows.
    ///
    /// # Errors
    /// If it is not the authority's, not for this client, or not valid now.
    pub async fn verify_id_token(&self, id_token: &Secret) -> Result<Map<String, Value>, Error> {
        let endpoints = self.inner.endpoints(Instant::now() + self.inner.upstream.total).await?;
        self.inner.verify_identity(&endpoints, id_token, None, self.inner.clock.now()).await
    }
}

impl Inner {
    pub(crate) async fn verify_identity(
        &self,
        endpoints: &Endpoints,
        id_token: &Secret,
        nonce: Option<&Secret>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Error> {
        let issuer = endpoints.issuer.as_deref().ok_or(IdentityError::NoKeys)?;
        let token = Token::parse(id_token.expose()).map_err(|_| IdentityError::Signature)?;
        let kid = token.header().kid.as_deref().ok_or(IdentityError::Signature)?;
        let keys = self.identity_keys.as_ref().ok_or(IdentityError::NoKeys)?;
        let key = match keys.find(kid, now) {
            Lookup::Found(key, _) => key,
            Lookup::Unknown | Lookup::NoKeys => {
                keys.refresh(now).await;
                match keys.find(kid, now) {
                    Lookup::Found(key, _) => key,
                    Lookup::Unknown => return Err(IdentityError::Signature.into()),
                    Lookup::NoKeys => return Err(IdentityError::Unfetched.into()),
                }
            }
        };
        let verified = token.verify(&key).map_err(|_| IdentityError::Signature)?;
        // The same key signs tokens of other kinds too, and says so of them (RFC 8725 section 3.11).
        if token.header().typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(IdentityError::Kind.into());
        }
        let claims = verified.map().map_err(|_| IdentityError::Signature)?;
        judge(&claims, issuer, &self.client_id, nonce, now)?;
        Ok(claims)
    }
}

/// Whole seconds: fractions are legal (RFC 7519 section 2).
fn seconds(value: &Value) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "cut off on purpose, and what is out of range is at its end")]
    let cut = || value.as_f64().map(|seconds| seconds.floor() as i64);
    value.as_i64().or_else(cut).map(Timestamp)
}

/// The rules, over claims whose signature holds.
fn judge(
    claims: &Map<String, Value>,
    issuer: &str,
    client_id: &str,
    nonce: Option<&Secret>,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(seconds);
    let is_of_nobody = text("sub").is_none_or(str::is_empty);
    // Without a nonce nothing says that it came of a sign-in. Where its subject is the object itself it is an application's own.
    let is_of_application =
        nonce.is_none() && claims.contains_key("azp") && text("oid").is_some_and(|oid| text("sub") == Some(oid));
    if is_of_nobody || is_of_application || OF_OTHERS.iter().any(|name| claims.contains_key(*name)) {
        return Err(IdentityError::Kind);
    }
    if text("iss") != Some(issuer) {
        return Err(IdentityError::Issuer);
    }
    let audience = match claims.get("aud") {
        Some(Value::Array(several)) if several.len() == 1 => several.first().and_then(Value::as_str),
        Some(one) => one.as_str(),
        None => None,
    };
    if audience != Some(client_id) {
        return Err(IdentityError::Audience);
    }
    let ends = time("exp").ok_or(IdentityError::Time)?;
    let begins = time("nbf").or(time("iat")).ok_or(IdentityError::Time)?;
    if now >= ends.plus(SKEW) || now < begins.plus(-SKEW) {
        return Err(IdentityError::Time);
    }
    if nonce.is_some_and(|nonce| text("nonce").is_none_or(|found| !same(found, nonce.expose()))) {
        return Err(IdentityError::Nonce);
    }
    Ok(())
}
