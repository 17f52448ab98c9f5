//! `introspect`: a token that its issuer says is active (RFC 7662). What the issuer says of it is then judged as the claims of a
//! token are: by guard, with all that `require` demands.
use super::Part;
use super::bearer::{Place, TokenCheck};
use super::required_claims::{self, ClaimRule, ClaimTable};
use crate::settings::{SettingsError, Spanned, World, fault, refusal_status};
use client::{Introspections, Kept};
use decision::Timestamp;
use decision::contract::{Contract, Disclosure, Profile, TrustedIssuer};
use guard::Told;
use oauth::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::sync::Arc;

/// How many bytes of answers each policy remembers.
const REMEMBERED: u64 = 8 << 20;
/// The audience of tokens whose own does not count.
const ANY: &str = "urn:deputize:any-audience";

/// Calls with a token that its issuer says is active (RFC 7662): for tokens that nobody else can read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "introspect")]
pub(crate) struct Table {
    /// Who is asked, by the name that the file gives it. It has an `issuer`, whose tokens these are.
    authority: Spanned<String>,
    /// The values of `aud` of which any one will do.
    #[serde(default)]
    audiences: Vec<String>,
    /// Says that the issuer tells of tokens for this API only, so that their audience does not count.
    #[serde(default)]
    any_audience: bool,
    /// The only applications that may call; by default any.
    client_application_ids: Option<Vec<String>>,
    /// Claims that the token has, all of them.
    #[serde(default)]
    required_claims: Vec<Spanned<ClaimTable>>,
    /// The longest life of a token, in seconds; by default a day.
    max_lifetime: Option<i64>,
    /// How many seconds it is remembered that a token is active, which is never longer than the token lives: as long a token that
    /// was revoked is good.
    #[serde(default = "sixty")]
    cache_seconds: i64,
    /// How many seconds it is remembered that a token is not active.
    #[serde(default = "five")]
    inactive_seconds: i64,
    /// The field that carries the token; by default `Authorization`, with `Bearer` before it.
    header_name: Option<Spanned<String>>,
    /// The parameter that carries it, in its place.
    query_parameter_name: Option<Spanned<String>>,
    /// The status of refusals; by default 401, and what the check that failed says where that is another.
    failed_validation_httpcode: Option<Spanned<u16>>,
    /// The text of refusals; by default what failed, and how to mend it.
    failed_validation_error_message: Option<String>,
}

const fn sixty() -> i64 {
    60
}

const fn five() -> i64 {
    5
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let wrong = |problem: &str, hint: &str| Err(fault(at, problem, hint));
        match (self.audiences.is_empty(), self.any_audience) {
            (true, false) => {
                return wrong(
                    "tokens for any API would pass, which is no check",
                    "add `audiences`, or `any_audience = true` where the issuer tells of tokens for this API only",
                );
            }
            (false, true) => return wrong("`audiences` do not count", "drop them, or `any_audience = true`"),
            _ => {}
        }
        if !(0..=3_600).contains(&self.cache_seconds) || !(0..=60).contains(&self.inactive_seconds) {
            return wrong(
                "an answer would be remembered for too long",
                "write 0 to 3600 in `cache_seconds`, and 0 to 60 in `inactive_seconds`",
            );
        }
        let client = world.authority(&self.authority)?;
        let issuer = client.endpoints().issuer.ok_or_else(|| {
            let problem = format!("nothing says whose tokens `{}` tells of", self.authority.get_ref());
            fault(&self.authority.span(), problem, "add `issuer` to that `[[authority]]`")
        })?;
        let audiences = if self.any_audience { vec![ANY.to_owned()] } else { self.audiences.clone() };
        let contract = Contract {
            name: None,
            audiences,
            issuers: vec![TrustedIssuer {
                issuer: issuer.clone(),
                metadata: None,
                // Nothing that is signed is taken here.
                jwks_uri: Some("https://keys.invalid/".to_owned()),
                foreign_keys_host: false,
                tenants: None,
                profile: Profile::Native,
                algorithm: None,
            }],
            clients: self.client_application_ids.clone(),
            routes: Vec::new(),
            skew: 0,
            max_token_bytes: 16_384,
            max_lifetime: self.max_lifetime,
            fail_static: 60,
            // RFC 7662 has `scope` left out where a token has none: what is demanded of it, `require` says.
            authorized_by_list: true,
            disclosure: Disclosure::default(),
            authorization_uri: None,
        };
        let guard = world.guard_of_told(contract, at)?;
        let (clock, reading, any) = (world.clock(), guard.clone(), self.any_audience);
        let seconds = (self.cache_seconds, self.inactive_seconds);
        let asks =
            Introspections::new(client, REMEMBERED, seconds, move |token: &Secret, claims: Map<String, Value>| {
                let now = clock.now();
                let told = Told::read(token, completed(claims, &issuer, any, token, now), &reading)?;
                Some(Kept { expires: told.expires().unwrap_or(now), bytes: told.weight(), value: told })
            });
        Ok(Part::Token(Arc::new(TokenCheck {
            guard,
            asks: Some(asks),
            shared: None,
            place: Place::read(self.header_name.as_ref(), self.query_parameter_name.as_ref(), world)?,
            claims: self.required_claims.iter().map(ClaimRule::read).collect::<Result<_, _>>()?,
            status: self.failed_validation_httpcode.as_ref().map(refusal_status).transpose()?,
            message: self.failed_validation_error_message.clone(),
        })))
    }

    fn identifies(&self) -> bool {
        true
    }

    fn told(&self) -> String {
        let audiences = if self.any_audience { "any API".to_owned() } else { self.audiences.join(" or ") };
        let (authority, seconds) = (self.authority.get_ref(), self.cache_seconds);
        let more = required_claims::told(
            &self.required_claims,
            self.header_name.as_ref(),
            self.query_parameter_name.as_ref(),
            self.failed_validation_httpcode.as_ref(),
        );
        let clients = self.client_application_ids.as_ref().map(|ids| format!(", of {}", ids.join(" or ")));
        let clients = clients.unwrap_or_default();
        format!(
            "a token for {audiences}{clients} that `{authority}` says is active, asked at most every {seconds} s{more}"
        )
    }
}

