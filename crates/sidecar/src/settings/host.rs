//! The host that the sidecar runs on, which may have managed identities.
use super::Variables;
use crate::Ports;
use client::managed_identity::ManagedIdentity;
use oauth::Secret;
use std::sync::Arc;

/// Where the host is asked for them, by the variables that Azure sets.
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// `IDENTITY_ENDPOINT` of a site.
    pub endpoint: Option<String>,
    /// `IDENTITY_HEADER` beside it.
    pub header: Option<Secret>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`, in the place of a machine's own address for it.
    pub authority: Option<String>,
}

impl HostSettings {
    pub(super) fn read(variable: Variables<'_>) -> Self {
        let stated = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            endpoint: stated("IDENTITY_ENDPOINT"),
            header: stated("IDENTITY_HEADER").map(Secret::new),
            authority: stated("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        }
    }

    pub(crate) fn identity(&self, ports: &Ports) -> ManagedIdentity {
        let variable = |name: &str| match name {
            "IDENTITY_ENDPOINT" => self.endpoint.clone(),
            "IDENTITY_HEADER" => self.header.as_ref().map(|header| header.expose().to_owned()),
            "AZURE_POD_IDENTITY_AUTHORITY_HOST" => self.authority.clone(),
            _ => None,
        };
        ManagedIdentity::of_this_host(variable, Arc::clone(&ports.host), Arc::clone(&ports.clock))
    }
}
