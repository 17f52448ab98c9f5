//! Claims that tokens have to have, and what they have to say.
use crate::settings::{SettingsError, Spanned, fault};
use decision::CheckId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A claim, and what it says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "required_claim")]
pub(crate) struct ClaimTable {
    /// Its name.
    name: String,
    /// Whether every value has to be there, or one.
    #[serde(default, rename = "match")]
    matches: Match,
    /// What stands between the values of a text.
    separator: Option<String>,
    /// The values; without any, the claim has to be there.
    #[serde(default)]
    value: Vec<String>,
}

impl ClaimTable {
    /// What it demands, for people.
    pub(super) fn told(&self) -> String {
        let Self { name, matches, value, .. } = self;
        match (value.as_slice(), matches) {
            ([], _) => format!("`{name}` is there"),
            ([one], _) => format!("`{name}` has {one}"),
            (all, Match::All) => format!("`{name}` has {}", all.join(" and ")),
            (any, Match::Any) => format!("`{name}` has {}", any.join(" or ")),
        }
    }

    /// Whether it demands values of a claim that is called so.
    pub(super) fn names_any_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str()) && !self.value.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Match {
    #[default]
    All,
    Any,
}

/// What is demanded of claims beside, where the token is, and what a refusal's status is, for people.
pub(super) fn told(
    claims: &[Spanned<ClaimTable>],
    header_name: Option<&Spanned<String>>,
    query_parameter_name: Option<&Spanned<String>>,
    status: Option<&Spanned<u16>>,
) -> String {
    let claims = claims.iter().map(|claim| format!(", where {}", claim.get_ref().told()));
    let field = header_name.map(|name| format!(", in the field `{}`", name.get_ref()));
    let parameter = query_parameter_name.map(|name| format!(", in the parameter `{}`", name.get_ref()));
    let status = status.map(|status| format!("; others get {}", status.get_ref()));
    claims.chain(field).chain(parameter).chain(status).collect()
}

/// A claim that has to be there.
pub(crate) struct ClaimRule {
    pub(super) name: String,
    matches: Match,
    separator: Option<String>,
    values: Vec<String>,
}

impl ClaimRule {
    pub(super) fn read(table: &Spanned<ClaimTable>) -> Result<Self, SettingsError> {
        let ClaimTable { name, matches, separator, value } = table.get_ref();
        if name.is_empty() || separator.as_deref() == Some("") {
            return Err(fault(&table.span(), "a name or a separator is empty", "say what it is, or leave it out"));
        }
        Ok(Self { name: name.clone(), matches: *matches, separator: separator.clone(), values: value.clone() })
    }

    pub(super) fn judge(&self, claim: Option<&Value>) -> Result<(), CheckId> {
        let claim = claim.filter(|claim| !claim.is_null()).ok_or(CheckId::ClaimPresent)?;
        let has = |wanted: &String| match claim {
            Value::Array(items) => items.iter().any(|item| is(item, wanted)),
            Value::String(text) => match &self.separator {
                Some(separator) => text.split(separator.as_str()).any(|part| part == wanted),
                None => text == wanted,
            },
            other => is(other, wanted),
        };
        let holds = match self.matches {
            Match::All => self.values.iter().all(has),
            Match::Any => self.values.is_empty() || self.values.iter().any(has),
        };
        if holds { Ok(()) } else { Err(CheckId::ClaimAllowed) }
    }
}

/// Whether one value of a claim is this text.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => wanted == if *truth { "true" } else { "false" },
        Value::Number(number) => *wanted == *number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(matches: Match, separator: Option<&str>, values: &[&str], claim: Option<Value>) -> Result<(), CheckId> {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        let rule = ClaimRule { name: "c".into(), matches, separator: separator.map(str::to_owned), values };
        rule.judge(claim.as_ref())
    }

    #[test]
    fn a_required_claim_has_all_or_any_of_its_values() {
        use Match::{All, Any};
        for (matches, separator, values, claim, expected) in [
            (All, None, &["a", "b"][..], Some(json!(["a", "b", "c"])), Ok(())),
            (All, None, &["a", "b"], Some(json!(["a"])), Err(CheckId::ClaimAllowed)),
            (Any, None, &["a", "b"], Some(json!(["b"])), Ok(())),
            (Any, None, &["a", "b"], Some(json!(["c"])), Err(CheckId::ClaimAllowed)),
            (All, Some(" "), &["a", "b"], Some(json!("b a")), Ok(())),
            (All, Some(" "), &["a"], Some(json!("ab")), Err(CheckId::ClaimAllowed)),
            (All, None, &["a"], Some(json!("a b")), Err(CheckId::ClaimAllowed)),
            (All, None, &[], Some(json!("anything")), Ok(())),
            (Any, None, &[], Some(json!(0)), Ok(())),
            (All, None, &["7"], Some(json!(7)), Ok(())),
            (All, None, &["true"], Some(json!(true)), Ok(())),
            (All, None, &["a"], Some(json!({"a": 1})), Err(CheckId::ClaimAllowed)),
            (All, None, &["a"], None, Err(CheckId::ClaimPresent)),
            (Any, None, &[], None, Err(CheckId::ClaimPresent)),
            (All, None, &[], Some(json!(null)), Err(CheckId::ClaimPresent)),
        ] {
            assert_eq!(
                judged(matches, separator, values, claim.clone()),
                expected,
                "{matches:?} {values:?} of {claim:?}"
            );
        }
    }
}
