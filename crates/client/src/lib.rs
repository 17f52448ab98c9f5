//! Obtains tokens for applications at any provider, cached in isolation.
//!
//! A [`Client`] is one confidential (or public) application at one authority. It speaks On-Behalf-Of, client
//! credentials, refresh, and the authorization code flow with PKCE. Its [`TokenCache`] can be shared between clients:
//! keys are digests over everything that decides who a token is for, so that nobody ever gets someone else's token.
//! Network, clock and randomness are parameters.
//!
//! ```
//! # use std::sync::Arc;
//! # use client::{Client, Endpoints, Transport};
//! # struct Authority;
//! # impl Transport for Authority {
//! #     fn send(&self, _: http::Request<Vec<u8>>) -> client::Sending<'_> {
//! #         let body = br#"{"token_type":"Bearer","expires_in":3600,"access_token":"for-billing"}"#.to_vec();
//! #         Box::pin(async { http::Response::builder().body(body).map_err(|_| client::Cause::Broken.into()) })
//! #     }
//! # }
//! # struct Noon;
//! # impl decision::Clock for Noon { fn now(&self) -> decision::Timestamp { decision::Timestamp(1_700_000_000) } }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
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
mod key;
pub mod managed_identity;
mod ports;
mod profile;
mod rotating;
mod token;
mod upstream;

pub use ask::{Answered, Ask};
pub use assertion::{AssertionOfIdentity, AssertionSource};
pub use authorization::{AuthorizationRequest, PendingAuthorization, SignIn};
pub use cache::{Counters, CutOff, Leeway, TokenCache};
pub use client::{Client, ClientBuilder};
pub use credential::{AssertionAudience, CertificateError};
pub use downstream::challenge_in;
pub use endpoints::Endpoints;
pub use error::Error;
pub use fetch::{Allow, Fetch, FetchError, IssuerKeys};
pub use id_token::IdentityError;
pub use key::{CacheKey, KeyFields};
pub use ports::{Cause, Pending, Random, Sending, Transport, TransportError};
pub use profile::GrantProfile;
pub use rotating::CredentialFileError;
pub use token::Token;
pub use upstream::Upstream;
