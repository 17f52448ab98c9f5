//! Fields that say who somebody is or where a request came from: whoever reads one must have it from the gateway.
use http::HeaderName;

/// Names and beginnings (those that end with `*`) that no caller may send, in the spelling with `-`.
const RESERVED: &[&str] = &[
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "ocp-apim-*",
    "x-arr-clientcert",
    "x-auth-request-*",
    "x-client-cert",
    "x-forwarded*",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "x-original-for",
    "x-original-forwarded-*",
    "x-original-host",
    "x-original-method",
    "x-original-prefix",
    "x-original-proto",
    "x-original-remote-*",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Names that services read an identity from; they pass where a route says so.
const LOOKS_LIKE_IDENTITY: &[&str] = &[
    "cf-access-*",
    "cf-connecting-ip*",
    "fastly-client-ip",
    "impersonate-*",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user*",
    "ssl-client-*",
    "tailscale-user-*",
    "true-client-ip",
    "x-amzn-oidc-*",
    "x-apigateway-api-userinfo",
    "x-auth-user*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-consumer-*",
    "x-credential-*",
    "x-email",
    "x-endpoint-api-userinfo",
    "x-envoy-external-address",
    "x-goog-authenticated-*",
    "x-goog-iap-*",
    "x-groups",
    "x-jwt-*",
    "x-principal*",
    "x-remote-extra-*",
    "x-remote-group*",
    "x-remote-user*",
    "x-role",
    "x-roles",
    "x-ssl-client-*",
    "x-user",
    "x-user-*",
    "x-userid",
    "x-username",
    "x-webauth-*",
];

/// Whether a caller's field of this name, or of one that servers take for it, is always removed.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    may_be(name) && RESERVED.iter().any(|pattern| fits(name.as_str(), pattern))
}

/// Whether it is removed where no route allows it.
pub(crate) fn looks_like_identity(name: &HeaderName) -> bool {
    may_be(name) && LOOKS_LIKE_IDENTITY.iter().any(|pattern| fits(name.as_str(), pattern))
}

/// Whether two names are one to a server that reads fields as variables (`HTTP_X_USER`), where `_`, `.` and `-` are alike.
pub(crate) fn is_alias(name: &str, of: &str) -> bool {
    name.len() == of.len() && begins(name, of)
}

/// Whether a caller's field of this name is removed, where these are set by policies: whoever reads one must have it from the gateway.
pub(crate) fn removes(name: &HeaderName, injected: &[HeaderName]) -> bool {
    is_reserved(name) || looks_like_identity(name) || injected.iter().any(|own| is_alias(name.as_str(), own.as_str()))
}

/// Most fields begin otherwise.
fn may_be(name: &HeaderName) -> bool {
    matches!(name.as_str().as_bytes().first(), Some(b'c' | b'f' | b'i' | b'o' | b'r' | b's' | b't' | b'x'))
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => begins(name, beginning),
        None => is_alias(name, pattern),
    }
}

/// Whether a name, in any spelling, begins so.
pub(super) fn begins(name: &str, beginning: &str) -> bool {
    let folded = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= beginning.len() && name.bytes().map(folded).zip(beginning.bytes().map(folded)).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HeaderName {
        text.parse().unwrap()
    }

    #[test]
    fn g_05_reserved_names_are_known_in_every_spelling() {
        for text in [
            "X-Forwarded-For",
            "x_forwarded_for",
            "X.Forwarded.User",
            "x-forwarded_user",
            "X-MS-CLIENT-PRINCIPAL",
            "X-MS-CLIENT-PRINCIPAL-ID",
            "x_ms_client_principal_name",
            "X-MS-TOKEN-AAD-ACCESS-TOKEN",
            "X-Auth-Request-Email",
            "Ocp-Apim-Subscription-Key",
            "OCP_APIM_TRACE",
            "Forwarded",
            "Client-Cert",
            "X_Client_Cert",
            "X-Forwarded-Client-Cert",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "X-Real-IP",
            "X-Forwarded",
            "X-Forwarded-Scheme",
            "X_Forwarded_Ssl",
            "Forwarded-For",
            "Front_End_Https",
            "X-Host",
            "X-Original-Forwarded-For",
            "X.Original.Host",
            "X-Original-Method",
            "X-Original-URI",
            "X-Original-For",
            "X-Original-Prefix",
            "X-Original-Proto",
            "X-Original-Remote-Addr",
            "X_Original_Remote_Port",
        ] {
            assert!(is_reserved(&name(text)), "{text}");
        }
        for text in
            ["x-request-id", "x-original-filename", "accept", "cookie", "authorization", "traceparent", "client"]
        {
            assert!(!is_reserved(&name(text)), "{text}");
        }
    }

    #[test]
    fn names_that_services_read_an_identity_from_are_known() {
        for text in [
            "X-User",
            "x_user",
            "X-User-Id",
            "Remote-User",
            "REMOTE_USER",
            "X-Consumer-Username",
            "X-Client-IP",
            "X_Cluster_Client_IP",
            "True-Client-IP",
            "CF-Connecting-IPv6",
        ] {
            assert!(looks_like_identity(&name(text)), "{text}");
        }
        assert!(!looks_like_identity(&name("user-agent")));
        assert!(!looks_like_identity(&name("x-users-page")));
    }

    #[test]
    fn patterns_are_written_as_they_are_compared() {
        for pattern in RESERVED.iter().chain(LOOKS_LIKE_IDENTITY) {
            let sound = |b: u8| b.is_ascii_lowercase() || matches!(b, b'-' | b'*');
            assert!(pattern.bytes().all(sound), "{pattern}");
            assert!(may_be(&name(pattern.trim_end_matches(['*', '-']))), "{pattern}");
        }
    }
}
