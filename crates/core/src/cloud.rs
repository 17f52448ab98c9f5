//! Microsoft's clouds: the hosts that client libraries know (spec/entra.md section 2.4), and what their issuers are called.
//!
//! An authority has a host of its own, and then its issuers begin with it. Only inside the private namespace of `deputize run`
//! does one answer under a cloud's host; it then issues as that cloud does, for libraries compare the names.

/// A cloud, as instance discovery tells of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cloud {
    /// `preferred_network`: the authority's host, the start of its v2.0 issuers.
    pub host: &'static str,
    /// `preferred_cache`: the name that libraries keep tokens under.
    pub preferred_cache: &'static str,
    /// Where v1.0 issuers begin.
    pub issuer_v1: &'static str,
    /// Every name of it, its host among them.
    pub aliases: &'static [&'static str],
}

/// The clouds, the public one first.
pub static CLOUDS: [Cloud; 3] = [
    Cloud {
        host: "login.microsoftonline.com",
        preferred_cache: "login.windows.net",
        issuer_v1: "sts.windows.net",
        aliases: &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
    },
    Cloud {
        host: "login.microsoftonline.us",
        preferred_cache: "login.microsoftonline.us",
        issuer_v1: "sts.windows.net",
        aliases: &["login.microsoftonline.us", "login.usgovcloudapi.net"],
    },
    Cloud {
        host: "login.partner.microsoftonline.cn",
        preferred_cache: "login.partner.microsoftonline.cn",
        issuer_v1: "sts.chinacloudapi.cn",
        aliases: &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
    },
];

/// The cloud whose host this is: `https://login.microsoftonline.com` and the like.
pub fn of(host: &str) -> Option<&'static Cloud> {
    let name = host.strip_prefix("https://")?;
    CLOUDS.iter().find(|cloud| cloud.host == name)
}

/// Whether a name belongs to Microsoft's sign-in service, in any cloud: no authority outside a private namespace may answer
/// under it.
pub fn is_microsofts(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = |known: &str| name == known || name.strip_suffix(known).is_some_and(|rest| rest.ends_with('.'));
    let others = ["login-us.microsoftonline.com", "login.microsoftonline.de", "login.live.com", "sts.chinacloudapi.cn"];
    CLOUDS.iter().flat_map(|cloud| cloud.aliases).chain(&others).any(|known| below(known))
}

/// The issuer of v2.0 tokens (spec/entra.md section 9.1).
pub fn issuer_v2(host: &str, tenant: &str) -> String {
    format!("{host}/{tenant}/v2.0")
}

/// The issuer of v1.0 tokens (spec/entra.md section 9.1): a cloud has a host of its own for it, we have ours.
pub fn issuer_v1(host: &str, tenant: &str) -> String {
    match of(host) {
        Some(cloud) => format!("https://{}/{tenant}/", cloud.issuer_v1),
        None => format!("{host}/{tenant}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_begin_with_our_host_and_with_microsofts_only_under_its_name() {
        assert_eq!(issuer_v2("https://id.example:8443", "t"), "https://id.example:8443/t/v2.0");
        assert_eq!(issuer_v1("https://id.example:8443", "t"), "https://id.example:8443/t/");
        assert_eq!(issuer_v2("https://login.microsoftonline.com", "t"), "https://login.microsoftonline.com/t/v2.0");
        assert_eq!(issuer_v1("https://login.microsoftonline.com", "t"), "https://sts.windows.net/t/");
        assert_eq!(issuer_v1("https://login.partner.microsoftonline.cn", "t"), "https://sts.chinacloudapi.cn/t/");
        for not in ["login.microsoftonline.com", "https://login.microsoftonline.com:8443", "https://login.windows.net"]
        {
            assert_eq!(of(not), None, "{not}");
        }
    }

    #[test]
    fn microsofts_names_are_known_in_every_spelling_and_below() {
        for name in
            ["login.microsoftonline.com", "LOGIN.WINDOWS.NET.", "westeurope.login.microsoft.com", "login.live.com"]
        {
            assert!(is_microsofts(name), "{name}");
        }
        for name in ["login.contoso.example", "notlogin.microsoftonline.com", "login.microsoftonline.com.example"] {
            assert!(!is_microsofts(name), "{name}");
        }
    }

    #[test]
    fn a_cloud_goes_by_its_own_host_first() {
        for cloud in &CLOUDS {
            assert_eq!(cloud.aliases.first(), Some(&cloud.host));
            assert!(cloud.aliases.contains(&cloud.preferred_cache));
        }
    }
}
