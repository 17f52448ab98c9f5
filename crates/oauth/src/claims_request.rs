//! The `claims` parameter (OpenID Connect Core section 5.5; Entra's claims challenge).
use crate::strict::Strict;
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

/// The requested claims of the access token. Claims and members that are not known are ignored: real clients send some. What is
/// known and cannot be read is refused, never forgotten: it may be what the answer is worthless without.
///
/// ```
/// use deputize_oauth::ClaimsRequest;
///
/// let asked = ClaimsRequest::parse(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#).unwrap();
/// assert_eq!(asked.access_token("acrs").unwrap().values, ["c1"]);
/// assert!(ClaimsRequest::parse(r#"{"access_token":{"acrs":{"essential":true}},"access_token":{}}"#).is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    access_token: Vec<(String, RequestedClaim)>,
}

impl ClaimsRequest {
    /// Reads the parameter; `None` if it is not one JSON object, names a member twice in any object, or asks for claims of the
    /// access token in a shape that is not that of OpenID Connect Core section 5.5.1.
    pub fn parse(text: &str) -> Option<Self> {
        let all = object(text)?;
        let wanted = match all.get("access_token") {
            None | Some(Value::Null) => return Some(Self::default()),
            Some(Value::Object(wanted)) => wanted,
            Some(_) => return None,
        };
        let read = |(name, value): (&String, &Value)| Some((name.clone(), RequestedClaim::read(value)?));
        Some(Self { access_token: wanted.iter().map(read).collect::<Option<_>>()? })
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
        let mut all = match claims.map(object) {
            None => Map::new(),
            Some(Some(all)) => all,
            Some(None) => return claims.map(str::to_owned),
        };
        let wanted = all.entry("access_token").or_insert_with(|| Value::Object(Map::new()));
        match wanted {
            Value::Object(wanted) if wanted.contains_key("acrs") => {}
            Value::Object(wanted) => {
                wanted.insert("acrs".to_owned(), serde_json::json!({"essential": true, "values": contexts}));
            }
            Value::Null => *wanted = serde_json::json!({"acrs": {"essential": true, "values": contexts}}),
            // No request, and refused as one.
            _ => {}
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

impl RequestedClaim {
    /// `null` asks for the claim, and nothing more.
    fn read(value: &Value) -> Option<Self> {
        let value = match value {
            Value::Null => return Some(Self::default()),
            Value::Object(value) => value,
            _ => return None,
        };
        let essential = value.get("essential").map_or(Some(false), Value::as_bool)?;
        let many = value.get("values").map_or(Some(&[][..]), |values| values.as_array().map(Vec::as_slice))?;
        let values = value.get("value").into_iter().chain(many).map(text_of).collect::<Option<_>>()?;
        Some(Self { essential, values })
    }
}

/// A JSON object in which no object names a member twice.
fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text).ok()? {
        Strict(Value::Object(all)) => Some(all),
        _ => None,
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

    #[test]
    fn what_is_meant_to_be_essential_is_never_dropped_for_how_it_is_written() {
        let essential = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}"#;
        for bad in [
            // A second member of the same name would be what counts, for some readers.
            format!(r#"{essential},"access_token":{{}}}}"#),
            format!(r#"{essential},"\u0061ccess_token":null}}"#),
            r#"{"access_token":{"acrs":{"essential":true,"value":"c1"},"acrs":null}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"value":"c1","essential":false}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"value":"c1","value":"c2"}}}"#.to_owned(),
            format!(r#"{essential},"id_token":{{"x":[{{"a":1,"a":2}}]}}}}"#),
            // Shapes that nobody defines.
            r#"{"access_token":[{"acrs":{"essential":true}}]}"#.to_owned(),
            r#"{"access_token":"acrs"}"#.to_owned(),
            r#"{"access_token":{"acrs":"c1"}}"#.to_owned(),
            r#"{"access_token":{"acrs":["c1"]}}"#.to_owned(),
            r#"{"access_token":{"acrs":true}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":"true","value":"c1"}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":1,"value":"c1"}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":null,"value":"c1"}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"value":["c1"]}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"value":null}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"values":"c1"}}}"#.to_owned(),
            r#"{"access_token":{"acrs":{"essential":true,"values":["c1",{}]}}}"#.to_owned(),
        ] {
            assert_eq!(ClaimsRequest::parse(&bad), None, "{bad}");
            assert_eq!(
                ClaimsRequest::with_acr_values(Some(&bad), Some("c3")).as_deref().and_then(ClaimsRequest::parse),
                None,
                "nor does `acr_values` mend it: {bad}"
            );
        }
        assert!(ClaimsRequest::parse(&format!("{essential}}}")).unwrap().access_token("acrs").unwrap().essential);
        let number = r#"{"access_token":{"nbf":{"essential":true,"value":1604106651}}}"#;
        assert_eq!(ClaimsRequest::parse(number).unwrap().access_token("nbf").unwrap().values, ["1604106651"]);
    }
}
