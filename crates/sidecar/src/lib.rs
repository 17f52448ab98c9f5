//! Tokens for the application beside it, in any language, over any identity provider.
//!
//! A [`Sidecar`] is what all APIs share: providers, caches, policy, and what is counted. [`Texas`] is the API that NAIS
//! applications know, [`Entra`] the one of Microsoft's auth sidecar, [`Native`] is our own, and [`ManagedIdentity`] serves what
//! programs on Azure ask; [`Probe`] and [`Metrics`] are what platforms ask; each is a [`Serve`], on a listener of its own. What a
//! sidecar is told comes from the environment, by the names that platforms inject, and from a [`File`].
//!
//! ```
//! use sidecar::{Bind, Settings};
//! let environment = |name: &str| match name {
//!     "MASKINPORTEN_ENABLED" => Some("true".to_owned()),
//!     _ => None,
//! };
//! let refused = Settings::read(&environment, None).unwrap_err();
//! assert_eq!(refused.to_string(), "missing required environment variable 'MASKINPORTEN_CLIENT_ID'");
//! // Without any provider it starts all the same.
//! assert_eq!(Settings::read(&|_| None, None).unwrap().bind, Bind::DEFAULT);
//! ```
#![warn(missing_docs)]

mod access;
mod acquire;
mod agents;
mod answer;
mod apis;
mod bound;
mod current;
mod cut_offs;
mod decode;
mod entra;
mod identity;
mod inbound;
mod introspect;
mod native;
mod onward;
mod openapi;
mod outbound;
mod probe;
mod problem;
mod provider;
mod settings;
mod sidecar;
mod subject;
mod target;
mod telemetry;
mod texas;
mod whose;

pub use crate::telemetry::Telemetry;
pub use acquire::CredentialFault;
pub use apis::{Api, Apis};
pub use bound::Bound;
pub use current::Current;
pub use entra::Entra;
pub use guard::SetupError;
pub use identity::ManagedIdentity;
pub use native::Native;
pub use openapi::openapi;
pub use outbound::{Here, Outbound, OutboundRule};
pub use probe::{Admin, Metrics, Probe};
pub use provider::{Provider, Providers};
pub use serve::{Caller, DRAIN, Listeners, Mutual, Peer, Serve, Tls};
pub use settings::{
    AssertionAudience, Bind, Callers, Credential, CutOffSettings, EntraRoute, EntraSettings, EventStream,
    ExchangeGrant, File, Grants, HostSettings, IdentitySettings, Inbound, NativeSettings, ProviderSettings,
    SessionSettings, Settings, SettingsError, TokenGrant, Upstream,
};
pub use sidecar::{Ports, Sidecar};
pub use texas::Texas;
