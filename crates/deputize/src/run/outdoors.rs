//! Where there is no namespace: the same by environment variables, which every library must be told.
use super::ca;
use super::environment::{self, SETTINGS};
use super::served::Served;
use crate::authority::runtime;
use crate::data::{Data, Temporary};
use crate::env::exported;
use crate::failure::Failure;
use crate::listen;
use crate::output::say;
use crate::serve::{self, Server};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The port where nothing else is said.
const PORT: u16 = 8443;

/// What is served, and where.
pub(super) struct Outdoors {
    pub(super) port: u16,
    pub(super) estate: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) ahead: u32,
    pub(super) quiet: bool,
}

/// Serves until it is asked to end.
pub(super) fn run(options: Outdoors) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    runtime()?.block_on(serve(options))
}

async fn serve(options: Outdoors) -> Result<ExitCode, Failure> {
    let other = options.port.checked_add(1).ok_or_else(|| Failure::plain("there is no port after 65535"))?;
    let beside = listen::bind(&listen::localhost(other), "choose another with `--outside PORT`").await?;
    let bound = listen::bind(&listen::localhost(options.port), "choose another with `--outside PORT`").await?;
    // Declared before whatever lives in it, so that it goes last.
    let temporary = Temporary::create()?;
    let folder = Data::open(temporary.path())?;
    let ca = ca::make(&["localhost".to_owned()])?;
    crate::system::live_ahead(i64::from(options.ahead) * 60);
    let data = Data::open(&options.data.unwrap_or_else(|| folder.path("data")))?;
    let ca_file = folder.publish("ca.pem", &ca.pem)?;
    let before =
        environment::BUNDLES.iter().find_map(|bundle| std::fs::read_to_string(bundle).ok()).unwrap_or_default();
    let bundle = folder.publish("ca-bundle.pem", &format!("{before}\n{}", ca.pem))?;
    let host = format!("https://localhost:{}", options.port);
    let served = Served::open(&data, options.estate.as_deref(), &host).await?;
    let tls = serve::tls(&format!("{}{}", ca.chain_pem, ca.pem), &ca.key_pem, "the run's certificate")?;
    let mut server = Server::new();
    server.add(bound, Some(&tls), &served.router())?;
    let machine = served.machine(&ca.pem).await?;
    let names = [format!("localhost:{other}"), format!("127.0.0.1:{other}")];
    server.add(beside, None, &machine.router(&names))?;
    let mut ending = serve::Ending::heard()?;
    if !options.quiet {
        served.announce("nothing of Microsoft's");
    }
    for line in variables(&host, &ca_file, &bundle) {
        say(line);
    }
    let site = machine.app_service(&format!("http://localhost:{other}"));
    for (name, value) in site.into_iter().chain(served.variables(&data, &ca_file, &ca.pem)?) {
        say(exported(&name, &value));
    }
    say(READY);
    ending.asked().await;
    server.end().await;
    Ok(ExitCode::SUCCESS)
}

/// The last line, after which everything is served.
const READY: &str = "# served until Ctrl-C";

/// As a shell reads them; the rest is comment.
fn variables(host: &str, ca: &Path, bundle: &Path) -> Vec<String> {
    let mut lines = vec![
        "# This is not Microsoft's: a local authority, for programs that are told of it. A program that is not told asks".to_owned(),
        "# Microsoft itself.".to_owned(),
    ];
    for (name, value, purpose) in environment::outside(host, ca, bundle) {
        lines.push(format!("{}  # {purpose}", exported(name, &value)));
    }
    lines.push("# Libraries ask Microsoft whether they may trust another host, unless their settings say:".to_owned());
    for (library, setting) in SETTINGS {
        let setting = setting.replace("{host}", host).replace("{name}", host.trim_start_matches("https://"));
        lines.push(format!("#   {library}: {setting}"));
    }
    lines
}

/// Says why the command was not started, and what does the same.
pub(super) fn refused(reason: &str) {
    let (host, ca) = (format!("https://localhost:{PORT}"), Path::new("FOLDER/ca.pem"));
    let mut out = std::io::stderr().lock();
    let _ = writeln!(
        out,
        "error: this system allows no namespace of its own to a command: {reason}\n\
         hint: the command was not started, for it would ask Microsoft itself. `deputize run --outside` serves the same at \
         {host}, and prints these variables with their files:"
    );
    for line in variables(&host, ca, Path::new("FOLDER/ca-bundle.pem")) {
        let _ = writeln!(out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_variables_and_nothing_else() {
        let lines = variables("https://localhost:9443", Path::new("/a b/it's.pem"), Path::new("/bundle.pem"));
        assert!(lines.iter().all(|line| line.starts_with("export ") || line.starts_with('#')), "{lines:?}");
        let node = lines.iter().find(|line| line.contains("NODE_EXTRA_CA_CERTS")).unwrap();
        assert!(node.starts_with("export NODE_EXTRA_CA_CERTS='/a b/it'\\''s.pem'  # "), "{node}");
        assert!(lines.iter().any(|line| line.contains("knownAuthorities: [\"localhost:9443\"]")));
    }
}
