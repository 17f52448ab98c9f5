//! What words, names and addresses may look like. Each problem says what is expected.
use decision::Timestamp;
use url::{Host, Url};

/// Signing keys for these exist in every authority.
const ALGORITHMS: [&str; 5] = ["RS256", "ES256", "ES384", "ES512", "EdDSA"];

/// The longest path of a resource.
const LONGEST_ID: usize = 1_024;

/// Where a redirect URI is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Web,
    Spa,
    PublicClient,
}

/// A redirect URI, byte by byte as a client will send it.
pub(crate) fn redirect_uri(uri: &str, platform: Platform) -> Result<(), String> {
    if uri.contains('*') {
        return Err("a redirect URI has no wildcard: list each one".into());
    }
    let url = Url::parse(uri).map_err(|_| "a redirect URI is absolute, such as `https://app.example/callback`")?;
    if url.fragment().is_some() {
        return Err("a redirect URI has no fragment (RFC 6749 section 3.1.2): drop what follows `#`".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a redirect URI has no user information: drop what stands before `@`".into());
    }
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err("plain `http` is for loopback addresses only: use `https`".into()),
        // RFC 8252 section 7.1: a name its owner controls, reversed. `javascript` and its like have no dot.
        scheme if platform == Platform::PublicClient && (scheme.contains('.') || scheme.starts_with("msal")) => {
            return Ok(());
        }
        _ => {
            return Err(
                "a redirect URI begins with `https://`, or `http://localhost`; schemes such as `com.example.app:` \
                 belong under `publicClient`"
                    .into(),
            );
        }
    }
    // What a browser would rewrite could be compared as one thing and opened as another.
    let normal = url.as_str();
    if normal != uri && normal.strip_suffix('/') != Some(uri) {
        return Err(format!("a browser would rewrite it; write it as `{normal}`"));
    }
    Ok(())
}

/// An application ID URI.
pub(crate) fn identifier_uri(uri: &str) -> Result<(), String> {
    let parsed = Url::parse(uri).ok().filter(|_| uri.bytes().all(|b| b.is_ascii_graphic()));
    match parsed {
        None => Err("an application ID URI is absolute, such as `api://orders`".into()),
        Some(url) if url.fragment().is_some() || uri.contains(['*', '?']) => {
            Err("an application ID URI has no fragment, query or wildcard".into())
        }
        Some(_) if uri.len() > 255 => Err("an application ID URI has at most 255 characters".into()),
        Some(_) => Ok(()),
    }
}

/// The word of a scope or an app role.
pub(crate) fn permission(value: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    if value.is_empty() || value.len() > 120 || !value.bytes().all(plain) || value.starts_with('.') {
        return Err("use 1 to 120 letters, digits, `.`, `_`, `-` and `:`, not beginning with a dot".into());
    }
    if oauth::OIDC_SCOPES.contains(&value) {
        return Err("this word belongs to OpenID Connect: choose another".into());
    }
    Ok(())
}

/// A name for people.
pub(crate) fn shown(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > 256 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 256 characters, none of them a control character".into());
    }
    Ok(())
}

/// Why something is as it is, for administrators and auditors.
pub(crate) fn reason(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if !(10..=500).contains(&length) || text.chars().any(char::is_control) {
        return Err("write a sentence of 10 to 500 characters, on one line".into());
    }
    Ok(())
}

/// A tenant's domain.
pub(crate) fn domain(name: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let aliases = ["common", "organizations", "consumers"];
    if name.len() > 253 || !name.contains('.') || aliases.contains(&name) || !name.split('.').all(label) {
        return Err("a domain is written in lower case, such as `contoso.example`".into());
    }
    Ok(())
}

/// A user principal name in one of the tenant's domains.
pub(crate) fn principal_name(name: &str, domains: &[String]) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-'+!#^~".contains(&b);
    let (local, domain) = name.split_once('@').unwrap_or((name, ""));
    if local.is_empty() || local.len() > 64 || !local.bytes().all(plain) {
        return Err("a userPrincipalName looks like `ada@contoso.example`".into());
    }
    if !domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
        return Err(format!("the part behind `@` is a domain of the tenant: {}", domains.join(", ")));
    }
    Ok(())
}

