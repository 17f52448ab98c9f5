//! The one hardened outbound client, and the cache of key sets over it.
//!
//! [`Fetch`] speaks https to named hosts, follows no redirect, reads no more than it was told to and reaches no address
//! that configuration does not allow. [`IssuerKeys`] keeps an issuer's keys: fresh, bounded in rate, and through outages.
//!
//! ```no_run
//! # use deputize_fetch as fetch;
//! # async fn example() -> Result<(), fetch::FetchError> {
//! let fetch = fetch::Fetch::builder().build()?;
//! let answer = fetch.get("https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration").await?;
//! assert!(answer.status.is_success());
//! # Ok(()) }
//! ```
#![warn(missing_docs)]

mod address;
mod client;
mod error;
mod key_sets;
mod passing;
mod proxy;
mod streaming;

pub use address::{Allow, is_link_local};
pub use client::{Fetch, FetchBuilder, Response, Transport};
pub use error::FetchError;
pub use key_sets::{
    IssuerKeys, KeyFault, KeySets, KeySource, Lifetimes, Location, Lookup, Refreshes, Snapshot, Status,
};
pub use passing::{Passed, Passing};
pub use proxy::Proxy;
pub use streaming::Streaming;
