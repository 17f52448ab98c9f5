//! Managed identity, used and served. [`ManagedIdentity`] asks the host that a program runs on.
//!
//! Served, it is the two local endpoints from which unmodified programs on Azure get tokens for themselves, with no
//! credential of their own, over any [`TokenSource`].
//!
//! [`AppService`] answers as App Service, Functions and Container Apps do (`IDENTITY_ENDPOINT` and `IDENTITY_HEADER`), and
//! [`Imds`] as the instance metadata service of a virtual machine. Both take a request's head and give an answer: serve them
//! on loopback, or inside a namespace, and nowhere else. A request that came through a proxy, or to another name than their own
//! (which is how pages in a browser reach local services), is refused.
//!
//! [`HostedIdentities`] is the usual source: identities of one authority, each with the certificate that its host speaks with.
//!
//! ```
//! # use client::managed_identity::*;
//! # use client::Pending;
//! struct Fixed;
//! impl TokenSource for Fixed {
//!     fn token<'a>(&'a self, _: &'a Identity, _: &'a str) -> Pending<'a, Result<ManagedToken, SourceError>> {
//!         let (access_token, expires_at) = (oauth::Secret::new("for-billing"), decision::Timestamp(1_800_000_000));
//!         let token = ManagedToken { access_token, not_before: decision::Timestamp(0), expires_at, client_id: "orders".into() };
//!         Box::pin(async { Ok(token) })
//!     }
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let site = AppService::new(std::sync::Arc::new(Fixed), oauth::Secret::new("the header's value"), ["127.0.0.1:4000"]);
//! let request = http::Request::get("/msi/token?api-version=2019-08-01&resource=api://billing")
//!     .header("host", "127.0.0.1:4000")
//!     .header("x-identity-header", "the header's value")
//!     .body(()).unwrap().into_parts().0;
//! assert_eq!(site.answer(&request).await.status(), 200);
//! # });
//! ```
mod app_service;
mod hosted;
mod imds;
mod request;
mod used;

pub use app_service::AppService;
pub use hosted::{Hosted, HostedIdentities};
pub use imds::Imds;
pub use used::ManagedIdentity;

use crate::Pending;
use decision::Timestamp;
use oauth::Secret;

/// Which identity is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The one that the host has without being asked: its system-assigned one.
    Default,
    /// By client id.
    ClientId(String),
    /// By the object id of its service principal.
    ObjectId(String),
    /// By the path of the resource.
    ResourceId(String),
}

/// A token of a managed identity.
#[derive(Clone, Debug)]
pub struct ManagedToken {
    /// For the resource.
    pub access_token: Secret,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub client_id: String,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// This host has no such identity.
    #[error("this host has no such identity; assign it, or name another by `client_id`, `object_id` or `mi_res_id`")]
    UnknownIdentity,
    /// The resource is none of the tenant's.
    #[error("{0}")]
    UnknownResource(String),
    /// The authority refuses.
    #[error("{0}")]
    Refused(String),
    /// The authority cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// Where tokens of managed identities come from.
pub trait TokenSource: Send + Sync {
    /// A token of this identity for this resource, cached as long as it serves.
    fn token<'a>(&'a self, identity: &'a Identity, resource: &'a str)
    -> Pending<'a, Result<ManagedToken, SourceError>>;
}
