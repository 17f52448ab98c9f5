//! A page as it leaves: the layout around a content, and the headers without which no page may leave.
use crate::asset::{ICON_PATH, SCRIPT_PATH, STYLESHEET_PATH};
use crate::form_source;
use askama::Template;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use std::fmt::Write as _;

/// A page to answer with.
pub struct Page<'a, C> {
    status: StatusCode,
    title: &'a str,
    content: C,
    form_action: &'a [&'a str],
    frames: &'a [&'a str],
    scripted: bool,
}

impl<'a, C: Template> Page<'a, C> {
    /// A page with this title and content, status 200.
    pub const fn new(title: &'a str, content: C) -> Self {
        Self { status: StatusCode::OK, title, content, form_action: &[], frames: &[], scripted: false }
    }

    /// With another status.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With addresses, besides our own, to which its forms may lead. Browsers check redirects after a form post too, so
    /// a sign-in page names the client's redirect URI.
    #[must_use]
    pub fn form_action(self, addresses: &'a [&'a str]) -> Self {
        Self { form_action: addresses, ..self }
    }

    /// With frames of these addresses, and of no other origins.
    #[must_use]
    pub fn frames(self, addresses: &'a [&'a str]) -> Self {
        Self { frames: addresses, ..self }
    }

    /// With the script that submits the page's form. The page must have a button too, for browsers without scripts.
    #[must_use]
    pub fn submitting_itself(self) -> Self {
        Self { scripted: true, ..self }
    }

    /// The response.
    pub fn respond(self) -> Response<String> {
        let Self { status, title, content, form_action, frames, scripted } = self;
        let layout = content.render().and_then(|content| {
            let script = scripted.then_some(SCRIPT_PATH);
            Layout { title, content: &content, stylesheet: STYLESHEET_PATH, icon: ICON_PATH, script }.render()
        });
        match layout {
            Ok(body) => respond(status, body, form_action, frames, scripted),
            // Rendering into memory fails only if a template's own Display does.
            Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, String::new(), &[], &[], false),
        }
    }
}

/// A whole HTML document with the headers that every page has. `form_action` names addresses as [`Page::form_action`] does.
pub fn html(status: StatusCode, document: String, form_action: &[&str]) -> Response<String> {
    respond(status, document, form_action, &[], false)
}

#[derive(Template)]
#[template(path = "layout.html")]
struct Layout<'a> {
    title: &'a str,
    content: &'a str,
    stylesheet: &'a str,
    icon: &'a str,
    script: Option<&'a str>,
}

fn respond(
    status: StatusCode,
    document: String,
    form_action: &[&str],
    frames: &[&str],
    scripted: bool,
) -> Response<String> {
    let mut policy = String::from("default-src 'none'; style-src 'self'; img-src 'self'; ");
    if scripted {
        policy.push_str("script-src 'self'; ");
    }
    let mut origins: Vec<String> = frames.iter().filter_map(|address| form_source(address)).collect();
    origins.sort_unstable();
    origins.dedup();
    if !origins.is_empty() {
        let _ = write!(policy, "frame-src {}; ", origins.join(" "));
    }
    policy.push_str("form-action 'self'");
    for source in form_action.iter().filter_map(|address| form_source(address)) {
        policy.push(' ');
        policy.push_str(&source);
        // Browsers hold every redirect after a form post against this list, and a client's address may lead on to others of
        // its own, which we cannot know.
        if source.starts_with("https://") {
            policy.push_str(" https:");
        } else if source.starts_with("http://localhost:") || source.starts_with("http://127.0.0.1:") {
            policy.push_str(" http://localhost:* http://127.0.0.1:*");
        }
    }
    policy.push_str("; frame-ancestors 'none'; base-uri 'none'");
    let fixed = |text| HeaderValue::from_static(text);
    let mut response = Response::new(document);
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::from_iter([
        (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
        // Sources are of a few ASCII characters only; were one not, the page would lose its form rather than its policy.
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::try_from(policy).unwrap_or_else(|_| {
                fixed("default-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
            }),
        ),
        (X_FRAME_OPTIONS, fixed("DENY")),
        (REFERRER_POLICY, fixed("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (CACHE_CONTROL, fixed("no-store")),
        // Libraries for single-page applications sign in through a popup, and must be able to watch it.
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("unsafe-none")),
        (
            HeaderName::from_static("permissions-policy"),
            fixed("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ),
    ]);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Template)]
    #[template(source = "<p>{{ name }}</p>", ext = "html")]
    struct Content {
        name: &'static str,
    }

    fn policy(response: &Response<String>) -> &str {
        response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap()
    }

    #[test]
    fn a_11_every_page_forbids_frames_and_foreign_content() {
        let pages = [
            Page::new("T", Content { name: "x" }).respond(),
            Page::new("T", Content { name: "x" }).submitting_itself().respond(),
            Page::new("T", Content { name: "x" }).status(StatusCode::FORBIDDEN).respond(),
            html(StatusCode::OK, "<p>whole</p>".to_owned(), &[]),
        ];
        for page in &pages {
            assert_eq!(page.headers()[X_FRAME_OPTIONS], "DENY");
            assert_eq!(page.headers()[REFERRER_POLICY], "no-referrer");
            assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
            assert!(page.headers().contains_key("permissions-policy"));
            let policy = policy(page);
            assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self'; "), "{policy}");
            assert!(policy.ends_with("form-action 'self'; frame-ancestors 'none'; base-uri 'none'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
        let scripted: Vec<bool> = pages.iter().map(|page| policy(page).contains("script-src 'self'")).collect();
        assert_eq!(scripted, [false, true, false, false]);
        assert_eq!(pages[2].status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_redirect_uri_opens_its_origin_and_no_other_directive() {
        let page = Page::new("T", Content { name: "x" })
            .form_action(&["https://app.example/cb?x=1", "https://evil.example; script-src *", ""])
            .respond();
        assert!(
            policy(&page).contains("form-action 'self' https://app.example https:; frame-ancestors"),
            "{}",
            policy(&page)
        );
    }

    #[test]
    fn frames_open_their_origins_and_no_other_directive() {
        let addresses = [
            "https://app.example/out?sid=1",
            "https://app.example/other",
            "http://localhost:3000/out",
            "https://evil.example; script-src *",
            "javascript:alert(1)",
        ];
        let page = Page::new("T", Content { name: "x" }).frames(&addresses).respond();
        let expected =
            "img-src 'self'; frame-src http://localhost:3000 https://app.example; form-action 'self'; frame-ancestors";
        assert!(policy(&page).contains(expected), "{}", policy(&page));
        assert!(!policy(&Page::new("T", Content { name: "x" }).respond()).contains("frame-src"));
    }

    #[test]
    fn m_04_title_and_content_are_escaped_and_nothing_is_inline() {
        let page = Page::new("</title><script>", Content { name: "<img src=x onerror=alert(1)>" }).respond();
        let body = page.body();
        assert!(!body.contains("<script") && !body.contains("<img") && !body.contains("style="), "{body}");
        assert!(body.starts_with("<!doctype html>\n<html lang=\"en\">"), "{body}");
        assert!(body.contains(STYLESHEET_PATH));
    }
}
