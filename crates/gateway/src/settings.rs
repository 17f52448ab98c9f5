//! What a gateway is told: a file whose every mistake is named with its place.
mod compile;
mod doors;
mod file;
mod management;
mod openapi;
mod outbound;
mod resource;
pub(crate) mod schema;
mod scopes;
mod shared_limits;
mod spanned;
mod subscriptions;
mod upstreams;
mod vaults;
mod world;

pub(crate) use compile::{Compiled, Lasting, compile};
pub(crate) use doors::Door;
pub use doors::ListenerTable;
pub use file::{CertificateTable, ClientCertificates, File, Pem, Source};
pub use management::ManagementTable;
pub(crate) use outbound::Origin;
pub use spanned::Spanned;
pub(crate) use subscriptions::{moment, timestamp};
pub(crate) use vaults::ManagedIdentityTable;
pub(crate) use world::World;

use http::{HeaderName, StatusCode};
use std::net::IpAddr;
use std::ops::Range;

/// Why a configuration is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {hint}")]
pub struct SettingsError {
    /// Where it stands, in octets of the file; empty where it stands nowhere.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to change.
    pub hint: String,
}

pub(crate) fn fault(at: &Range<usize>, problem: impl Into<String>, hint: impl Into<String>) -> SettingsError {
    SettingsError { at: at.clone(), problem: problem.into(), hint: hint.into() }
}

/// Whether a host, without brackets, is this machine: what is said to it cannot be read on the way.
pub(crate) fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The name of a field.
pub(crate) fn field_name(text: &Spanned<String>) -> Result<HeaderName, SettingsError> {
    text.get_ref().parse().map_err(|_| fault(&text.span(), "this is no name of a field", "use letters, digits and `-`"))
}

/// A status that refuses.
pub(crate) fn refusal_status(code: &Spanned<u16>) -> Result<StatusCode, SettingsError> {
    let status = StatusCode::from_u16(*code.get_ref()).ok().filter(StatusCode::is_client_error);
    status.ok_or_else(|| fault(&code.span(), "this status refuses nothing", "write one from 400 to 499"))
}

#[cfg(test)]
mod tests;
