//! How services are told who signed in: App Service's fields, with its names for claims.
use super::session::{Session, Signed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue};
use oauth::Secret;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const PRINCIPAL: HeaderName = HeaderName::from_static("x-ms-client-principal");
const ID: HeaderName = HeaderName::from_static("x-ms-client-principal-id");
const NAME: HeaderName = HeaderName::from_static("x-ms-client-principal-name");
const PROVIDER: HeaderName = HeaderName::from_static("x-ms-client-principal-idp");

/// The names that .NET has for claims, and App Service with it. Others keep theirs.
const LONG: [(&str, &str); 17] = [
    ("acr", "http://schemas.microsoft.com/claims/authnclassreference"),
    ("amr", "http://schemas.microsoft.com/claims/authnmethodsreferences"),
    ("auth_time", "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationinstant"),
    ("email", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"),
    ("family_name", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname"),
    ("given_name", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname"),
    ("idp", "http://schemas.microsoft.com/identity/claims/identityprovider"),
    ("nameid", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"),
    ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"),
    ("role", ROLE),
    ("roles", ROLE),
    ("scp", "http://schemas.microsoft.com/identity/claims/scope"),
    ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"),
    ("tid", "http://schemas.microsoft.com/identity/claims/tenantid"),
    ("unique_name", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"),
    ("upn", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"),
    ("website", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/webpage"),
];
const ROLE: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role";

/// Claims that name a person to people, the best first.
const NAMES: [&str; 6] = ["preferred_username", "upn", "email", "unique_name", "name", "sub"];

fn long(name: &str) -> &str {
    LONG.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long)
}

#[derive(Serialize)]
struct Claim<'a> {
    typ: &'a str,
    val: String,
}

#[derive(Serialize)]
struct Principal<'a> {
    auth_typ: &'a str,
    claims: Vec<Claim<'a>>,
    name_typ: &'a str,
    role_typ: &'a str,
}

/// One of several values is a claim of its own.
fn told(claims: &Map<String, Value>) -> Vec<Claim<'_>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut all = Vec::new();
    for (name, value) in claims {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        all.extend(values.iter().map(|value| Claim { typ: long(name), val: text(value) }));
    }
    all
}

fn name(claims: &Map<String, Value>) -> Option<(&'static str, &str)> {
    NAMES.iter().find_map(|claim| Some((*claim, claims.get(*claim)?.as_str()?)))
}

impl Signed {
    /// Tells a service. What callers sent under these names is gone already.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let (name_of, name) = name(&self.claims).unwrap_or(("name", ""));
        let principal = Principal {
            auth_typ: &self.provider.name,
            claims: told(&self.claims),
            name_typ: long(name_of),
            role_typ: ROLE,
        };
        let mut set = |field: &HeaderName, value: &str| {
            // What no field can carry is in the principal.
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(true);
                headers.insert(field, value);
            }
        };
        set(&PRINCIPAL, &STANDARD.encode(serde_json::to_vec(&principal).unwrap_or_default()));
        set(&ID, self.who().0.unwrap_or_default());
        set(&NAME, name);
        set(&PROVIDER, &self.provider.name);
        if self.forwards_tokens {
            let (fields, tokens) = (&self.provider.fields, &self.session.tokens);
            let pairs = [
                (&fields.id_token, &tokens.id_token),
                (&fields.access_token, &tokens.access_token),
                (&fields.refresh_token, &tokens.refresh_token),
            ];
            for (field, token) in pairs {
                if let Some(token) = token {
                    set(field, token.expose());
                }
            }
            if let Some(ends) = tokens.expires_on {
                set(&fields.expires_on, &ends.to_string());
            }
        }
    }
}

/// What `/.auth/me` says of a session.
#[derive(Serialize)]
pub(super) struct Me<'a> {
    provider_name: &'a str,
    user_id: String,
    user_claims: Vec<Claim<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

impl<'a> Me<'a> {
    pub(super) fn of(session: &'a Session, claims: &'a Map<String, Value>) -> Self {
        let text = |secret: &'a Option<Secret>| secret.as_ref().map(Secret::expose);
        Self {
            provider_name: &session.provider,
            user_id: name(claims).unwrap_or_default().1.to_owned(),
            user_claims: told(claims),
            id_token: text(&session.tokens.id_token),
            access_token: text(&session.tokens.access_token),
            expires_on: session.tokens.expires_on.map(|ends| ends.to_string()),
            refresh_token: text(&session.tokens.refresh_token),
        }
    }
}

/// The name of a user that applications get with their session: the same at each sign-in, and it says nothing of them.
pub(super) fn sid(claims: &Map<String, Value>) -> String {
    let mut hash = Sha256::new();
    for name in ["iss", "sub"] {
        let text = claims.get(name).and_then(Value::as_str).unwrap_or_default();
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let mut sid = String::from("sid:");
    sid.extend(HEXLOWER.encode(&hash.finalize()).chars().take(32));
    sid
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_have_the_names_of_app_service_and_one_value_each() {
        let claims = json!({
            "sub": "s", "oid": "o", "roles": ["Reader", "Writer"], "ver": "2.0", "exp": 5, "email_verified": true,
            "groups": [], "address": {"country": "NO"},
        });
        let told = told(claims.as_object().unwrap());
        let pairs: Vec<_> =
            told.iter().map(|claim| (claim.typ.rsplit('/').next().unwrap(), claim.val.as_str())).collect();
        for pair in [
            ("nameidentifier", "s"),
            ("objectidentifier", "o"),
            ("role", "Reader"),
            ("role", "Writer"),
            ("ver", "2.0"),
            ("exp", "5"),
            ("email_verified", "true"),
            ("address", r#"{"country":"NO"}"#),
        ] {
            assert!(pairs.contains(&pair), "{pair:?} in {pairs:?}");
        }
        assert!(!pairs.iter().any(|(typ, _)| *typ == "groups"));
    }

    #[test]
    fn a_sid_is_of_one_user_at_one_issuer() {
        let sid = |iss: &str, sub: &str| sid(json!({"iss": iss, "sub": sub}).as_object().unwrap());
        assert_eq!(sid("a", "b"), sid("a", "b"));
        assert_ne!(sid("a", "bc"), sid("ab", "c"));
        assert_eq!(sid("a", "b").len(), 36);
    }
}
