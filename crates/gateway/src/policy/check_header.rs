//! `check_header`: a field that has to be there, with one of these values.
use super::{Decided, Part, Phase, Policy};
use crate::call::Call;
use crate::canonical::identity::is_alias;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World, fault, field_name, refusal_status};
use decision::CheckId;
use http::{HeaderMap, HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// Calls with a field that has one of these values.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "check_header")]
pub(crate) struct Table {
    /// The field.
    name: Spanned<String>,
    /// The status of the answer.
    failed_check_httpcode: Spanned<u16>,
    /// The text of the answer.
    failed_check_error_message: String,
    /// Whether the case of letters in values does not matter.
    ignore_case: bool,
    /// The values of which any one passes; without any, the field has to be there.
    #[serde(default)]
    value: Vec<String>,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, _: &mut World<'_>) -> Result<Part, SettingsError> {
        if self.value.iter().any(String::is_empty) {
            return Err(fault(at, "`value` has an empty text", "remove it, or remove `value` where presence suffices"));
        }
        Ok(Part::Rule(Arc::new(CheckHeader {
            name: field_name(&self.name)?,
            status: refusal_status(&self.failed_check_httpcode)?,
            message: self.failed_check_error_message.clone(),
            ignore_case: self.ignore_case,
            values: self.value.clone(),
        })))
    }

    fn told(&self) -> String {
        let name = self.name.get_ref();
        if self.value.is_empty() {
            format!("`{name}` is there")
        } else {
            format!("`{name}` is {}", self.value.join(" or "))
        }
    }
}

struct CheckHeader {
    name: HeaderName,
    status: StatusCode,
    message: String,
    ignore_case: bool,
    values: Vec<String>,
}

impl CheckHeader {
    /// Every line counts, whatever the spelling of its name: of two, the service could read the other.
    fn judge(&self, headers: &HeaderMap) -> Result<(), CheckId> {
        if !headers.contains_key(&self.name) {
            return Err(CheckId::HeaderPresent);
        }
        let alike = headers.iter().filter(|(name, _)| is_alias(name.as_str(), self.name.as_str()));
        let mut lines = alike.map(|(_, line)| line);
        let is = |wanted: &String, line: &[u8]| {
            let wanted = wanted.as_bytes();
            if self.ignore_case { wanted.eq_ignore_ascii_case(line) } else { wanted == line }
        };
        let fits = self.values.is_empty() || lines.all(|line| self.values.iter().any(|v| is(v, line.as_bytes())));
        if fits { Ok(()) } else { Err(CheckId::HeaderAllowed) }
    }
}

impl Policy for CheckHeader {
    fn phase(&self) -> Phase {
        Phase::Admit
    }

    fn decide(&self, call: &mut Call) -> Decided {
        match self.judge(call.request.headers()) {
            Ok(()) => Decided::Pass,
            Err(check) => Decided::Deny(Box::new(Denial::of(check).status(self.status).message(self.message.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], ignore_case: bool) -> CheckHeader {
        CheckHeader {
            name: HeaderName::from_static("x-edge"),
            status: StatusCode::UNAUTHORIZED,
            message: String::new(),
            ignore_case,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    fn judged(values: &[&str], ignore_case: bool, lines: &[&str]) -> Result<(), CheckId> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-edge", line.parse().unwrap());
        }
        check(values, ignore_case).judge(&headers)
    }

    #[test]
    fn a_field_is_there_with_a_listed_value() {
        assert_eq!(judged(&["a", "b"], false, &["b"]), Ok(()));
        assert_eq!(judged(&[], false, &[""]), Ok(()), "presence suffices");
        assert_eq!(judged(&["a"], true, &["A"]), Ok(()));
        assert_eq!(judged(&["a"], false, &["A"]), Err(CheckId::HeaderAllowed));
        assert_eq!(judged(&["a"], false, &[]), Err(CheckId::HeaderPresent));
        assert_eq!(judged(&[], false, &[]), Err(CheckId::HeaderPresent));
        assert_eq!(judged(&["a"], false, &["a, b"]), Err(CheckId::HeaderAllowed));
        assert_eq!(judged(&["a"], false, &["a", "b"]), Err(CheckId::HeaderAllowed), "every line counts");
    }

    #[test]
    fn g_05_what_servers_take_for_the_field_counts_as_the_field() {
        let check = check(&["a"], false);
        for (lines, expected) in [
            (&[("x-edge", "a"), ("x_edge", "a")][..], Ok(())),
            (&[("x-edge", "a"), ("x_edge", "b")], Err(CheckId::HeaderAllowed)),
            (&[("x.edge", "b"), ("x-edge", "a")], Err(CheckId::HeaderAllowed)),
            (&[("x_edge", "a")], Err(CheckId::HeaderPresent)),
        ] {
            let mut headers = HeaderMap::new();
            for &(name, line) in lines {
                headers.append(HeaderName::from_static(name), line.parse().unwrap());
            }
            assert_eq!(check.judge(&headers), expected, "{lines:?}");
        }
    }
}
