//! The command in a namespace of its own. Three processes: one outside, which carries connections across; one inside, which
//! is the authority; and the command.
mod ending;
mod forward;
mod hosts;
pub(crate) mod inside;
mod name;
mod namespace;
mod netlink;
mod outside;
pub(super) mod plain;
pub(crate) mod start;
mod wire;

use super::{Cloud, NOT_STARTED, Options};
use crate::failure::Failure;
use deputize_core::cloud;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use wire::{Allowed, Plan};

/// Starts the command, and ends as it ends.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("error")?;
    let (plan, name) = planned(options)?;
    // One thread: a child dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::plain(format!("no runtime: {}", error.kind())))?;
    let ended = runtime.block_on(outside::run(plan, name.as_deref()));
    runtime.shutdown_background();
    Ok(ending::like(ended?))
}

fn planned(options: Options) -> Result<(Plan, Option<String>), Failure> {
    let cloud = match options.cloud {
        Cloud::Public => "login.microsoftonline.com",
        Cloud::UsGovernment => "login.microsoftonline.us",
        Cloud::China => "login.partner.microsoftonline.cn",
    };
    let join = options.join.as_deref().map(name::Name::door).transpose()?;
    let mut allow: Vec<Allowed> = Vec::new();
    for (host, port) in options.allow {
        let known = allow.iter().find(|allowed| allowed.host == host).map(|allowed| allowed.addresses.clone());
        let addresses = known.map_or_else(|| addresses_inside(&host, allow.len()), Ok)?;
        allow.push(Allowed { host, port, addresses });
    }
    let Options { command, estate, data, publish, ahead, app_service, sidecar, quiet, name, .. } = options;
    let cloud = cloud.to_owned();
    Ok((Plan { command, join, cloud, estate, data, publish, allow, ahead, app_service, sidecar, quiet }, name))
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

#[cfg(test)]
mod tests {
    use super::*;

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
