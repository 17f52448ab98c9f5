//! Tokens that nobody here can read: what their issuer says of them when it is asked (RFC 7662) stands in a signature's place.
use crate::evidence::{Evidence, Fault, Proven};
use crate::judge::Asked;
use crate::{Guard, Held, Principal, Refused, bearer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::contract::Route;
use decision::{CheckId, Timestamp};
use oauth::Secret;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};

/// What an issuer said of a token. It is a claim of whoever made it that the issuer of the contract did.
#[derive(Clone)]
pub struct Told(Arc<Proven>);

impl Told {
    /// From the claims of an introspection response. `None` where they are no claims.
    pub fn read(token: &Secret, claims: Map<String, Value>, guard: &Guard) -> Option<Self> {
        let read: decision::contract::Claims = serde_json::from_value(Value::Object(claims.clone())).ok()?;
        let issuer = guard.contract().issuer_index(&read)?;
        Some(Self(Arc::new(Proven {
            claims: read,
            typ: Some(of_another_kind(&claims).unwrap_or("at+jwt").into()),
            issuer,
            generation: 0,
            kid: None,
            token: token.clone(),
            facets: OnceLock::new(),
            told: Some(claims),
        })))
    }

    /// When the token ends.
    pub fn expires(&self) -> Option<decision::Timestamp> {
        self.0.claims.expires()
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> u64 {
        self.0.weight()
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("token_id", &self.0.claims.token_id()).finish_non_exhaustive()
    }
}

/// Issuers tell of all their tokens, whatever they are asked about (RFC 7662 section 2.1). What some say of another one than an access
/// token's: Keycloak in `typ`, Hydra and Cognito in `token_use`, others in `token_type`.
fn of_another_kind(claims: &Map<String, Value>) -> Option<&str> {
    const OTHERS: [&str; 13] = [
        "authorization_code",
        "backchannel-logout",
        "code",
        "id",
        "id_token",
        "initialaccesstoken",
        "logout",
        "logout+jwt",
        "offline",
        "refresh",
        "refresh_token",
        "registrationaccesstoken",
        "serialized-id",
    ];
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_other = |kind: &&str| OTHERS.iter().any(|other| kind.eq_ignore_ascii_case(other));
    let used = text("token_use")
        .filter(|kind| !["", "access", "access_token"].iter().any(|access| kind.eq_ignore_ascii_case(access)));
    used.or_else(|| text("typ").filter(is_other)).or_else(|| text("token_type").filter(is_other))
}

/// Claims with what goes without saying where they leave it out: whose they are, that they are from now, whom they are about, and a name.
/// What they say is not changed: a token without an end, or of another issuer, is refused by what judges it. So is one of which the
/// `issuer` that was asked names neither a user nor a client; without one that was asked, a token may be about nobody.
pub fn completed(
    mut claims: Map<String, Value>,
    issuer: Option<&str>,
    token: &Secret,
    now: Timestamp,
) -> Map<String, Value> {
    let client = ["client_id", "azp", "appid"].iter().find_map(|name| claims.get(*name).cloned());
    // An issuer that is asked may name the user in `username` alone (RFC 7662 section 2.2).
    let user = claims.get("username").filter(|name| issuer.is_some() && name.is_string()).cloned();
    let is_anybodys = issuer.is_none() || user.is_some() || client.is_some();
    let client = client.unwrap_or_else(|| json!("unknown"));
    let subject = user.unwrap_or_else(|| client.clone());
    let id = || URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose().as_bytes()).get(..12).unwrap_or_default());
    // What has ended already is not from after its end.
    let exp = claims.get("exp").and_then(Value::as_i64);
    let iat = exp.map_or(now.0, |exp| now.0.min(exp.saturating_sub(1)));
    let mut say = |name: &str, value: &dyn Fn() -> Value| {
        claims.entry(name).or_insert_with(value);
    };
    if let Some(issuer) = issuer {
        say("iss", &|| json!(issuer));
    }
    say("iat", &|| json!(iat));
    if is_anybodys {
        say("sub", &|| subject.clone());
    }
    say("client_id", &|| client.clone());
    say("jti", &|| json!(id()));
    claims
}

impl Guard {
    /// The token of an `Authorization` value, to ask its issuer about.
    ///
    /// # Errors
    /// If there is none, or one that is larger than the contract has it.
    pub fn token_of<'a>(
        &self,
        authorization: Option<&'a str>,
        route: &Route,
        held: Held<'_>,
    ) -> Result<&'a str, Refused> {
        let asked = Asked::by(Some(route), held);
        let token = bearer::token(authorization, asked.key).map_err(|found| Fault::new(CheckId::TokenPresent, found));
        token
            .and_then(|(token, _)| {
                let most = self.contract().max_token_bytes;
                let found = || format!("{} bytes; at most {most} are read", token.len());
                if token.len() > most { Err(Fault::new(CheckId::TokenSize, found())) } else { Ok(token) }
            })
            .map_err(|fault| {
                let check = fault.check;
                self.refuse_now(&Evidence::Unreadable(fault), asked, check)
            })
    }

    /// Decides as [`check_for`](Self::check_for) does on what the issuer said of the token of this `Authorization` value; `None`
    /// where it said that it is worth nothing.
    ///
    /// # Errors
    /// If the request is refused.
    pub fn check_told(
        &self,
        authorization: Option<&str>,
        told: Option<&Told>,
        route: &Route,
        held: Held<'_>,
    ) -> Result<Principal, Refused> {
        let mut asked = Asked::by(Some(route), held);
        match bearer::token(authorization, asked.key) {
            Ok((_, key)) => asked.key = key,
            Err(found) => {
                let absent = Evidence::Unreadable(Fault::new(CheckId::TokenPresent, found));
                return Err(self.refuse_now(&absent, asked, CheckId::TokenPresent));
            }
        }
        if let Some(Told(proven)) = told {
            return self.decide(&Evidence::Proven(Arc::clone(proven)), asked);
        }
        let fault = Fault::new(CheckId::TokenActive, "the issuer says that the token is not active");
        Err(self.refuse_now(&Evidence::Unreadable(fault), asked, CheckId::TokenActive))
    }

    /// Decides anew on who was let in, on what the issuer says of the token now.
    ///
    /// # Errors
    /// If the request would be refused now.
    pub fn check_told_again(&self, principal: &Principal, told: &Told, route: &Route) -> Result<Principal, Refused> {
        let asked = Asked { route: Some(route), certificate: principal.certificate(), key: principal.key(), grace: 0 };
        self.decide(&Evidence::Proven(Arc::clone(&told.0)), asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_username_only_where_the_issuer_was_asked() {
        let said = json!({"client_id": "spa", "username": "ada"});
        for (issuer, sub) in [(Some("https://id.example"), "ada"), (None, "spa")] {
            let claims = said.as_object().unwrap().clone();
            let made = completed(claims, issuer, &Secret::new("a"), Timestamp(1_000));
            assert_eq!(made["sub"], sub, "{issuer:?}");
        }
    }
}
