//! `ip_filter`: calls from some addresses only, or from all but some.
use super::{Decided, Part, Phase, Policy};
use crate::address::Address;
use crate::call::Call;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World, fault};
use decision::{Check, CheckId};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Calls from some addresses only, or from all but some.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ip_filter")]
pub(crate) struct Table {
    /// Whether these may call, or all others.
    action: Action,
    /// Addresses, and networks such as `10.0.0.0/8`.
    #[serde(default)]
    address: Vec<Spanned<String>>,
    /// From one address to another, both included.
    #[serde(default)]
    address_range: Vec<Spanned<Ends>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Action {
    Allow,
    Forbid,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Ends {
    from: IpAddr,
    to: IpAddr,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, _: &mut World<'_>) -> Result<Part, SettingsError> {
        let mut networks = Vec::with_capacity(self.address.len());
        for text in &self.address {
            networks.push(network(text.get_ref()).ok_or_else(|| {
                fault(&text.span(), "this is neither an address nor a network", "write `203.0.113.9` or `10.0.0.0/8`")
            })?);
        }
        let mut ranges = Vec::with_capacity(self.address_range.len());
        for ends in &self.address_range {
            let (from, to) = (ends.get_ref().from.to_canonical(), ends.get_ref().to.to_canonical());
            if from.is_ipv4() != to.is_ipv4() || from > to {
                let hint = "write the lower address in `from`, and one of the same kind in `to`";
                return Err(fault(&ends.span(), "the range is empty", hint));
            }
            ranges.push((from, to));
        }
        if networks.is_empty() && ranges.is_empty() {
            return Err(fault(at, "`ip_filter` names no address", "add `address` or `address_range`"));
        }
        let told = super::Table::told(self);
        Ok(Part::Rule(Arc::new(IpFilter { action: self.action, networks, ranges, told })))
    }

    /// Not where all addresses of a kind may call.
    fn identifies(&self) -> bool {
        let networks = self.address.iter().filter_map(|text| network(text.get_ref()));
        let networks = networks.map(|network| (network.network(), network.broadcast()));
        let ranges = self.address_range.iter().map(Spanned::get_ref);
        let ranges = ranges.map(|ends| (ends.from.to_canonical(), ends.to.to_canonical()));
        let all: Vec<(IpAddr, IpAddr)> = networks.chain(ranges).collect();
        self.action == Action::Allow && ![true, false].into_iter().any(|ipv4| is_everybody(&all, ipv4))
    }

    fn told(&self) -> String {
        let addresses = self.address.iter().map(|text| text.get_ref().clone());
        let ranges = self.address_range.iter().map(|ends| format!("{}–{}", ends.get_ref().from, ends.get_ref().to));
        let all = addresses.chain(ranges).collect::<Vec<_>>().join(", ");
        match self.action {
            Action::Allow => format!("from {all} only"),
            Action::Forbid => format!("not from {all}"),
        }
    }
}

/// Whether these ranges are together all addresses of IPv4, or of IPv6.
fn is_everybody(ranges: &[(IpAddr, IpAddr)], ipv4: bool) -> bool {
    let last = if ipv4 { u128::from(u32::MAX) } else { u128::MAX };
    let ranges = ranges.iter().filter(|(from, _)| from.is_ipv4() == ipv4);
    let mut ranges: Vec<(u128, u128)> = ranges.map(|(from, to)| (number(*from), number(*to))).collect();
    ranges.sort_unstable();
    let mut next = 0;
    for (from, to) in ranges {
        if from > next {
            return false;
        }
        if to >= last {
            return true;
        }
        next = next.max(to + 1);
    }
    false
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address or a network; IPv4 in the clothes of IPv6 is IPv4.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().filter(|network| network.addr().to_canonical() == network.addr()),
    }
}

struct IpFilter {
    action: Action,
    networks: Vec<IpNet>,
    ranges: Vec<(IpAddr, IpAddr)>,
    /// The same, for people.
    told: String,
}

impl IpFilter {
    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
            || self
                .ranges
                .iter()
                .any(|(from, to)| from.is_ipv4() == address.is_ipv4() && *from <= address && address <= *to)
    }

    fn judge(&self, caller: Address) -> Result<(), CheckId> {
        match (caller, self.action) {
            (Address::Unreadable, _) => Err(CheckId::CallerAddressKnown),
            (Address::Known(address), Action::Allow) if !self.has(address) => Err(CheckId::CallerAddressAllowed),
            (Address::Known(address), Action::Forbid) if self.has(address) => Err(CheckId::CallerAddressNotBlocked),
            (Address::Known(_), _) => Ok(()),
        }
    }
}

impl Policy for IpFilter {
    fn phase(&self) -> Phase {
        Phase::Admit
    }

    fn decide(&self, call: &mut Call) -> Decided {
        match self.judge(call.caller) {
            Ok(()) => Decided::Pass,
            Err(check) => Decided::Deny(Box::new(Denial::of(check).message("Forbidden"))),
        }
    }

    /// The address that was judged: behind proxies it is not that of the connection.
    fn checks(&self, call: &Call) -> Vec<Check> {
        let found =
            call.caller.known().map_or_else(|| "none that can be read".to_owned(), |address| address.to_string());
        let failed = self.judge(call.caller).err();
        failed.map(|check| Check::fail(check, self.told.as_str(), found)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(action: Action) -> IpFilter {
        IpFilter {
            action,
            networks: ["10.0.0.0/8", "2001:db8::/32", "203.0.113.9", "::ffff:192.0.2.1"]
                .map(|t| network(t).unwrap())
                .into(),
            ranges: vec![("198.51.100.5".parse().unwrap(), "198.51.100.9".parse().unwrap())],
            told: String::new(),
        }
    }

    const INSIDE: [&str; 7] =
        ["10.0.0.1", "10.255.255.255", "2001:db8::9", "203.0.113.9", "192.0.2.1", "198.51.100.5", "198.51.100.9"];
    const OUTSIDE: [&str; 6] = ["11.0.0.1", "2001:db9::", "203.0.113.8", "198.51.100.4", "198.51.100.10", "::1"];

    #[test]
    fn allow_lets_in_those_and_forbid_all_others() {
        for (action, let_in, kept_out, check) in [
            (Action::Allow, &INSIDE[..], &OUTSIDE[..], CheckId::CallerAddressAllowed),
            (Action::Forbid, &OUTSIDE[..], &INSIDE[..], CheckId::CallerAddressNotBlocked),
        ] {
            let judged = |text: &&str| filter(action).judge(Address::Known(text.parse().unwrap()));
            assert!(let_in.iter().all(|text| judged(text) == Ok(())), "{action:?}");
            assert!(kept_out.iter().all(|text| judged(text) == Err(check)), "{action:?}");
        }
    }

    #[test]
    fn g_10_an_address_that_cannot_be_read_is_denied_by_either_action() {
        for action in [Action::Allow, Action::Forbid] {
            assert_eq!(filter(action).judge(Address::Unreadable), Err(CheckId::CallerAddressKnown));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0", "0177.0.0.1", "example", "10.0.0.1-10.0.0.9", "::ffff:10.0.0.0/104"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
