//! Where browsers find the gateway. It is configured: what a request says of itself decides nothing about where a sign-in goes.
use crate::Canonical;
use crate::policy::cors;
use crate::settings::{SettingsError, Spanned, fault};

/// A scheme, a host and a port.
#[derive(Debug)]
pub(crate) struct Origin {
    /// As browsers write it: `https://app.example`.
    pub(crate) text: String,
    host: String,
    port: u16,
    /// Over plain HTTP, on this machine, there are no cookies for TLS only.
    pub(super) is_tls: bool,
}

impl Origin {
    pub(super) fn read(text: &Spanned<String>) -> Result<Self, SettingsError> {
        let origin = cors::origin(text)?;
        let wrong =
            |problem: &str| fault(&text.span(), problem, "write `https://app.example`, as browsers find the gateway");
        let (scheme, authority) = origin.split_once("://").ok_or_else(|| wrong("this is no origin"))?;
        let is_tls = scheme == "https";
        let host = crate::canonical::host(authority).ok_or_else(|| wrong("this is no origin"))?;
        let is_here = matches!(&*host.name, "localhost" | "127.0.0.1" | "[::1]");
        if !is_tls && !is_here {
            return Err(wrong("over plain HTTP anybody on the way could read sessions"));
        }
        let port = host.port.unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host: host.name.into_owned(), port, is_tls, text: origin })
    }

    /// Whether a request is for it.
    pub(super) fn is_asked(&self, request: &Canonical) -> bool {
        let usual = if self.is_tls { 443 } else { 80 };
        self.host == request.host() && self.port == request.port().unwrap_or(usual)
    }

    /// What a session in cookies is sealed for.
    pub(super) fn session(&self) -> String {
        format!("session {}", self.text)
    }

    /// What a session in a field is sealed for: neither passes for the other.
    pub(super) fn token(&self) -> String {
        format!("token {}", self.text)
    }

    /// What a sign-in that is under way is sealed for.
    pub(super) fn pending(&self, provider: &str) -> String {
        format!("pending {} {provider}", self.text)
    }

    /// What the way on from a sign-out is sealed for.
    pub(super) fn signed_out(&self) -> String {
        format!("signed out {}", self.text)
    }

    /// The name of a cookie that no other host can set, where browsers know such.
    pub(super) fn cookie(&self, name: &str) -> String {
        if self.is_tls { format!("__Host-{name}") } else { name.to_owned() }
    }
}
