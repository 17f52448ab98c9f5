//! Sources of a Content-Security-Policy `form-action`, from addresses that others registered.

/// What allows a form to lead to this address: `https://host:port` for the web, `scheme:` for an application's own scheme.
/// `None` for what no form or link may lead to, and for whatever could end the directive.
///
/// ```
/// use deputize_pages::form_source;
///
/// assert_eq!(form_source("http://localhost:8400/callback").as_deref(), Some("http://localhost:8400"));
/// assert_eq!(form_source("com.example.app:/callback").as_deref(), Some("com.example.app:"));
/// assert_eq!(form_source("javascript:alert(1)"), None);
/// ```
pub fn form_source(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once(':')?;
    let mut letters = scheme.bytes();
    let well_formed = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !well_formed {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => {
            let rest = rest.strip_prefix("//")?;
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // A policy cannot name an IPv6 address (CSP 3 section 2.3.1, host-part): its scheme has to do.
            if host.starts_with('[') {
                let literal = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'[' | b']' | b':' | b'.');
                return host.bytes().all(literal).then(|| format!("{scheme}:"));
            }
            // Without `@` and `\` there is no second reading of what the host is; without `*` no wildcard.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_');
            (!host.is_empty() && host.bytes().all(plain)).then(|| format!("{scheme}://{host}"))
        }
        "javascript" | "data" | "vbscript" | "blob" | "file" | "filesystem" | "about" | "view-source" => None,
        _ => Some(format!("{scheme}:")),
    }
}

#[cfg(test)]
mod tests {
    use super::form_source;

    #[test]
    fn a_source_is_an_origin_or_an_application_scheme() {
        let table = [
            ("https://app.example", "https://app.example"),
            ("https://app.example:8443/a/b?c=d#e", "https://app.example:8443"),
            ("http://localhost:1", "http://localhost:1"),
            ("HTTPS://App.Example/cb", "https://App.Example"),
            ("http://[::1]:5000/cb", "http:"),
            ("msal12-ab://auth", "msal12-ab:"),
            ("scheme:", "scheme:"),
        ];
        for (address, source) in table {
            assert_eq!(form_source(address).as_deref(), Some(source), "{address}");
        }
    }

    #[test]
    fn a_07_hostile_addresses_are_no_source() {
        for address in [
            "",
            "'self'",
            "*",
            ":",
            "/path",
            "//evil.example",
            "https:",
            "https://",
            "https:///path",
            "https://*",
            "https://*.example",
            "https://app.example@evil.example/",
            "https://app.example\\@evil.example",
            "https://app.example;script-src",
            "https://app.example https://evil.example",
            "https://app.example,evil",
            "https://[::1];x",
            "https://b\u{fc}cher.example",
            "java\tscript:alert(1)",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "a b:",
            "1a:",
            "a;b:",
        ] {
            assert_eq!(form_source(address), None, "{address:?}");
        }
    }
}
