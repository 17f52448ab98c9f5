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
