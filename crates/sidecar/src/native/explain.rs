//! Why something was refused, in the decision language: which check, who can mend it, how.
use crate::inbound::Inbound;
use crate::problem::Problem;
use decision::{Check, CheckId, Verdict};
use guard::Guard;
use http::StatusCode;
use oauth::ErrorBody;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Explains a token for an API (`{"token", "api", "method", "path"}`), or an authority's refusal as it came.
pub(super) async fn explained(
    asked: &Value,
    inbound: &Inbound,
    contracts: &BTreeMap<String, Guard>,
) -> Result<Value, Problem> {
    if asked.get("token").is_some() {
        return token(asked, inbound, contracts).await;
    }
    let said: ErrorBody = serde_json::from_value(asked.clone()).map_err(|_| {
        Problem::bad_request(
            "send the authority's refusal as it came (`error` is a text), or a `token` with `method` and `path`",
        )
    })?;
    Ok(refusal(&said))
}

async fn token(asked: &Value, inbound: &Inbound, contracts: &BTreeMap<String, Guard>) -> Result<Value, Problem> {
    let text = |name: &str| match asked.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Problem::bad_request(format!("`{name}` is no text"))),
    };
    let token = text("token")?.unwrap_or_default();
    let guard = match text("api")? {
        Some(name) => contracts.get(&name.to_ascii_lowercase()).ok_or_else(|| {
            let detail = "there is no contract for this API; set `Contract` under its name in `DownstreamApis`";
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?,
        None => inbound.explaining().ok_or_else(|| {
            let detail =
                "there is no contract for the application itself; set `contract` under `native`, or name an `api`";
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?,
    };
    let (method, path) = (text("method")?.unwrap_or("GET"), text("path")?.unwrap_or("/"));
    let verdict = guard.explain(token, method, path).await;
    Ok(told(verdict, &[]))
}

/// What an authority refused with. One that speaks our language says the check; of others the code says it, where only one
/// check has that code.
fn refusal(said: &ErrorBody) -> Value {
    let named = said.deputize_hint.as_ref().and_then(hinted);
    if let Some(check) = named {
        return told(Verdict { checks: vec![check] }, &[]);
    }
    let known = |id: &&CheckId| {
        let entry = id.entry();
        match said.error_codes.first() {
            Some(_) => entry.aadsts.is_some_and(|code| said.error_codes.contains(&code)),
            // `invalid_grant` alone is everything and nothing.
            None => false,
        }
    };
    let found = || {
        let told = if said.error_description.is_empty() { &said.error } else { &said.error_description };
        told.lines().next().unwrap_or_default().to_owned()
    };
    let candidates: Vec<Check> =
        CheckId::ALL.iter().filter(known).map(|id| Check::fail(*id, id.entry().title, found())).collect();
    match candidates.as_slice() {
        [one] => told(Verdict { checks: vec![one.clone()] }, &[]),
        several => told(Verdict::default(), several),
    }
}

fn hinted(hint: &Value) -> Option<Check> {
    let text = |name: &str| hint.get(name).and_then(Value::as_str);
    let id = CheckId::named(text("check")?)?;
    let check = Check::fail(id, text("expected").unwrap_or(id.entry().title), text("actual").unwrap_or_default());
    let check = match hint.get("fixer").map(|fixer| serde_json::from_value(fixer.clone())) {
        Some(Ok(fixer)) => Check { fixer, ..check },
        _ => check,
    };
    Some(match text("fix") {
        Some(fix) => check.fix(fix.to_owned()),
        None => check,
    })
}

fn told(verdict: Verdict, candidates: &[Check]) -> Value {
    let failed = verdict.failed();
    let sentence = |check: &Check| {
        format!("not met: {}; {} can mend it: {}", check.id.entry().title, check.fixer.words(), check.fix)
    };
    let explanation = match (failed, candidates) {
        (Some(check), _) => sentence(check),
        (None, []) if verdict.checks.is_empty() => {
            "no check of the catalogue has this code; read what the authority says".into()
        }
        (None, []) => "every check passes".into(),
        (None, several) => several.iter().map(sentence).collect::<Vec<_>>().join(", or "),
    };
    json!({
        "allowed": failed.is_none() && !verdict.checks.is_empty(),
        "explanation": explanation,
        "checks": verdict.checks,
        "candidates": candidates,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: Value) -> Value {
        refusal(&serde_json::from_value(said).unwrap())
    }

    #[test]
    fn an_authority_that_names_the_check_is_taken_at_its_word() {
        let told = of(json!({
            "error": "invalid_grant", "error_codes": [65001], "deputize_hint": {
                "check": "consent.granted", "expected": "consent to A", "actual": "none", "fixer": "api-owner", "fix": "consent",
            },
        }));
        assert_eq!(told["allowed"], false);
        assert_eq!(
            told["checks"][0],
            json!({
                "id": "consent.granted", "outcome": "fail", "expected": "consent to A", "actual": "none", "fixer": "api-owner", "fix": "consent",
            })
        );
        assert!(
            told["explanation"].as_str().unwrap().ends_with("; the owner of the API can mend it: consent"),
            "{told}"
        );
    }

    #[test]
    fn of_others_the_code_says_it_and_where_it_says_several_things_all_are_told() {
        let one = of(
            json!({ "error": "invalid_grant", "error_description": "AADSTS50105: not assigned\r\nTrace", "error_codes": [50105] }),
        );
        assert_eq!(
            (&one["checks"][0]["id"], &one["checks"][0]["actual"]),
            (&json!("user.assigned"), &json!("AADSTS50105: not assigned"))
        );
        assert_eq!(one["candidates"], json!([]));
        let several = of(json!({ "error": "invalid_grant", "error_codes": [50013] }));
        assert_eq!((&several["allowed"], &several["checks"]), (&json!(false), &json!([])));
        assert!(several["candidates"].as_array().unwrap().len() > 1, "{several}");
        for unknown in [
            json!({ "error": "invalid_grant" }),
            json!({ "error": "x", "error_codes": [1] }),
            json!({ "error": "x", "deputize_hint": 1 }),
        ] {
            let told = of(unknown);
            assert_eq!(
                (&told["allowed"], &told["checks"], &told["candidates"]),
                (&json!(false), &json!([]), &json!([]))
            );
        }
    }
}
