//! `set_header`: a field that the service is sent, of a value or of a claim.
use super::{Decided, Part, Phase, Policy};
use crate::call::Call;
use crate::canonical::identity::is_alias;
use crate::settings::{Look, SettingsError, Spanned, World, fault, field_name};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// A field that the service is sent, of values or of a claim.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "set_header")]
pub(crate) struct Table {
    /// The field.
    name: Spanned<String>,
    /// Its values, a line each.
    #[serde(default)]
    value: Vec<Spanned<String>>,
    /// The claim of the verified token that it has the value of. Where the claim is absent, there is no field.
    claim: Option<String>,
    /// What becomes of a field of this name that the caller sent.
    #[serde(default)]
    exists_action: Exists,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Exists {
    #[default]
    Override,
    Skip,
    Append,
    Delete,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let name = field_name(&self.name)?;
        let of_connection =
            [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
        let mut of_connection =
            of_connection.iter().map(HeaderName::as_str).chain(["keep-alive", "proxy-connection", "proxy"]);
        if of_connection.any(|other| is_alias(name.as_str(), other)) {
            return Err(fault(&self.name.span(), "this field belongs to the connection", "leave it to the gateway"));
        }
        if name == AUTHORIZATION {
            let hint = "say in `onward` which credential the service is sent";
            return Err(fault(&self.name.span(), "this field is the onward credential's", hint));
        }
        let mut values = Vec::with_capacity(self.value.len());
        for text in &self.value {
            values.push(HeaderValue::try_from(text.get_ref().as_str()).map_err(|_| {
                fault(&text.span(), "this is no value of a field", "use visible ASCII characters and spaces")
            })?);
        }
        let source = match (&self.claim, values.is_empty(), self.exists_action) {
            (None, true, Exists::Delete) | (None, false, Exists::Override | Exists::Skip | Exists::Append) => {
                Source::Values(values)
            }
            (Some(claim), true, Exists::Override) => Source::Claim(claim.clone()),
            (Some(_), true, _) => {
                let hint = "remove `exists_action`: what a caller sent is never kept beside a claim";
                return Err(fault(at, "a claim always replaces", hint));
            }
            (_, _, Exists::Delete) => {
                return Err(fault(at, "what is deleted has no value", "remove `value` and `claim`"));
            }
            _ => {
                return Err(fault(
                    at,
                    "the field has no value",
                    "add `value = [\"…\"]` or `claim = \"…\"`, one of them",
                ));
            }
        };
        if self.exists_action == Exists::Override {
            world.inject(name.clone());
        }
        if self.claim.is_some() {
            world.looks_at("set_header", Look::Claim);
        }
        Ok(Part::Rule(Arc::new(SetHeader { name, source, exists: self.exists_action })))
    }

    fn told(&self) -> String {
        let name = self.name.get_ref();
        match (&self.claim, self.exists_action) {
            (Some(claim), _) => format!("`{name}` is the claim `{claim}`"),
            (None, Exists::Delete) => format!("`{name}` is removed"),
            (None, Exists::Append) => format!("`{name}` is added to what the caller sends"),
            (None, Exists::Skip) => format!("`{name}` is set where the caller sends none"),
            (None, Exists::Override) => format!("`{name}` is set"),
        }
    }
}

enum Source {
    Values(Vec<HeaderValue>),
    Claim(String),
}

struct SetHeader {
    name: HeaderName,
    source: Source,
    exists: Exists,
}

impl SetHeader {
    fn apply(&self, headers: &mut HeaderMap, values: &[HeaderValue]) {
        let of_caller = headers.contains_key(&self.name);
        if of_caller && self.exists == Exists::Skip {
            return;
        }
        if self.exists != Exists::Append {
            remove_with_aliases(headers, &self.name);
        }
        for value in values {
            headers.append(self.name.clone(), value.clone());
        }
    }
}

/// Removes a field, in every spelling that a service could take for it.
fn remove_with_aliases(headers: &mut HeaderMap, name: &HeaderName) {
    let aliases: Vec<HeaderName> =
        headers.keys().filter(|key| is_alias(key.as_str(), name.as_str())).cloned().collect();
    for alias in aliases {
        headers.remove(alias);
    }
}

/// A claim as a field: texts as they are, what is nested as JSON in base64. Nothing where it cannot be one: of a text with spaces around it
/// services read another.
fn field_of(claim: &Value) -> Option<HeaderValue> {
    use base64::Engine;
    let text = match claim {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => claim.to_string(),
        Value::Array(_) | Value::Object(_) => base64::engine::general_purpose::STANDARD.encode(claim.to_string()),
    };
    let is_plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && text.trim_matches(' ') == text;
    HeaderValue::try_from(text).ok().filter(|_| is_plain)
}

impl Policy for SetHeader {
    fn phase(&self) -> Phase {
        Phase::Rewrite
    }

    fn decide(&self, call: &mut Call) -> Decided {
        match &self.source {
            Source::Values(values) => self.apply(call.request.headers_mut(), values),
            Source::Claim(claim) => {
                let principal = call.principal.as_ref();
                let value = principal.and_then(|(principal, _)| field_of(principal.all_claims().get(claim)?));
                self.apply(call.request.headers_mut(), value.as_slice());
            }
        }
        Decided::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(exists: Exists, values: &[&str], sent: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let values: Vec<HeaderValue> = values.iter().map(|v| v.parse().unwrap()).collect();
        let set = SetHeader { name: HeaderName::from_static("x-user"), source: Source::Values(Vec::new()), exists };
        set.apply(&mut headers, &values);
        let mut left: Vec<_> = headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        left.sort();
        left
    }

    fn lines(of: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut lines: Vec<_> = of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_field_replaces_joins_or_yields_to_the_callers() {
        let sent = [("x-user", "mallory"), ("accept", "*/*")];
        assert_eq!(set(Exists::Override, &["ada"], &sent), lines(&[("accept", "*/*"), ("x-user", "ada")]));
        assert_eq!(set(Exists::Skip, &["ada"], &sent), lines(&sent));
        assert_eq!(set(Exists::Skip, &["ada"], &[]), lines(&[("x-user", "ada")]));
        assert_eq!(set(Exists::Append, &["ada"], &sent[..1]), lines(&[("x-user", "mallory"), ("x-user", "ada")]));
        assert_eq!(set(Exists::Delete, &[], &sent), lines(&[("accept", "*/*")]));
    }

    #[test]
    fn g_05_where_a_claim_is_absent_the_callers_field_goes_in_every_spelling() {
        let sent = [("x-user", "m"), ("x_user", "m"), ("x.user", "m"), ("x-user", "n")];
        assert_eq!(set(Exists::Override, &[], &sent), lines(&[]));
    }

    #[test]
    fn claims_are_fields_as_their_types_are() {
        let field = |claim: Value| field_of(&claim).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(field(json!("ada")).as_deref(), Some("ada"));
        assert_eq!(field(json!(7)).as_deref(), Some("7"));
        assert_eq!(field(json!(true)).as_deref(), Some("true"));
        assert_eq!(field(json!(["a", "b"])).as_deref(), Some("WyJhIiwiYiJd"));
        for claim in [json!(null), json!("a\r\nx-admin: 1"), json!("a\0"), json!("å"), json!(" admin"), json!("ada ")]
        {
            assert_eq!(field(claim.clone()), None, "{claim}");
        }
    }
}
