//! The static files of every page, named by their content, so that browsers may keep them for ever.
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Response};

const STYLE: &str = include_str!("../assets/style.css");
const SCRIPT: &str = include_str!("../assets/submit.js");
const ICON: &str = include_str!("../assets/icon.svg");

const STYLE_NAME: [u8; 28] = named(STYLE, *b"/assets/0000000000000000.css");
const SCRIPT_NAME: [u8; 27] = named(SCRIPT, *b"/assets/0000000000000000.js");
const ICON_NAME: [u8; 28] = named(ICON, *b"/assets/0000000000000000.svg");

/// Where the stylesheet is served.
pub const STYLESHEET_PATH: &str = text(&STYLE_NAME);
/// Where the script that submits a page's form is served.
pub const SCRIPT_PATH: &str = text(&SCRIPT_NAME);
/// Where the icon is served.
pub const ICON_PATH: &str = text(&ICON_NAME);

/// The stylesheet's path and text.
pub const fn stylesheet() -> (&'static str, &'static str) {
    (STYLESHEET_PATH, STYLE)
}

/// Answers a GET of anything under `/assets/`; `None` if there is no such file.
pub fn asset(path: &str) -> Option<Response<&'static str>> {
    let (body, content_type) = match path {
        STYLESHEET_PATH => (STYLE, "text/css; charset=utf-8"),
        SCRIPT_PATH => (SCRIPT, "text/javascript; charset=utf-8"),
        ICON_PATH => (ICON, "image/svg+xml"),
        _ => return None,
    };
    let mut response = Response::new(body);
    *response.headers_mut() = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ]);
    Some(response)
}

/// Writes a digest of the content (64-bit FNV-1a; it tells versions apart, it protects nothing) over the sixteen zeros.
const fn named<const N: usize>(content: &str, mut name: [u8; N]) -> [u8; N] {
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    let mut rest = content.as_bytes();
    while let [byte, tail @ ..] = rest {
        digest = (digest ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        rest = tail;
    }
    if let Some((_, tail)) = name.split_at_mut_checked(b"/assets/".len())
        && let Some((digits, _)) = tail.split_first_chunk_mut::<16>()
    {
        let mut left: &mut [u8] = digits;
        while let Some((last, before)) = left.split_last_mut() {
            let nibble = (digest & 15) as u8;
            *last = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            digest >>= 4;
            left = before;
        }
    }
    name
}

const fn text(name: &'static [u8]) -> &'static str {
    match str::from_utf8(name) {
        Ok(text) => text,
        Err(_) => panic!("an asset's name is ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asset_is_found_under_its_name_and_nothing_else_is() {
        for (path, content_type) in
            [(STYLESHEET_PATH, "text/css"), (SCRIPT_PATH, "text/javascript"), (ICON_PATH, "image")]
        {
            let response = asset(path).unwrap();
            assert!(response.headers()[CONTENT_TYPE].to_str().unwrap().starts_with(content_type));
            assert!(!response.body().is_empty());
        }
        for path in ["/assets/", "/assets/style.css", "/assets/../Cargo.toml", "/assets/0000000000000000.css"] {
            assert!(asset(path).is_none(), "{path}");
        }
        assert_eq!(stylesheet(), (STYLESHEET_PATH, STYLE));
    }

    #[test]
    fn a_name_follows_the_content() {
        let zeros = *b"/assets/0000000000000000.css";
        assert_eq!(named("a", zeros), *b"/assets/af63dc4c8601ec8c.css", "the published FNV-1a value of `a`");
        assert_ne!(named("a", zeros), named("b", zeros));
    }

    #[test]
    fn the_stylesheet_asks_for_nothing_from_elsewhere() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
