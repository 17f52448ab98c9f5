//! The cookies of sign-in: read so that nobody else's is taken for one, written so that browsers keep them to this site, and
//! taken out of what services are sent (RFC 6265).
use super::Origin;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// A session is in this one and, where it is long, in others whose names go on with `.1`, `.2` and so on. A sibling host can set
/// such ones too, since App Service's name has no `__Host-`: each begins with the session's id, and the one beside says which it is.
const SESSION: &str = "AppServiceAuthSession";
/// Which session this browser was given.
pub(super) const BESIDE: &str = "deputize-edge-session";
/// A sign-in that is under way; the name goes on.
pub(super) const PENDING: &str = "deputize-edge-sign-in-";
/// How long the value of one cookie is: browsers take 4096 bytes with its name and attributes.
const PIECE: usize = 3_800;
/// Most cookies of one session: with them the head of a request stays well below its bound.
const MOST: usize = 10;

/// The longest session that is kept, sealed.
pub(super) const LONGEST: usize = PIECE * MOST;

/// The sealed session of this id.
pub(super) fn sealed(headers: &HeaderMap, id: &str) -> Option<String> {
    let (count, first) = piece(headers, SESSION, id)?.split_once('.')?;
    let count = count.parse().ok().filter(|count: &usize| (1..=MOST).contains(count))?;
    let mut text = first.to_owned();
    for number in 1..count {
        text.push_str(piece(headers, &format!("{SESSION}.{number}"), id)?);
    }
    Some(text)
}

/// What follows the session's id in the cookie of this name, of however many that begins with it.
fn piece<'a>(headers: &'a HeaderMap, name: &str, id: &str) -> Option<&'a str> {
    called(headers, name).find_map(|value| value.strip_prefix(id)?.strip_prefix('.'))
}

/// What a cookie of this name says. Nothing where several are called so: which of them is ours cannot be told.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut called = called(headers, name);
    let value = called.next()?;
    called.next().is_none().then_some(value)
}

fn called<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = pairs(headers).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value);
    // One that is no text counts as one, and says nothing.
    values.map(|value| std::str::from_utf8(value).unwrap_or_default())
}

/// The names of the cookies that begin so.
pub(super) fn named<'a>(headers: &'a HeaderMap, beginning: &str) -> Vec<&'a str> {
    let begins = |name: &&[u8]| name.starts_with(beginning.as_bytes());
    pairs(headers).map(|(name, _)| name).filter(begins).filter_map(|name| std::str::from_utf8(name).ok()).collect()
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(pair)
}

fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii();
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (text.get(..at).unwrap_or_default().trim_ascii(), text.get(at + 1..).unwrap_or_default()),
        None => (text, &[]),
    }
}

/// Takes them out of a request, whoever set them: services are sent none.
pub(crate) fn take_out(headers: &mut HeaderMap) {
    if !pairs(headers).any(|(name, _)| is_ours(name)) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(COOKIE).iter().filter_map(without_ours).collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

fn without_ours(field: &HeaderValue) -> Option<HeaderValue> {
    let others = field.as_bytes().split(|byte| *byte == b';').filter(|text| !is_ours(pair(text).0));
    let left: Vec<&[u8]> = others.map(<[u8]>::trim_ascii).collect();
    HeaderValue::from_bytes(&left.join(&b"; "[..])).ok().filter(|value| !value.is_empty())
}

fn is_ours(name: &[u8]) -> bool {
    let begins = |text: &str, beginning: &str| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let bare = if begins(name, "__Host-") { name.get(7..).unwrap_or_default() } else { name };
    bare.eq_ignore_ascii_case(SESSION)
        || begins(bare, "AppServiceAuthSession.")
        || bare.eq_ignore_ascii_case(BESIDE)
        || begins(bare, PENDING)
}

/// `Set-Cookie` for a session; what an earlier one left of its pieces is removed. Nothing if it is too long.
pub(super) fn session(origin: &Origin, sealed: &str, id: &str, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
    if sealed.len() > LONGEST {
        return None;
    }
    let pieces: Vec<&[u8]> = sealed.as_bytes().chunks(PIECE).collect();
    let mut all = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let piece = std::str::from_utf8(piece).ok()?;
        all.push(match number {
            0 => set(origin, SESSION, &format!("{id}.{}.{piece}", pieces.len()), None)?,
            _ => set(origin, &format!("{SESSION}.{number}"), &format!("{id}.{piece}"), None)?,
        });
    }
    all.push(set(origin, &origin.cookie(BESIDE), id, None)?);
    all.extend(leftover(origin, headers, pieces.len()));
    Some(all)
}

/// `Set-Cookie` that ends the session of a browser.
pub(super) fn ended(origin: &Origin, headers: &HeaderMap) -> Vec<HeaderValue> {
    let both = [SESSION.to_owned(), origin.cookie(BESIDE)];
    let both = both.iter().filter_map(|name| set(origin, name, "", Some(0)));
    both.chain(leftover(origin, headers, 1)).collect()
}

fn leftover(origin: &Origin, headers: &HeaderMap, from: usize) -> Vec<HeaderValue> {
    let numbered = (from..MOST).map(|number| format!("{SESSION}.{number}"));
    let there = numbered.filter(|name| pairs(headers).any(|(found, _)| found == name.as_bytes()));
    there.filter_map(|name| set(origin, &name, "", Some(0))).collect()
}

