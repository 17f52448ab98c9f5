//! Names inside the namespace: a hosts file and the switch that makes every resolver read it.
use super::wire::Allowed;
use deputize_core::cloud::Cloud;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Where the authority answers inside: a loopback address of its own, so that programs may use port 443 of the usual one.
pub(super) const AUTHORITY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 64, 0, 1));
/// Where a machine in Azure finds its metadata (spec/entra.md section 5.2).
pub(super) use crate::serve::METADATA;
/// Azure's regions: libraries that are told one ask `{region}.login.microsoft.com`.
const REGIONS: &[&str] = &[
    "australiacentral",
    "australiaeast",
    "australiasoutheast",
    "brazilsouth",
    "canadacentral",
    "canadaeast",
    "centralindia",
    "centralus",
    "eastasia",
    "eastus",
    "eastus2",
    "francecentral",
    "germanynorth",
    "germanywestcentral",
    "israelcentral",
    "italynorth",
    "japaneast",
    "japanwest",
    "koreacentral",
    "koreasouth",
    "mexicocentral",
    "northcentralus",
    "northeurope",
    "norwayeast",
    "norwaywest",
    "polandcentral",
    "qatarcentral",
    "southafricanorth",
    "southcentralus",
    "southeastasia",
    "southindia",
    "spaincentral",
    "swedencentral",
    "switzerlandnorth",
    "switzerlandwest",
    "uaecentral",
    "uaenorth",
    "uksouth",
    "ukwest",
    "westcentralus",
    "westeurope",
    "westindia",
    "westus",
    "westus2",
    "westus3",
];

/// The sign-in hosts that lead to the authority.
pub(super) fn sign_in(cloud: &Cloud) -> Vec<String> {
    let regional = REGIONS.iter().filter(|_| cloud.aliases.contains(&"login.microsoft.com"));
    let regional = regional.map(|region| format!("{region}.login.microsoft.com"));
    let own = cloud.aliases.iter().copied().chain(Some(cloud.issuer_v1)).map(str::to_owned);
    let mut names: Vec<String> = own.chain(regional).collect();
    names.sort();
    names.dedup();
    names
}

/// The hosts file inside: the host's own without the names that lead elsewhere now.
pub(super) fn file(before: &str, machine: &str, sign_in: &[String], allowed: &[Allowed]) -> String {
    let ours: Vec<&str> =
        sign_in.iter().map(String::as_str).chain(allowed.iter().map(|allowed| allowed.host.as_str())).collect();
    let mut text = "# of deputize run: inside this namespace only\n127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for name in sign_in {
        let _ = writeln!(text, "{AUTHORITY} {name}");
    }
    for allowed in allowed.iter().filter(|allowed| allowed.host.parse::<IpAddr>().is_err()) {
        for address in &allowed.addresses {
            let _ = writeln!(text, "{address} {}", allowed.host);
        }
    }
    for line in before.lines() {
        let words = line.split('#').next().unwrap_or_default();
        let mut names = words.split_whitespace().skip(1);
        if !words.trim().is_empty() && !names.any(|name| ours.iter().any(|ours| name.eq_ignore_ascii_case(ours))) {
            let _ = writeln!(text, "{line}");
        }
    }
    if !machine.is_empty() && !ours.contains(&machine) {
        let _ = writeln!(text, "127.0.0.1 {machine}");
    }
    text
}

/// The name service switch inside: files first and alone, for other sources are daemons outside, which would tell what the
/// names mean there.
pub(super) fn switch(before: &str) -> String {
    let others = before.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use deputize_core::cloud::{CLOUDS, is_microsofts};

    fn addresses<'a>(file: &'a str, name: &str) -> Vec<&'a str> {
        let lines = file.lines().filter(|line| line.split_whitespace().skip(1).any(|word| word == name));
        lines.filter_map(|line| line.split_whitespace().next()).collect()
    }

    #[test]
    fn sign_in_hosts_lead_to_the_authority_whatever_the_host_says() {
        let before = "127.0.0.1 localhost\n203.0.113.9 LOGIN.microsoftonline.com # pinned\n10.0.0.5 db db.internal\n";
        let allowed = Allowed { host: "db".into(), port: 5432, addresses: vec![Ipv4Addr::new(127, 64, 1, 1).into()] };
        let file = file(before, "here", &sign_in(&CLOUDS[0]), &[allowed]);
        for name in ["login.microsoftonline.com", "sts.windows.net", "westeurope.login.microsoft.com"] {
            assert_eq!(addresses(&file, name), ["127.64.0.1"], "{name}");
        }
        assert!(!file.contains("203.0.113.9"), "{file}");
        assert_eq!(addresses(&file, "db"), ["127.64.1.1"], "the allowed name leads to its forwarder alone");
        assert_eq!(addresses(&file, "here"), ["127.0.0.1"]);
    }

    #[test]
    fn every_name_that_is_answered_is_microsofts_and_nothing_else_is() {
        for cloud in &CLOUDS {
            let names = sign_in(cloud);
            assert!(names.iter().all(|name| is_microsofts(name)), "{names:?}");
            assert!(names.contains(&cloud.host.to_owned()));
        }
        assert!(sign_in(&CLOUDS[0]).iter().any(|name| name.ends_with("westus3.login.microsoft.com")));
    }

    #[test]
    fn names_come_from_files_only() {
        let text = switch("passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files dns\n");
        assert_eq!(text, "passwd: files\nhosts: files dns\n");
    }
}
