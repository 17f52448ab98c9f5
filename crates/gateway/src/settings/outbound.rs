//! Where policies may send requests of their own (server-side request forgery ends here): hosts that the file lists, at addresses that
//! they may have.
use super::{SettingsError, Spanned, fault};
use crate::canonical;
use fetch::{Allow, Fetch};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;

/// The largest answer that is read, in bytes.
const LONGEST: usize = 64 << 10;

/// Where the policy `send_request` may send requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hosts_of_send_request")]
pub(crate) struct OutboundTable {
    /// The hosts, such as `https://scores.example` or `{ url = "https://scores.internal:8443", internal = true }`.
    allowed_hosts: Vec<Spanned<HostEntry>>,
}

/// A host, without a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "`\"https://HOST\"` or `{ url = \"https://HOST\", internal = true }`"
)]
#[schemars(inline)]
enum HostEntry {
    /// On the internet.
    Public(String),
    /// Anywhere else.
    Elsewhere {
        /// Its scheme, host and port; over `http` only on this machine.
        url: String,
        /// Whether it may be on this machine or in a private network. Link-local addresses are never reached.
        #[serde(default)]
        internal: bool,
    },
}

/// A scheme, a host and a port, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an address, and what follows it.
    pub(crate) fn of(text: &str) -> Result<(Self, &str), (&'static str, &'static str)> {
        let write = "write `https://HOST/PATH`";
        let (scheme, rest) = text.split_once("://").ok_or(("this is no address", write))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let is_https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(("the address has another scheme than `https`", write)),
        };
        if authority.contains('@') {
            return Err(("the address names a user", write));
        }
        if authority.contains(['{', '}']) {
            return Err(("the host is fixed", "write values into the path, into the query, or into fields"));
        }
        let host = canonical::host(authority).ok_or(("the address names no host", write))?;
        let port = host.port.unwrap_or(if is_https { 443 } else { 80 });
        Ok((Self { is_https, host: host.name.into_owned(), port }, behind))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// The hosts that may be asked, and what asks them.
pub(super) struct Outbound {
    hosts: Vec<(Origin, bool)>,
    public: Fetch,
    internal: Fetch,
}

impl Outbound {
    /// `internal` reaches this machine and private networks.
    pub(super) fn read(table: &Spanned<OutboundTable>, internal: &Fetch) -> Result<Self, SettingsError> {
        let mut hosts = Vec::new();
        for entry in &table.get_ref().allowed_hosts {
            let (text, internal) = match entry.get_ref() {
                HostEntry::Public(text) => (text, false),
                HostEntry::Elsewhere { url, internal } => (url, *internal),
            };
            hosts.push((
                entry_origin(text, internal).map_err(|(problem, hint)| fault(&entry.span(), problem, hint))?,
                internal,
            ));
        }
        let unusable = |error: fetch::FetchError| fault(&table.span(), error.to_string(), "correct the certificates");
        let like = internal.to_builder().max_bytes(LONGEST);
        let public = like.clone().allow(Allow::default()).build().map_err(unusable)?;
        Ok(Self { hosts, public, internal: like.build().map_err(unusable)? })
    }

    /// What asks this host, if it may be asked.
    pub(super) fn to(&self, origin: &Origin) -> Option<Fetch> {
        let (_, internal) = self.hosts.iter().find(|(host, _)| host == origin)?;
        Some(if *internal { self.internal.clone() } else { self.public.clone() })
    }
}

fn entry_origin(text: &str, internal: bool) -> Result<Origin, (&'static str, &'static str)> {
    let (origin, behind) = Origin::of(text)?;
    if !matches!(behind, "" | "/") {
        return Err(("a host has no path", "write the scheme, the host and the port alone"));
    }
    let address = origin.address();
    if address.is_some_and(|ip| !Allow::INSIDE.admits(ip)) {
        return Err(("this address is never reached", "take it out: clouds keep their metadata at such addresses"));
    }
    if !internal && address.is_some_and(|ip| !Allow::default().admits(ip)) {
        return Err(("this address is not on the internet", "write `internal = true` beside it if that is meant"));
    }
    let is_here = origin.host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
    if !(origin.is_https || is_here && internal) {
        let hint = "write `https://`; `http://` is for this machine, with `internal = true`";
        return Err(("what is asked and answered there could be read and changed on the way", hint));
    }
    Ok(origin)
}
