//! `deputize run -- COMMAND`: an unmodified program, with unmodified libraries and their default authority, against a declared
//! estate. The program is started in a private namespace in which Microsoft's sign-in hosts lead to a local authority; the
//! system outside stays as it is. Where there are no namespaces, the same is served for programs that are told of it.
mod ca;
mod environment;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
mod machine;
mod outdoors;
mod served;

use crate::failure::Failure;
use clap::ValueEnum;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// When the command was not started, as env(1) and timeout(1) say it.
const NOT_STARTED: u8 = 125;

/// Options of `deputize run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The estate file to serve; by default that of `deputize demo`
    #[arg(long, value_name = "FILE")]
    estate: Option<PathBuf>,
    /// Keeps the store and the keys in this folder; by default they are gone afterwards
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Which of Microsoft's clouds is stood in for
    #[arg(long, value_name = "CLOUD", value_enum, default_value_t = Cloud::Public)]
    cloud: Cloud,
    /// Makes a server of the command reachable from outside, on loopback; may be repeated
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    publish: Vec<u16>,
    /// Lets the command reach a server outside, such as `db.example:5432`; may be repeated
    #[arg(long, value_name = "HOST:PORT", value_parser = server)]
    allow: Vec<(String, u16)>,
    /// Gives the namespace a name, so that others can join
    #[arg(long, value_name = "NAME", value_parser = name, conflicts_with = "join")]
    name: Option<String>,
    /// Starts the command in the namespace of that name
    #[arg(long, value_name = "NAME", value_parser = name, conflicts_with_all = ["estate", "data", "cloud", "allow"])]
    join: Option<String>,
    /// Sets the authority's clock so many minutes ahead, so that what `--data` keeps has expired; in that folder time does not
    /// go back
    #[arg(long, value_name = "MINUTES", default_value_t = 0, conflicts_with = "join", value_parser = clap::value_parser!(u32).range(..=5_256_000))]
    ahead: u32,
    /// Lets managed identity be asked for as on App Service, besides as on a virtual machine
    #[arg(long, conflicts_with = "join")]
    app_service: bool,
    /// Makes no namespace and starts nothing: serves at `https://localhost:PORT`, managed identities at the next port, and prints the environment variables that
    /// lead programs there
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "8443",
        conflicts_with_all = ["join", "name", "publish", "allow", "cloud", "command"])]
    outside: Option<u16>,
    /// Starts a sidecar beside the command, with what this environment tells `deputize sidecar`, and tells the command where it
    /// is: as NAIS does, and where Entra is a provider also as Azure does (managed identity). Without an option of the local
    /// authority, such as `--estate`, there is none, and no namespace: the sidecar asks the providers that the environment names
    #[arg(long, conflicts_with = "outside")]
    sidecar: bool,
    /// Does not say what is served
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "outside", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Microsoft's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cloud {
    Public,
    UsGovernment,
    China,
}

/// `deputize run`. It ends as the command ends.
pub(crate) fn run(options: Options) -> ExitCode {
    let ended = match options.outside {
        Some(port) => {
            let Options { estate, data, ahead, quiet, .. } = options;
            outdoors::run(outdoors::Outdoors { port, estate, data, ahead, quiet })
        }
        None if options.sidecar && !options.is_offline() => plain(&options.command),
        None => started(options),
    };
    ended.unwrap_or_else(|failure| {
        failure.report();
        ExitCode::from(NOT_STARTED)
    })
}

impl Options {
    /// Whether anything is said of a local authority or its namespace.
    fn is_offline(&self) -> bool {
        let named = self.estate.is_some() || self.data.is_some() || self.name.is_some() || self.join.is_some();
        let reaching = !self.publish.is_empty() || !self.allow.is_empty();
        named || reaching || self.app_service || self.ahead > 0 || self.cloud != Cloud::Public
    }
}

#[cfg(target_os = "linux")]
fn plain(command: &[OsString]) -> Result<ExitCode, Failure> {
    linux::plain::run(command)
}

#[cfg(not(target_os = "linux"))]
fn plain(_: &[OsString]) -> Result<ExitCode, Failure> {
    Err(Failure::new("`--sidecar` passes signals on as Linux does", "start `deputize sidecar` yourself"))
}

#[cfg(target_os = "linux")]
fn started(options: Options) -> Result<ExitCode, Failure> {
    linux::run(options)
}

#[cfg(not(target_os = "linux"))]
fn started(_: Options) -> Result<ExitCode, Failure> {
    outdoors::refused("only Linux has namespaces");
    Ok(ExitCode::from(NOT_STARTED))
}

/// Reads the name of a run: it becomes part of a path.
fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 32 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("write up to 32 small letters, digits and hyphens".to_owned())
}

/// Reads `HOST:PORT`, or `[ADDRESS]:PORT`.
fn server(text: &str) -> Result<(String, u16), String> {
    let wanted = || "write it like `db.example:5432`".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wanted)?;
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let good = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.len() < 254 && host.chars().all(named));
    if good { Ok((host.to_ascii_lowercase(), port)) } else { Err(wanted()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_to_reach_is_a_host_and_a_port() {
        assert_eq!(server("DB.example:5432"), Ok(("db.example".to_owned(), 5432)));
        assert_eq!(server("[2001:db8::1]:443"), Ok(("2001:db8::1".to_owned(), 443)));
        for bad in ["db.example", "db.example:0", "db.example:x", ":1", "a b:1", "a\n127.0.0.1 b:1", "2001:db8::g:1"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_folder() {
        assert_eq!(name("lab-2").as_deref(), Ok("lab-2"));
        for bad in ["", "..", "a/b", "a.lock", "A", "a b", &"a".repeat(33)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