/// What an answer leaves out because it goes without saying (RFC 7662 section 2.2 demands `active` alone), and the audience of one whose
/// own does not count.
fn completed(
    mut claims: Map<String, Value>,
    issuer: &str,
    any_audience: bool,
    token: &Secret,
    now: Timestamp,
) -> Map<String, Value> {
    // Keycloak says of a token without scopes that they are a text of nothing.
    if claims.get("scope").is_some_and(|scope| scope == "") {
        claims.remove("scope");
    }
    if may_be_an_id_token(&claims, any_audience) {
        claims.insert("typ".to_owned(), json!("ID"));
    }
    if any_audience {
        claims.insert("aud".to_owned(), json!(ANY));
    }
    guard::completed(claims, Some(issuer), token, now)
}

/// Whether a token that is told of without its kind allows nothing and may be an ID token: it is for the application that asked for it, or
/// for anybody and of an application that is not told.
fn may_be_an_id_token(claims: &Map<String, Value>, any_audience: bool) -> bool {
    let says = |name: &&str| match claims.get(*name) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(all)) => !all.is_empty(),
        _ => false,
    };
    let client = ["client_id", "azp"].iter().find_map(|name| claims.get(*name));
    let is_for = |client: &Value| match claims.get("aud") {
        Some(Value::Array(all)) => all.contains(client),
        Some(one) => one == client,
        None => false,
    };
    let (kind, rights) = (["typ", "token_use", "token_type"], ["scope", "scp", "roles"]);
    !kind.iter().any(&says) && !rights.iter().any(says) && client.map_or(any_audience, is_for)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_without_saying_is_said_and_nothing_is_changed() {
        let complete = |claims: Value, any: bool| {
            let claims = claims.as_object().unwrap().clone();
            let now = Timestamp(1_000);
            Value::Object(completed(claims, "https://id.example", any, &Secret::new("a"), now))
        };
        let made = complete(json!({"active": true, "azp": "spa"}), false);
        assert_eq!((&made["iss"], &made["iat"]), (&json!("https://id.example"), &json!(1_000)));
        assert_eq!((&made["sub"], &made["client_id"]), (&json!("spa"), &json!("spa")));
        assert_eq!(made["jti"].as_str().unwrap().len(), 16);
        assert!(made.get("aud").is_none() && made.get("exp").is_none());
        // A user is no application because only `username` names them, and nobody is one.
        let made = complete(json!({"active": true, "client_id": "spa", "username": "ada"}), false);
        assert_eq!((&made["sub"], &made["client_id"]), (&json!("ada"), &json!("spa")));
        let made = complete(json!({"active": true, "client_id": "spa", "username": null}), false);
        assert_eq!(made["sub"], "spa");
        let made = complete(json!({"active": true}), false);
        assert_eq!((made.get("sub"), &made["client_id"]), (None, &json!("unknown")));
        let said =
            json!({"iss": "https://evil.example", "iat": 1, "sub": "ada", "client_id": "c", "jti": "j", "aud": "a"});
        assert_eq!(complete(said.clone(), false), said);
        assert_eq!(complete(said, true)["aud"], ANY);
        // Without a scope, what is for its own application is an ID token, unless its kind is told.
        for (claims, typ) in [
            (json!({"client_id": "spa", "aud": "spa", "scope": ""}), json!("ID")),
            (json!({"azp": "spa", "aud": ["api", "spa"]}), json!("ID")),
            (json!({"azp": "spa", "aud": "spa", "roles": [], "scp": "", "token_type": null}), json!("ID")),
            (json!({"sub": "ada", "aud": "spa"}), json!("ID")),
            (json!({"azp": "spa", "aud": "spa", "roles": ["Reader"]}), Value::Null),
            (json!({"azp": "spa", "aud": "spa", "token_type": "Bearer"}), Value::Null),
            (json!({"azp": "spa", "aud": "spa", "scope": "a"}), Value::Null),
            (json!({"azp": "spa", "aud": "api", "scope": ""}), Value::Null),
        ] {
            let made = complete(claims.clone(), true);
            assert_eq!((&made["typ"], made.get("scope").is_some_and(|scope| scope == "")), (&typ, false), "{claims}");
        }
    }
}
