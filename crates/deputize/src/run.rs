//! `deputize run -- COMMAND`: an unmodified program, with unmodified libraries and their default authority, against a declared
//! estate. The program is started in a private namespace in which Microsoft's sign-in hosts lead to a local authority; the
//! system outside stays as it is.
mod ca;
mod ending;
mod environment;
mod forward;
mod hosts;
pub(crate) mod inside;
mod name;
mod namespace;
mod netlink;
mod outdoors;
mod outside;
mod served;
pub(crate) mod start;
mod wire;

use crate::failure::Failure;
use deputize_core::cloud::{self, CLOUDS};
use ending::NOT_STARTED;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use wire::{Allowed, Plan};

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
    #[arg(long, value_name = "CLOUD", default_value = "public", value_parser = ["public", "us-government", "china"])]
    cloud: String,
    /// Makes a server of the command reachable from outside, on loopback; may be repeated
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    publish: Vec<u16>,
    /// Lets the command reach a server outside, such as `db.example:5432`; may be repeated
    #[arg(long, value_name = "HOST:PORT", value_parser = server)]
    allow: Vec<(String, u16)>,
    /// Gives the namespace a name, so that others can join
    #[arg(long, value_name = "NAME", value_parser = name::parse, conflicts_with = "join")]
    name: Option<String>,
    /// Starts the command in the namespace of that name
    #[arg(long, value_name = "NAME", value_parser = name::parse, conflicts_with_all = ["estate", "data", "cloud", "allow"])]
    join: Option<String>,
    /// Does not say what is served
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// `deputize run`. It ends as the command ends.
pub(crate) fn run(options: Options) -> ExitCode {
    let ended = || {
        crate::log::start("error")?;
        let (plan, name) = planned(options)?;
        // One thread: a child dies with the thread that started it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::plain(format!("no runtime: {}", error.kind())))?;
        let ended = runtime.block_on(outside::run(plan, name.as_deref()));
        runtime.shutdown_background();
        ended
    };
    match ended() {
        Ok(status) => ending::like(status),
        Err(failure) => {
            failure.report();
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn planned(options: Options) -> Result<(Plan, Option<String>), Failure> {
    let place = ["public", "us-government", "china"].iter().position(|name| *name == options.cloud).unwrap_or_default();
    let cloud = CLOUDS.get(place).unwrap_or(&CLOUDS[0]).host.to_owned();
    let join = options.join.as_deref().map(outside::door_of).transpose()?;
    let mut allow: Vec<Allowed> = Vec::new();
    for (host, port) in options.allow {
        let known = allow.iter().find(|allowed| allowed.host == host).map(|allowed| allowed.addresses.clone());
        let addresses = known.map_or_else(|| addresses_inside(&host, allow.len()), Ok)?;
        allow.push(Allowed { host, port, addresses });
    }
    let Options { command, estate, data, publish, quiet, name, .. } = options;
    Ok((Plan { command, join, cloud, estate, data, publish, allow, quiet }, name))
}

/// Where a server outside is found inside: an address keeps its own, a name gets one of loopback.
fn addresses_inside(host: &str, place: usize) -> Result<Vec<IpAddr>, Failure> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let usable = !address.is_unspecified() && !address.is_multicast() && address != hosts::METADATA;
        let usable = usable && address != hosts::AUTHORITY;
        let hint = "name the server, or give the address of one machine";
        return usable.then(|| vec![address]).ok_or_else(|| Failure::new(format!("`{host}` cannot be allowed"), hint));
    }
    if cloud::is_microsofts(host) {
        let error = format!("`{host}` cannot be allowed: it is answered here");
        return Err(Failure::new(error, "run the command by itself to let it reach Microsoft"));
    }
    let last = u8::try_from(place + 1).ok().filter(|last| *last < 255);
    let last = last.ok_or_else(|| Failure::new("too many servers are allowed", "allow fewer than 254"))?;
    Ok(vec![Ipv4Addr::new(127, 64, 1, last).into()])
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
    fn the_sign_in_hosts_and_the_metadata_address_cannot_be_reached_outside() {
        for host in
            ["login.microsoftonline.com", "westus.login.microsoft.com", "169.254.169.254", "127.64.0.1", "0.0.0.0"]
        {
            assert!(addresses_inside(host, 0).is_err(), "{host}");
        }
        assert_eq!(addresses_inside("db.example", 1).unwrap(), [IpAddr::from([127, 64, 1, 2])]);
        assert_eq!(addresses_inside("10.0.0.5", 0).unwrap(), [IpAddr::from([10, 0, 0, 5])]);
    }
}
