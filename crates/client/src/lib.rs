//! Obtains tokens for applications at any provider, cached in isolation.
//!
//! A [`Client`] is one confidential (or public) application at one authority. It speaks On-Behalf-Of, client
//! credentials, refresh, and the authorization code flow with PKCE. Its [`TokenCache`] can be shared between clients:
//! keys are digests over everything that decides who a token is for, so that nobody ever gets someone else's token.
//! Network, clock and randomness are parameters.
//!
//! ```
//! # use std::sync::Arc;
//! # use client::{Client, Endpoints, Transport, TransportError};
//! # struct Authority;
//! # impl Transport for Authority {
//! #     fn send(&self, _: http::Request<Vec<u8>>) -> client::Sending<'_> {
//! #         let body = br#"{"token_type":"Bearer","expires_in":3600,"access_token":"for-billing"}"#.to_vec();
//! #         Box::pin(async { http::Response::builder().body(body).map_err(|e| TransportError(e.to_string())) })
//! #     }
//! # }
//! # struct Noon;
//! # impl decision::Clock for Noon { fn now(&self) -> decision::Timestamp { decision::Timestamp(1_700_000_000) } }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let (transport, clock, random) = (Arc::new(Authority), Arc::new(Noon), Arc::new(|bytes: &mut [u8]| bytes.fill(7)));
//! let orders = Client::builder(Endpoints::entra("https://login.example/contoso"), "orders")
//!     .secret(oauth::Secret::new("…"))
//!     .build(transport, clock, random);
//! let inbound = oauth::Secret::new("the user's token for Orders");
//! let token = orders.on_behalf_of(&inbound, &["api://billing/Invoices.Read"], None).await?;
//! assert_eq!(token.access_token.expose(), "for-billing");
//! # Ok::<(), client::Error>(())
//! # }).unwrap();
//! ```
#![warn(missing_docs)]

mod assertion;
mod authorization;
mod cache;
mod client;
mod credential;
mod downstream;
mod endpoints;
mod error;
mod grant;
mod id_token;
mod key;
pub mod managed_identity;
mod ports;
mod token;

pub use assertion::{AssertionFile, AssertionOfIdentity, AssertionSource};
pub use authorization::{AuthorizationRequest, PendingAuthorization, SignIn};
pub use cache::TokenCache;
pub use client::{Client, ClientBuilder};
pub use credential::CertificateError;
pub use downstream::challenge_in;
pub use endpoints::Endpoints;
pub use error::Error;
pub use fetch::{Allow, Fetch, FetchError, IssuerKeys};
pub use id_token::IdentityError;
pub use key::{CacheKey, KeyFields};
pub use ports::{Pending, Random, Sending, Transport, TransportError};
pub use token::Token;
