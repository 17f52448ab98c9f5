//! Answers of the API: exact bodies, one content type, never stored (RFC 6749 section 5.1).
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use oauth::ErrorBody;

/// What every listener answers with.
pub(crate) type Answer = Response<Full<Bytes>>;

/// JSON, never stored.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    // Exactly so: clients compare it for equality before they read an error.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

/// `{"error":…,"error_description":…}`.
pub(crate) fn error(status: StatusCode, error: &str, description: &str) -> Answer {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        error: &'a str,
        error_description: &'a str,
    }
    let body = serde_json::to_vec(&Body { error, error_description: description });
    json(status, body.unwrap_or_default())
}

/// A token: these members, in this order.
pub(crate) fn token(access_token: &str, expires_in: i64) -> Answer {
    let mut body = Vec::with_capacity(access_token.len() + 72);
    body.extend_from_slice(br#"{"access_token":"#);
    // What an authority sends as a token needs no escape, mostly.
    let plain = access_token.bytes().all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\'));
    if plain {
        body.push(b'"');
        body.extend_from_slice(access_token.as_bytes());
        body.push(b'"');
    } else {
        body.extend_from_slice(serde_json::Value::from(access_token).to_string().as_bytes());
    }
    body.extend_from_slice(br#","token_type":"Bearer","expires_in":"#);
    body.extend_from_slice(expires_in.max(0).to_string().as_bytes());
    body.push(b'}');
    json(StatusCode::OK, body)
}

/// All that an authority said, its two fields first, with its own status.
pub(crate) fn passed_on(status: u16, body: &ErrorBody) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut text = serde_json::to_string(body).unwrap_or_default();
    // Clients read the description without looking whether it is there.
    if body.error_description.is_empty() && !body.more.contains_key("error_description") {
        let after = r#"{"error":"#.len() + serde_json::Value::from(body.error.as_str()).to_string().len();
        text.insert_str(after.min(text.len()), r#","error_description":"""#);
    }
    json(status, text)
}

/// Nothing but a status.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    // These statuses are kept by caches, too (RFC 9110 section 15.1).
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// 405 of a path that takes posts.
pub(crate) fn posts_only() -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

/// Plain text.
pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The same answer, with when to try again.
pub(crate) fn retry_after(mut answer: Answer, seconds: u64) -> Answer {
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// The same answer, with how to show a credential (RFC 6750 section 3).
pub(crate) fn challenged(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn body(answer: Answer) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_an_authority_said_is_passed_on_whole_its_two_fields_first() {
        let said = r#"{"claims":"{\"access_token\":{}}","error_codes":[50076],"error":"interaction_required","error_description":"AADSTS50076","suberror":"basic_action","x":{"y":1}}"#;
        let answer = passed_on(400, &serde_json::from_str(said).unwrap());
        assert_eq!(answer.status(), 400);
        let passed = body(answer).await;
        assert!(
            passed.starts_with(r#"{"error":"interaction_required","error_description":"AADSTS50076","#),
            "{passed}"
        );
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&passed), value(said));
    }

    #[tokio::test]
    async fn an_error_without_description_has_an_empty_one() {
        let passed = body(passed_on(400, &serde_json::from_str(r#"{"error":"a\"b","more":1}"#).unwrap())).await;
        assert_eq!(passed, r#"{"error":"a\"b","error_description":"","more":1}"#);
    }

    #[tokio::test]
    async fn a_token_is_these_three_members_in_this_order() {
        let answer = token("a.b.c", 3599);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            (&answer.headers()[CACHE_CONTROL], &answer.headers()[PRAGMA]),
            (&HeaderValue::from_static("no-store"), &HeaderValue::from_static("no-cache"),)
        );
        assert_eq!(body(answer).await, r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":3599}"#);
        let odd = body(token("a\"\n", -1)).await;
        assert_eq!(odd, r#"{"access_token":"a\"\n","token_type":"Bearer","expires_in":0}"#);
    }
}
