//! What browsers say of a request: whether a person waits for a page, and which site made it.
use super::Origin;
use super::endpoints::LONGEST_CLAIMS;
use super::session::challenge_digest;
use crate::Canonical;
use crate::call::Call;
use crate::denial::Denial;
use crate::policy::cors::{Cors, only};
use http::header::{ACCEPT, ORIGIN};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use oauth::Form;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Who was sent to sign in less than so many seconds ago, and is refused, is told so: another time would change nothing.
const JUST: i64 = 60;
/// The longest path and query that a sign-in comes back to.
const LONGEST: usize = 1_500;

fn says<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.contains_key(name).then(|| only(headers, name).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// Whether a person waits for a page: others cannot follow a redirect to a sign-in.
pub(crate) fn is_navigation(request: &Canonical) -> bool {
    let headers = request.headers();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    if let Some(mode) = says(headers, &MODE) {
        return mode == "navigate" && says(headers, &DESTINATION).is_none_or(|what| what == "document");
    }
    // Older browsers, and programs that want pages.
    let is_script = headers.contains_key(REQUESTED_WITH) || headers.contains_key(ORIGIN);
    !is_script && says(headers, &ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

/// Whether the browser says that another site's page, or one of a sibling host, is the reader of an answer.
pub(super) fn is_read_elsewhere(headers: &HeaderMap) -> bool {
    says(headers, &SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// Whether a request that changes something may come from a page elsewhere, which has browsers send cookies too (M-03). Pages that
/// `cors` lets send cookies are meant to.
pub(crate) fn is_from_elsewhere(request: &Canonical, origin: &Origin, cors: Option<&Cors>) -> bool {
    let headers = request.headers();
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    match (headers.contains_key(ORIGIN), only(headers, &ORIGIN)) {
        (true, Some(page)) if page.as_bytes() == origin.text.as_bytes() => is_read_elsewhere(headers),
        (true, Some(page)) => !cors.is_some_and(|cors| cors.lets_send_cookies(page)),
        (true, None) => true,
        (false, _) => !says(headers, &SITE).is_some_and(|site| matches!(site, "same-origin" | "none")),
    }
}

/// Where a person signs in, and comes back from to what was asked.
pub(crate) fn login(provider: &str, request: &Canonical, claims: Option<&str>) -> String {
    let mut asked = request.path().to_owned();
    if let Some(query) = request.query() {
        asked.extend(["?", query]);
    }
    let landing = if asked.len() > LONGEST { "/" } else { &asked };
    let form = Form::default().with("post_login_redirect_uri", landing);
    let form = claims.into_iter().fold(form, |form, claims| form.with("claims", claims));
    format!("/.auth/login/{provider}?{}", form.encode())
}

/// What a person is told whose session does not suffice for what they asked: to sign in again, with what is demanded. Not twice in
/// a row, and not programs, which are told what is demanded.
pub(crate) fn again(denial: Box<Denial>, call: &Call) -> Box<Denial> {
    let Some(signed) = call.signed.as_ref().filter(|signed| signed.redirects) else { return denial };
    if denial.status != StatusCode::UNAUTHORIZED || !is_navigation(&call.request) {
        return denial;
    }
    let claims = denial.claims();
    let helps = match &claims {
        Some(claims) => claims.len() <= LONGEST_CLAIMS && signed.session.answered != Some(challenge_digest(claims)),
        None => call.now.since(signed.session.begun) >= JUST,
    };
    if !helps {
        return denial;
    }
    Box::new(denial.redirect(&login(&signed.provider.name, &call.request, claims.as_deref())))
}
