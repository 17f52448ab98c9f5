//! Where a form was posted from: the check beside `SameSite` and the sealed ticket (M-03).
use http::header::{HeaderMap, ORIGIN};

/// Whether a post comes from one of our own pages. `origin` is ours, as `https://host:port`.
///
/// Our pages send no referrer, and then browsers say `Origin: null` even of their own site's posts (Fetch section 3.2), so
/// `Sec-Fetch-Site`, which no page can set, decides where it is sent. A program that sends neither header is no browser
/// that could be abused; the ticket stops it.
pub fn posted_from(headers: &HeaderMap, origin: &str) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let mut origins = headers.get_all(ORIGIN).iter();
    match (sites.next(), sites.next(), origins.next(), origins.next()) {
        (_, Some(_), ..) | (.., Some(_)) => false,
        (Some(site), _, from, _) => site == "same-origin" && from.is_none_or(|from| from == origin || from == "null"),
        (None, _, Some(from), _) => from == origin,
        (None, _, None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::posted_from;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn posted(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        posted_from(&map, "https://localhost:8443")
    }

    #[test]
    fn our_own_pages_may_post() {
        assert!(posted(&[]));
        assert!(posted(&[("origin", "https://localhost:8443")]));
        assert!(posted(&[("origin", "null"), ("sec-fetch-site", "same-origin")]), "pages that send no referrer");
        assert!(posted(&[("origin", "https://localhost:8443"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn m_03_posts_from_elsewhere_are_refused() {
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!posted(&[("sec-fetch-site", site)]), "{site}");
            assert!(!posted(&[("sec-fetch-site", site), ("origin", "https://localhost:8443")]), "{site}");
        }
        for origin in ["null", "https://localhost", "http://localhost:8443", "https://localhost:8443.evil.example", ""]
        {
            assert!(!posted(&[("origin", origin)]), "{origin}");
        }
        assert!(!posted(&[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")]));
        assert!(!posted(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]));
        assert!(!posted(&[("origin", "https://localhost:8443"), ("origin", "https://evil.example")]));
    }
}
