//! The two pages of sign-in: one says that it failed, and one that the person is signed out. They load nothing.
use crate::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decision::CheckId;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:15vh 1.5rem 2rem;display:flex;justify-content:center}\
main{max-width:32rem;width:100%}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}\
p{margin:0 0 1rem;overflow-wrap:anywhere}\
a{color:inherit;font-weight:600}\
small{opacity:.75}";

/// Where a person can try again.
#[derive(Debug)]
pub(crate) struct Retry(pub(crate) String);

/// Why a sign-in failed.
pub(crate) fn refusal(status: StatusCode, check: CheckId, decision_id: &str, retry: &Retry) -> Response<Body> {
    page(status, "You could not be signed in", &content(check, decision_id, retry))
}

fn content(check: CheckId, decision_id: &str, retry: &Retry) -> String {
    let entry = check.entry();
    let told = match check {
        CheckId::SignInAnswer => {
            "This page was opened by another sign-in, or too late. Begin again, and stay in this browser."
        }
        CheckId::SignInAccepted => "The provider did not sign you in, or you did not agree to what was asked.",
        CheckId::SignInAvailable => "The provider cannot be reached at the moment.",
        CheckId::SignInIdentity => {
            "What the provider says of you cannot be trusted as it is. If this stays so, tell whoever runs this site."
        }
        CheckId::SignInSize => "The provider says more than a session can hold. Tell whoever runs this site.",
        _ => entry.fix,
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "<p>{}</p><p><a href=\"{}\">Try again</a></p><p><small>{} · {}</small></p>",
        escaped(told),
        escaped(&retry.0),
        escaped(entry.id),
        escaped(decision_id)
    );
    text
}

/// The end of a sign-out.
pub(super) fn signed_out() -> Response<Body> {
    page(
        StatusCode::OK,
        "You are signed out",
        "<p>You can close this page.</p><p><a href=\"/\">Go back to the site</a></p>",
    )
}

fn page(status: StatusCode, title: &str, content: &str) -> Response<Body> {
    let document = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{content}</main></body></html>\n"
    );
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    let mut response = Response::new(Body::text(document));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&#39;"),
            _ => all.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_04_texts_stay_texts_and_addresses_stay_in_their_attribute() {
        assert_eq!(escaped("<b a=\"1\" c='2'>&x"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;x");
        let retry = Retry("/x?\"><script>alert(1)</script>".to_owned());
        let content = content(CheckId::SignInAccepted, "<id>", &retry);
        assert!(!content.contains("<script") && !content.contains("<id>"), "{content}");
        assert!(content.contains("href=\"/x?&quot;&gt;&lt;script&gt;"), "{content}");
    }
}
