//! Obtains tokens for applications at any provider, cached in isolation.
//!
//! A [`Client`] is one confidential (or public) application at one authority. It speaks On-Behalf-Of, client
//! credentials, refresh, and the authorization code flow with PKCE. Its [`TokenCache`] can be shared between clients:
//! keys are digests over everything that decides who a token is for, so that nobody ever gets someone else's token.
//! Network, clock and randomness are parameters.
//!
//! ```
//! # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
//! # use authority::*;
//! # run(async {
//! let orders = Client::builder(Endpoints::entra("https://login.example/contoso"), "orders")
//!     .secret(Secret::new("…"))
//!     .build(network(), clock(), random());
//! let inbound = Secret::new("the user's token for Orders");
//! let token = orders.on_behalf_of(&inbound, &["api://billing/Invoices.Read"], None).await?;
//! assert_eq!(token.access_token.expose(), "for-billing");
//! # Ok(()) });
//! ```
//!
//! | flow | where its example is |
//! |---|---|
//! | On-Behalf-Of, client credentials, refresh | [`Client::ask`], [`Client::client_credentials`], [`Client::refresh`] |
//! | secret, certificate, key, federated credential | [`ClientBuilder::secret`], [`ClientBuilder::certificate`], [`ClientBuilder::key`], [`ClientBuilder::assertion_file`] |
//! | managed identity | [`managed_identity::ManagedIdentity`] |
//! | token exchange (RFC 8693) | [`GrantProfile::TokenExchange`], [`GrantProfile::AccessTokenExchange`] |
//! | work that outlives the request | [`Client::begin_long_running`] |
//! | tokens bound to a key, users that agents are | [`Ask::bound_to`], [`Ask::agent_user`] |
//! | sign-in in a browser | [`Client::authorization_code_url`] |
//!
//! It runs in a Tokio runtime with its clock enabled.
#![warn(missing_docs)]

mod ask;
mod assertion;
mod authorization;
mod breaker;
mod cache;
mod client;
mod credential;
mod discovery;
mod downstream;
mod endpoints;
mod error;
mod flight;
mod grant;
mod id_token;
mod introspection;
mod key;
mod long_running;
pub mod managed_identity;
mod ports;
mod profile;
mod rotating;
mod token;
mod turns;
mod upstream;
mod work_order;

pub use ask::{AgentUser, Answered, Ask};
pub use assertion::{AssertionOfIdentity, AssertionSource};
pub use authorization::{AuthorizationRequest, PendingAuthorization, SignIn};
pub use cache::{Counters, Leeway, TokenCache};
pub use client::{Client, ClientBuilder};
pub use credential::{AssertionAudience, CertificateError};
pub use decision::CutOff;
pub use downstream::challenge_in;
pub use endpoints::Endpoints;
pub use error::Error;
pub use fetch::{Allow, Fetch, FetchError, IssuerKeys};
pub use id_token::IdentityError;
pub use introspection::{Introspected, Introspections, Kept};
pub use key::{CacheKey, KeyFields};
pub use long_running::{FileSessions, MemorySessions, SessionError, SessionStore, Sessions};
pub use ports::{Body, Cause, Pending, Random, Sending, Transport, TransportError};
pub use profile::GrantProfile;
pub use rotating::{CredentialFileError, CredentialSource, CredentialTexts};
pub use token::{Scheme, Token};
pub use upstream::Upstream;
pub use work_order::{MadeOrder, WorkOrder, presence_needed};
