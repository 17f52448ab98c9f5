//! Which redirect URIs are registered (RFC 8252 section 7.3, RFC 9700 section 4.1).
use crate::model::{Application, Profile};

/// Whether a redirect URI is registered, and if so whether for a public client. Strings are compared, never parsed: two
/// parsers that disagree are how wildcards got exploited. The one exception is the port of a loopback address.
pub fn registered(application: &Application, uri: &str) -> Option<bool> {
    if application.web.redirect_uris.iter().any(|known| known == uri) {
        return Some(false);
    }
    if application.spa.redirect_uris.iter().any(|known| known == uri) {
        return Some(true);
    }
    let any_port: &[&str] = match application.deputize.client_profile {
        Profile::Entra => &["http://localhost", "http://127.0.0.1"],
        Profile::Native => &["http://127.0.0.1", "http://[::1]"],
    };
    let matches = |known: &String| known == uri || any_port.iter().any(|host| same_but_port(known, uri, host));
    application.public_client.redirect_uris.iter().any(matches).then_some(true)
}

fn same_but_port(known: &str, uri: &str, host: &str) -> bool {
    let (Some(path), Some(rest)) = (known.strip_prefix(host), uri.strip_prefix(host)) else { return false };
    let Some(rest) = rest.strip_prefix(':') else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, after) = rest.split_at(digits);
    port.parse::<u16>().is_ok_and(|port| port > 0) && (path.is_empty() || path.starts_with('/')) && after == path
}
