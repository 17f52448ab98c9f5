//! Where gateways count together: Valkey, or what speaks as it does.
use super::file::{File, Source};
use super::world::World;
use super::{SettingsError, Spanned, fault, is_here, upstreams};
use crate::limits::{Endpoint, Shared};
use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Where gateways count together, for limits and quotas that say `shared = true`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "shared_limits")]
pub(crate) struct SharedLimitsTable {
    /// The address of a Valkey or Redis server, such as `rediss://limits.internal:6379`; without TLS (`redis://`) on this machine only.
    url: Spanned<String>,
    /// The name that the gateway logs in with; by default `default`.
    username: Option<Spanned<String>>,
    /// Its password; by default it does not log in.
    password: Option<Spanned<Source>>,
    /// What the names of counters begin with there. Gateways that count together have the same.
    #[serde(default = "deputize")]
    prefix: Spanned<String>,
    /// Milliseconds that a request waits for it at most, before the gateway counts alone.
    #[serde(default = "fifty")]
    timeout_milliseconds: Spanned<u64>,
}

fn deputize() -> Spanned<String> {
    Spanned::new(0..0, "deputize".to_owned())
}

fn fifty() -> Spanned<u64> {
    Spanned::new(0..0, 50)
}

impl SharedLimitsTable {
    fn endpoint(&self, file: &File, world: &World<'_>) -> Result<Endpoint, SettingsError> {
        let at = self.url.span();
        let wrong = |problem: &str| fault(&at, problem, "write `rediss://limits.internal:6379`");
        let uri: Uri = self.url.get_ref().parse().map_err(|_| wrong("this is no address of a server"))?;
        let is_tls = match uri.scheme_str() {
            Some("rediss" | "valkeys") => true,
            Some("redis" | "valkey") => false,
            _ => return Err(wrong("the address has another scheme than `rediss` or `redis`")),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(wrong("the address names no host"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let hint = "write them as `username` and `password`";
            return Err(fault(&at, "the name and the password do not belong in the address", hint));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("the address has a path or a query"));
        }
        if !(is_tls || is_here(host)) {
            return Err(wrong("it is asked over TLS, or on this machine"));
        }
        let name = self.prefix.get_ref();
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(sound) {
            let hint = "use up to 64 letters, digits, `-`, `_`, `.` and `:`";
            return Err(fault(&self.prefix.span(), "this is no prefix of names", hint));
        }
        let milliseconds = *self.timeout_milliseconds.get_ref();
        if !(1..=10_000).contains(&milliseconds) {
            let hint = "write 1 to 10000; a few times what it takes to reach the server";
            return Err(fault(&self.timeout_milliseconds.span(), "the time is out of range", hint));
        }
        if let (Some(name), None) = (&self.username, &self.password) {
            let hint = "add its `password`, or leave it out";
            return Err(fault(&name.span(), "a name without a password logs nobody in", hint));
        }
        let (tls, roots) = if is_tls {
            upstreams::trusted(file, world).map(|(tls, roots)| (Some(Arc::new(tls)), roots))?
        } else {
            (None, "".into())
        };
        Ok(Endpoint {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(6_379),
            tls,
            roots,
            username: self.username.as_ref().map_or("default", |name| name.get_ref()).to_owned(),
            password: self.password.as_ref().map(|source| world.material(source)).transpose()?,
            prefix: name.clone(),
            deadline: Duration::from_millis(milliseconds),
        })
    }
}

impl World<'_> {
    /// Connects to where gateways count together, or goes on with the connection of before, where that is the same.
    pub(super) fn share_limits(&mut self, file: &File) -> Result<(), SettingsError> {
        let Some(table) = &file.shared_limits else { return Ok(()) };
        let endpoint = table.get_ref().endpoint(file, self)?;
        let before = self.before.shared_limits.as_ref().filter(|before| before.is_by(&endpoint));
        self.shared_limits = Some(before.map_or_else(|| Shared::begin(endpoint, self.random()), Arc::clone));
        Ok(())
    }

    /// Where a limit is counted for all gateways, if it says so.
    pub(crate) fn shared_limits(&self, said: Option<&Spanned<bool>>) -> Result<Option<Arc<Shared>>, SettingsError> {
        let Some(said) = said.filter(|said| *said.get_ref()) else { return Ok(None) };
        let hint = "add `[shared_limits]` with the `url` of a Valkey server";
        let missing = || fault(&said.span(), "it is not said where limits are shared", hint);
        self.shared_limits.clone().map(Some).ok_or_else(missing)
    }
}
