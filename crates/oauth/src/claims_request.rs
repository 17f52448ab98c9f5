//! The `claims` parameter (OpenID Connect Core section 5.5; Entra's claims challenge).
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one requested claim asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaim {
    /// Whether the answer is worthless without it.
    pub essential: bool,
    /// The values that would do; empty means any.
    pub values: Vec<String>,
}

/// The requested claims of the access token. Unknown claims and members are ignored: real clients send some.
///
/// ```
/// let asked = deputize_oauth::ClaimsRequest::parse(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#).unwrap();
/// assert_eq!(asked.access_token("acrs").unwrap().values, ["c1"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    access_token: Vec<(String, RequestedClaim)>,
}

impl ClaimsRequest {
    /// Reads the parameter; `None` if it is not a JSON object.
    pub fn parse(text: &str) -> Option<Self> {
        let all: Map<String, Value> = serde_json::from_str(text).ok()?;
        let Some(Value::Object(wanted)) = all.get("access_token") else { return Some(Self::default()) };
        let read = |value: &Value| {
            let Value::Object(value) = value else { return RequestedClaim::default() };
            let one = value.get("value").into_iter();
            let many = value.get("values").and_then(Value::as_array).into_iter().flatten();
            RequestedClaim {
                // What is meant to be essential is never dropped for how it is written.
                essential: value.get("essential").is_some_and(|essential| *essential == true || *essential == "true"),
                values: one.chain(many).filter_map(text_of).collect(),
            }
        };
        Some(Self { access_token: wanted.iter().map(|(name, value)| (name.clone(), read(value))).collect() })
    }

    /// The parameter with the authentication contexts of `acr_values` (RFC 9470 section 4) as an essential claim: one of them
    /// must be satisfied. Contexts that `claims` asks for itself say more, and stay; words that are none are ignored.
    ///
    /// ```
    /// let asked = deputize_oauth::ClaimsRequest::with_acr_values(None, Some("c1 phr"));
    /// assert_eq!(asked.as_deref(), Some(r#"{"access_token":{"acrs":{"essential":true,"values":["c1"]}}}"#));
    /// ```
    pub fn with_acr_values(claims: Option<&str>, acr_values: Option<&str>) -> Option<String> {
        let contexts: Vec<&str> = acr_values.unwrap_or_default().split(' ').filter(|word| is_context(word)).collect();
        if contexts.is_empty() {
            return claims.map(str::to_owned);
        }
        let mut all: Map<String, Value> = match claims.map(serde_json::from_str) {
            None => Map::new(),
            Some(Ok(all)) => all,
            Some(Err(_)) => return claims.map(str::to_owned),
        };
        let wanted = all.entry("access_token").or_insert_with(|| Value::Object(Map::new()));
        match wanted {
            Value::Object(wanted) if wanted.contains_key("acrs") => {}
            Value::Object(wanted) => {
                wanted.insert("acrs".to_owned(), serde_json::json!({"essential": true, "values": contexts}));
            }
            // What is no object asks for nothing.
            other => *other = serde_json::json!({"acrs": {"essential": true, "values": contexts}}),
        }
        Some(Value::Object(all).to_string())
    }

    /// What was asked of this claim of the access token.
    pub fn access_token(&self, name: &str) -> Option<&RequestedClaim> {
        self.access_token.iter().find(|(known, _)| known == name).map(|(_, asked)| asked)
    }

    /// Whether the client says it can handle claims challenges (`xms_cc` has `cp1`, in any case).
    pub fn handles_challenges(&self) -> bool {
        self.access_token("xms_cc")
            .is_some_and(|asked| asked.values.iter().any(|value| value.eq_ignore_ascii_case("cp1")))
    }
}

/// `c1` to `c99`.
fn is_context(word: &str) -> bool {
    let number = word.strip_prefix('c').and_then(|digits| digits.parse::<u8>().ok());
    number.is_some_and(|number| (1..=99).contains(&number) && word == format!("c{number}"))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimsRequest;

    #[test]
    fn acr_values_become_an_essential_claim_and_change_no_other() {
        let with = ClaimsRequest::with_acr_values;
        assert_eq!(with(Some("{}"), Some("urn:x c0 c100 c01")), Some("{}".to_owned()));
        assert_eq!(with(None, None), None);
        let own = r#"{"access_token":{"acrs":{"essential":true,"value":"c2"}}}"#;
        assert_eq!(with(Some(own), Some("c1")).as_deref(), Some(own));
        let merged =
            with(Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{}}"#), Some("c1 c2")).unwrap();
        let read = ClaimsRequest::parse(&merged).unwrap();
        assert!(read.handles_challenges());
        assert_eq!(read.access_token("acrs").unwrap().values, ["c1", "c2"]);
        let empty = ClaimsRequest::parse(&with(Some(r#"{"access_token":null}"#), Some("c1")).unwrap()).unwrap();
        assert!(empty.access_token("acrs").unwrap().essential);
        assert_eq!(with(Some("["), Some("c1")).as_deref(), Some("["), "still refused");
    }

    #[test]
    fn what_real_clients_send_is_understood_or_ignored() {
        let msal = r#"{"id_token":{"login_hint":{"essential":false}},"access_token":{"xms_cc":{"values":["CP1"]},"odd":null}}"#;
        let asked = ClaimsRequest::parse(msal).unwrap();
        assert!(asked.handles_challenges());
        assert!(!asked.access_token("odd").unwrap().essential);
        assert_eq!(ClaimsRequest::parse("{}"), Some(ClaimsRequest::default()));
        for bad in ["", "[]", "1", "{", "\"x\""] {
            assert_eq!(ClaimsRequest::parse(bad), None, "{bad}");
        }
    }
}