/// `Set-Cookie` for all paths of this host; without a life it ends with the browser.
pub(super) fn set(origin: &Origin, name: &str, value: &str, life: Option<i64>) -> Option<HeaderValue> {
    let secure = if origin.is_tls { "; Secure" } else { "" };
    let age = life.map(|life| format!("; Max-Age={life}")).unwrap_or_default();
    let mut header =
        HeaderValue::try_from(format!("{name}={value}; Path=/{age}{secure}; HttpOnly; SameSite=Lax")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Spanned;

    fn origin() -> Origin {
        Origin::read(&Spanned::new(0..0, "https://app.example".to_owned())).unwrap()
    }

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, field.parse().unwrap())).collect()
    }

    /// What a browser sends after these.
    fn sent(set: &[HeaderValue]) -> String {
        let pairs = set.iter().map(|value| value.to_str().unwrap().split(';').next().unwrap());
        pairs.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_long_session_comes_back_whole_and_a_short_one_leaves_nothing_of_it() {
        for length in [1, PIECE - 1, PIECE, PIECE + 1, LONGEST] {
            let text = "x".repeat(length);
            let set = session(&origin(), &text, "id", &HeaderMap::new()).unwrap();
            assert!(set.iter().all(|value| value.len() < 4_000), "browsers take 4096");
            assert_eq!(sealed(&headers(&[&sent(&set)]), "id"), Some(text), "{length}");
        }
        assert!(session(&origin(), &"x".repeat(LONGEST + 1), "id", &HeaderMap::new()).is_none());
        let before = session(&origin(), &"x".repeat(PIECE * 3), "id", &HeaderMap::new()).unwrap();
        let now = session(&origin(), "y", "id", &headers(&[&sent(&before)])).unwrap();
        let removed: Vec<_> = now.iter().map(|v| v.to_str().unwrap()).filter(|v| v.contains("Max-Age=0")).collect();
        assert_eq!(removed.len(), 2, "{removed:?}");
        assert!(removed.iter().all(|v| v.starts_with("AppServiceAuthSession.") && v.contains("Path=/;")));
    }

    #[test]
    fn a_cookie_that_only_this_host_sets_is_nobodys_where_it_is_there_twice() {
        let name = "__Host-deputize-edge-session";
        for fields in [
            &["a=b; __Host-deputize-edge-session=x"][..],
            // Browsers that do not know what begins so in other letters let siblings set it.
            &["__Host-deputize-edge-session=x", "__host-deputize-edge-session=y"],
        ] {
            assert_eq!(only(&headers(fields), name), Some("x"), "{fields:?}");
        }
        for fields in [
            &["__Host-deputize-edge-session=x; __Host-deputize-edge-session=y"][..],
            &["__host-deputize-edge-session=x"],
            &["__Host-deputize-edge-session =x; __Host-deputize-edge-session=x"],
            &["a=b"],
        ] {
            assert_eq!(only(&headers(fields), name), None, "{fields:?}");
        }
    }

    #[test]
    fn of_several_sessions_the_one_of_this_id_is_read() {
        let mine = sent(&session(&origin(), &"x".repeat(PIECE + 1), "id", &HeaderMap::new()).unwrap());
        let others = sent(&session(&origin(), &"y".repeat(PIECE * 2), "i", &HeaderMap::new()).unwrap());
        for all in [[&*mine, &*others], [&*others, &*mine]] {
            let headers = headers(&["AppServiceAuthSession=\u{e9}; appserviceauthsession=id.1.z", all[0], all[1]]);
            assert_eq!(sealed(&headers, "id"), Some("x".repeat(PIECE + 1)));
            assert_eq!((sealed(&headers, ""), sealed(&headers, "id.2")), (None, None));
        }
        for value in ["", "x", "0.x", "11.x", "2.x", "-1.x", "a.x"] {
            assert_eq!(sealed(&headers(&[&format!("AppServiceAuthSession=id.{value}")]), "id"), None, "{value}");
        }
    }

    #[test]
    fn services_get_the_other_cookies_and_none_of_these() {
        let mut sent = headers(&[
            "theme=dark; AppServiceAuthSession=2.x;appserviceauthsession.1=y ; lang=en",
            "__Host-deputize-edge-session=x",
            "__host-deputize-edge-sign-in-ab=z; deputize-edge-session=q;x",
            "AppServiceAuthSessionX=kept; __Host-deputize-session=the authority's",
        ]);
        take_out(&mut sent);
        let left: Vec<_> = sent.get_all(COOKIE).iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(
            left,
            ["theme=dark; lang=en", "x", "AppServiceAuthSessionX=kept; __Host-deputize-session=the authority's"]
        );
    }

    #[test]
    fn cookies_are_for_this_host_over_tls_and_for_no_script() {
        for value in session(&origin(), "x", "id", &HeaderMap::new()).unwrap() {
            let text = value.to_str().unwrap();
            assert!(text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{text}");
            assert!(!text.contains("Domain"), "{text}");
            assert!(value.is_sensitive());
        }
    }
}
