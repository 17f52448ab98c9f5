//! Where a browser goes on to after it has signed in or out: to a page of this site, or to one of the addresses elsewhere that
//! the configuration lists. What browsers could take for another host is neither.
use super::Origin;
use crate::canonical_path;

/// The longest address.
const LONGEST: usize = 2_048;

/// The address, if it may be gone on to.
pub(super) fn landing(text: &str, origin: &Origin, elsewhere: &[String]) -> Option<String> {
    // Browsers drop tabs and line ends, and before a query they take `\` for `/`.
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    if text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) || before_query.contains('\\') {
        return None;
    }
    let is_listed = |entry: &String| {
        let rest = text.strip_prefix(entry.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '#']))
    };
    if elsewhere.iter().any(is_listed) {
        return Some(text.to_owned());
    }
    let path = text.strip_prefix(&origin.text).unwrap_or(text);
    is_here(path).then(|| text.to_owned())
}

/// Whether it is a path of this site in its one spelling, and one that signs nobody in or out again.
fn is_here(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let is_one = path.starts_with('/') && canonical_path(path).is_ok_and(|canonical| canonical == path);
    is_one && !["/.auth/login", "/.auth/logout"].iter().any(|loops| path.starts_with(loops))
}

/// Whether an address elsewhere can be listed: without a query or a fragment, which may follow, and with a path, so that nothing
/// goes on its host.
pub(super) fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let is_plain = uri.scheme_str() == Some("http") && matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_known = uri.scheme_str() == Some("https") || is_plain;
    let has_path = text.splitn(4, '/').nth(3).is_some();
    is_known && has_path && !text.contains(['?', '#', '@', '\\']) && uri.path().starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Spanned;

    fn goes(text: &str) -> bool {
        let origin = Origin::read(&Spanned::new(0..0, "https://app.example".to_owned())).unwrap();
        let elsewhere = ["https://shop.example/welcome".to_owned(), "https://www.example/".to_owned()];
        let landing = landing(text, &origin, &elsewhere);
        assert!(landing.as_ref().is_none_or(|landing| landing == text));
        landing.is_some()
    }

    #[test]
    fn pages_of_this_site_and_listed_ones_can_be_gone_on_to() {
        for text in [
            "/",
            "/x",
            "/x/y?z=1&to=https://evil.example",
            "/x#part",
            "/x?a=//evil.example",
            "/x?a=\\",
            "/.auth/me",
            "https://app.example/",
            "https://app.example/x?y",
            "https://shop.example/welcome",
            "https://shop.example/welcome?a=b",
            "https://shop.example/welcome#b",
            "https://www.example/",
        ] {
            assert!(goes(text), "{text}");
        }
    }

    #[test]
    fn nothing_else_can() {
        for text in [
            "",
            "x",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/ /evil.example",
            "/x y",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https://evil.example",
            "https://evil.example/",
            "HTTPS://evil.example/",
            "//app.example",
            "https://app.example",
            "https://app.example.evil.example/",
            "https://app.example@evil.example/",
            "https://app.example:x@evil.example/",
            "https://app.example//evil.example",
            "https://app.example\\@evil.example/",
            "http://app.example/",
            "https://shop.example/",
            "https://shop.example/welcome/../x",
            "https://shop.example/welcomex",
            "https://shop.example/welcome/x",
            "https://www.example/x",
            "https://www.example//evil",
            "https://shop.example/welcome@evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "/x/../y",
            "/./x",
            "/.//evil.example",
            "/..//evil.example",
            "/%2f/evil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%09/evil.example",
            "/x;y",
            "/é",
            "/.auth/login/aad",
            "/.auth/logout",
            "/.auth/logout?post_logout_redirect_uri=/",
            "?x",
            "#x",
            "http://[::1]/",
        ] {
            assert!(!goes(text), "{text:?}");
        }
        assert!(!goes(&format!("/{}", "x".repeat(LONGEST))));
    }

    #[test]
    fn an_address_that_is_listed_ends_with_its_path() {
        for text in ["https://a.example/", "https://a.example/b/c", "http://localhost:3000/"] {
            assert!(is_address(text), "{text}");
        }
        for text in [
            "https://a.example",
            "http://a.example/",
            "https://a.example/?b",
            "https://a.example/#b",
            "https://a@b.example/",
            "a.example/",
            "/a",
            "myapp://a/",
            "",
        ] {
            assert!(!is_address(text), "{text}");
        }
    }
}