/// An issuer: compared byte by byte, and fetched from.
pub(crate) fn issuer(text: &str) -> Result<(), String> {
    compared(text, 600)?;
    let url = Url::parse(text)
        .map_err(|_| "an issuer is an address, such as `https://token.actions.githubusercontent.com`")?;
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if url.scheme() != "https" || !bare {
        return Err("an issuer begins with `https://`, and has no query, fragment or user information".into());
    }
    Ok(())
}

/// A text that is compared with one of a token, byte by byte.
pub(crate) fn compared(text: &str, longest: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) || text.trim() != text {
        return Err(format!("it has 1 to {longest} characters, no space at its ends and no control character"));
    }
    if text.contains('*') {
        return Err("it is compared as it is, so `*` stands for itself: write the whole text".into());
    }
    Ok(())
}

/// The name of a federated credential, part of a URL in Graph.
pub(crate) fn federated_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !(3..=120).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with(['-', '_']) {
        return Err("use 3 to 120 letters, digits, `-` and `_`, beginning with a letter or digit".into());
    }
    Ok(())
}

/// A certificate's thumbprint.
pub(crate) fn thumbprint(text: &str) -> Result<(), String> {
    if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err("a thumbprint has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits".into())
}

/// The path of a resource, as Azure Resource Manager writes it.
pub(crate) fn resource_id(text: &str) -> Result<(), String> {
    let graphic = text.bytes().all(|b| b.is_ascii_graphic());
    if !text.starts_with("/subscriptions/") || !text.contains("/providers/") || !graphic || text.len() > LONGEST_ID {
        return Err("it looks like `/subscriptions/ID/resourcegroups/NAME/providers/Microsoft.Web/sites/NAME`".into());
    }
    Ok(())
}

/// The algorithm of a resource's tokens.
pub(crate) fn algorithm(name: &str) -> Result<(), String> {
    if ALGORITHMS.contains(&name) {
        return Ok(());
    }
    Err(format!("`signingAlgorithm` is one of {}", ALGORITHMS.join(", ")))
}

/// An authentication context.
pub(crate) fn context(name: &str) -> Result<(), String> {
    let number = name.strip_prefix('c').and_then(|digits| digits.parse::<u8>().ok());
    if number.is_some_and(|number| (1..=99).contains(&number) && name == format!("c{number}")) {
        return Ok(());
    }
    Err("an authentication context is one of `c1` to `c99`".into())
}

/// `2030-01-31T12:00:00Z` (RFC 3339, UTC).
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if bytes.len() != 20 || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days from civil, after Howard Hinnant: years begin in March.
    let y = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    let moment = Timestamp(days * 86_400 + hour * 3_600 + minute * 60 + second);
    // Written again it must read the same: so the 31st of February is none.
    (moment.to_string() == text).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_uris_are_exact_and_safe() {
        let web = |uri| redirect_uri(uri, Platform::Web);
        for good in [
            "https://app.example/callback",
            "https://app.example",
            "http://localhost:8400/callback",
            "http://127.0.0.1/",
            "https://a.example/x?y=1",
        ] {
            assert_eq!(web(good), Ok(()), "{good}");
        }
        for bad in [
            "http://app.example/",
            "https://*.example/",
            "https://app.example/#x",
            "/callback",
            "javascript:alert(1)",
            "https://user@app.example/",
            "https://APP.example/",
            "https://app.example/a/../b",
            "https:\\\\app.example",
            "http://localhost.evil.example/",
            "com.example.app:/callback",
            "https://app.example/\tx",
        ] {
            assert!(web(bad).is_err(), "{bad}");
        }
        assert_eq!(redirect_uri("com.example.app:/callback", Platform::PublicClient), Ok(()));
        assert!(redirect_uri("javascript:alert(1)", Platform::PublicClient).is_err());
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        for seconds in [0, 951_782_400, 1_452_304_932, 4_102_444_799] {
            assert_eq!(moment(&Timestamp(seconds).to_string()), Some(Timestamp(seconds)));
        }
        for bad in [
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00+00:00",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_of_permissions_stay_words() {
        for good in ["Invoices.Read", "access_as_user", "a:b-c"] {
            assert_eq!(permission(good), Ok(()));
        }
        for bad in ["", "a b", ".default", "openid", "a/b", "é"] {
            assert!(permission(bad).is_err(), "{bad}");
        }
        assert!(context("c1").is_ok() && context("c01").is_err() && context("c100").is_err());
    }
}
