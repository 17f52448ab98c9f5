//! What a gateway is told: a file whose every mistake is named with its place.
mod compile;
mod doors;
mod file;
mod management;
mod openapi;
mod operations;
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
pub(crate) use world::{Look, World};

use http::{HeaderName, StatusCode};
use std::io::ErrorKind;
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

/// Why a file cannot be read or made, in words.
pub(crate) fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission is denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::NotADirectory => "a part of its path is a file".to_owned(),
        ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        other => other.to_string(),
    }
}

/// Whether a host, without brackets, is this machine: what is said to it cannot be read on the way.
pub(crate) fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The name of a field.
pub(crate) fn field_name(text: &Spanned<String>) -> Result<HeaderName, SettingsError> {
    text.get_ref().parse().map_err(|_| fault(&text.span(), "this is no name of a field", "use letters, digits and `-`"))
}

/// The name of a field that carries a credential: one that says nothing else of a request or its connection.
pub(crate) fn credential_field(text: &Spanned<String>) -> Result<HeaderName, SettingsError> {
    let name = field_name(text)?;
    if SAY_ELSE.contains(&name.as_str()) {
        return Err(fault(&text.span(), "this field says something else already", "write a name of its own"));
    }
    Ok(name)
}

/// Fields that are of the connection, or have another meaning in every request.
const SAY_ELSE: [&str; 15] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a parameter.
pub(crate) fn parameter_name(text: &Spanned<String>) -> Result<String, SettingsError> {
    let name = text.get_ref();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(fault(&text.span(), "this is no name of a parameter", "use letters, digits, `-` and `_`"));
    }
    Ok(name.clone())
}

/// A status that refuses.
pub(crate) fn refusal_status(code: &Spanned<u16>) -> Result<StatusCode, SettingsError> {
    let status = StatusCode::from_u16(*code.get_ref()).ok().filter(StatusCode::is_client_error);
    status.ok_or_else(|| fault(&code.span(), "this status refuses nothing", "write one from 400 to 499"))
}

#[cfg(test)]
mod tests;
