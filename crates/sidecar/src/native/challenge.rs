//! The challenge to send to one's own caller, ready-made: Entra's form and that of RFC 9470, for a client to meet.
use crate::problem::{Problem, challenge};
use guard::Guard;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use oauth::{ClaimsRequest, ErrorBody};
use serde_json::{Map, Value, json};

/// From the refusal of a token request, as it came, or from its `claims` alone: `{"status", "headers", "body"}`.
pub(super) fn ready(asked: &Value, guard: Option<&Guard>) -> Result<Value, Problem> {
    let Some(claims) = asked.get("claims").and_then(Value::as_str) else {
        return Err(Problem::bad_request(
            "there is no text `claims` in it: nothing that the caller's user could do would help; `/explain` says who can",
        ));
    };
    if ClaimsRequest::parse(claims).is_none() {
        return Err(Problem::bad_request("`claims` is no claims request; send it as the authority did, as a text"));
    }
    let said: Option<ErrorBody> = serde_json::from_value(asked.clone()).ok();
    let problem = Problem::challenge(&challenge(guard, claims, said.as_ref()), said.as_ref());
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in problem.headers() {
        let values = headers.entry(name.as_str()).or_insert(json!([]));
        if let (Value::Array(values), Ok(value)) = (values, value.to_str()) {
            values.push(value.into());
        }
    }
    headers.insert(CONTENT_TYPE.as_str().to_owned(), json!(["application/problem+json"]));
    headers.insert(CACHE_CONTROL.as_str().to_owned(), json!(["no-store"]));
    Ok(json!({ "status": problem.status().as_u16(), "headers": headers, "body": problem.body() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oauth::challenge::{Challenge, decode_claims};

    const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

    #[test]
    fn a_refusal_becomes_what_the_caller_is_to_be_answered() {
        let said = json!({
            "error": "interaction_required", "error_description": "AADSTS50076: more", "error_codes": [50076],
            "suberror": "basic_action", "trace_id": "d-1", "claims": CLAIMS,
        });
        let told = ready(&said, None).unwrap();
        assert_eq!(told["status"], 401);
        assert_eq!(told["headers"]["content-type"], json!(["application/problem+json"]));
        let challenges = told["headers"]["www-authenticate"].as_array().unwrap();
        let read = |at: usize| Challenge::parse(challenges[at].as_str().unwrap()).unwrap().remove(0);
        assert_eq!((challenges.len(), read(0).param("error")), (2, Some("insufficient_claims")));
        assert_eq!(decode_claims(read(0).param("claims").unwrap()).as_deref(), Some(CLAIMS));
        assert_eq!(read(1).param("error"), Some("insufficient_user_authentication"));
        assert_eq!(read(1).param("acr_values"), Some("c1"));
        let body = &told["body"];
        assert_eq!((&body["status"], &body["detail"]), (&json!(401), &json!("AADSTS50076: more")));
        assert_eq!(
            (&body["claims"], &body["suberror"], &body["decision_id"]),
            (&json!(CLAIMS), &json!("basic_action"), &json!("d-1"))
        );
        assert_eq!(ready(&json!({ "claims": CLAIMS }), None).unwrap()["headers"], told["headers"]);
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        for bad in [
            json!({}),
            json!(null),
            json!([]),
            json!("x"),
            json!({ "claims": {} }),
            json!({ "claims": "" }),
            json!({ "claims": "x" }),
            json!({ "claims": "[]" }),
            json!({ "error": "invalid_grant" }),
        ] {
            assert_eq!(ready(&bad, None).unwrap_err().status(), 400, "{bad}");
        }
    }
}
