//! What may come in from outside: licences, crates that must never be built, and versions below which a known
//! vulnerability lives.

use super::{Finding, licence};
use cargo_metadata::{Package, semver::Version};

/// Crates that must not be built, and why.
const BANNED: &[(&str, &str)] = &[
    ("native-tls", "TLS is rustls over aws-lc-rs"),
    ("openssl-sys", "aws-lc-rs is the one crypto provider"),
    ("ring", "aws-lc-rs is the one crypto provider; ask the dependency for its `aws_lc_rs` feature"),
    ("rsa", "its private-key operations leak timing (RUSTSEC-2023-0071)"),
];

/// The least version of a crate, and what was wrong below it.
const FLOORS: &[(&str, Version, &str)] = &[
    ("aws-lc-sys", Version::new(0, 39, 0), "RUSTSEC-2026-0044 to 0048"),
    ("h2", Version::new(0, 4, 16), "RUSTSEC-2026-0258, unbounded empty DATA frames"),
    ("jsonwebtoken", Version::new(10, 3, 0), "CVE-2026-25537, a wrong-typed `exp` taken as absent"),
    ("rustls-webpki", Version::new(0, 103, 13), "RUSTSEC-2026-0049 and 0104, revocation lists"),
    ("tracing-subscriber", Version::new(0, 3, 20), "RUSTSEC-2025-0055, escape sequences in logs"),
];

/// Packages whose licence is not on the list.
pub(crate) fn licences(packages: &[&Package]) -> Vec<Finding> {
    packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(licence::is_allowed))
        .map(|package| Finding {
            place: format!("{} {}", package.name, package.version),
            problem: format!("has the licence `{}`", package.license.as_deref().unwrap_or("none declared")),
            fix: "use another crate, or add the licence to xtask/src/check/licence.rs and deny.toml if it asks for notice only"
                .to_owned(),
        })
        .collect()
}

/// Banned crates and versions below their floor.
pub(crate) fn bans_and_floors(packages: &[&Package]) -> Vec<Finding> {
    packages.iter().filter_map(|package| unwelcome(package.name.as_str(), &package.version)).collect()
}

fn unwelcome(name: &str, version: &Version) -> Option<Finding> {
    let place = format!("{name} {version}");
    if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        let fix = format!("{reason}; `cargo tree --target all -i {name}` shows who brings it");
        return Some(Finding { place, problem: "is banned".to_owned(), fix });
    }
    let (_, least, reason) = FLOORS.iter().find(|(crate_name, least, _)| *crate_name == name && version < least)?;
    let fix = format!("cargo update -p {name}");
    Some(Finding { place, problem: format!("is older than {least} ({reason})"), fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_crates_fail_at_any_version() {
        for name in ["ring", "openssl-sys", "native-tls", "rsa"] {
            let found = unwelcome(name, &Version::new(99, 0, 0)).unwrap();
            assert!(found.place.starts_with(name) && found.problem.contains("banned"), "{found:?}");
        }
    }

    #[test]
    fn a_version_below_its_floor_fails_and_the_floor_passes() {
        for (name, floor, _) in FLOORS {
            assert_eq!(unwelcome(name, floor), None, "{name}");
            assert!(unwelcome(name, &Version::new(0, 0, 1)).unwrap().fix.contains("cargo update"), "{name}");
        }
    }

    #[test]
    fn other_crates_pass() {
        assert_eq!(unwelcome("serde", &Version::new(0, 0, 1)), None);
    }

    #[test]
    fn deny_toml_says_the_same() {
        let deny = include_str!("../../../deny.toml");
        for (name, _) in BANNED {
            assert!(deny.contains(&format!("{{ crate = \"{name}\", ")), "{name}");
        }
        for (name, least, _) in FLOORS {
            assert!(deny.contains(&format!("{{ crate = \"{name}:<{least}\", ")), "{name}");
        }
        for licence in licence::ALLOWED {
            assert!(deny.contains(&format!("  \"{licence}\",\n")), "{licence}");
        }
    }
}
