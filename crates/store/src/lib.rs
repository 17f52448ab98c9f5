//! The authority's store: core's ports as tables, audit chained in the same commit.
//!
//! [`Store`] implements `Directory` and `Ledger`. Every condition of a write is a compare-and-set in its job, every write is
//! on disk before it is acknowledged, and a record of what was decided is in the same commit.
//!
//! ```
//! use deputize_core::{audit::AuditRecord, ledger::{CommitError, OncePurpose, Write}, model::Digest, ports::Ledger};
//! use decision::{Clock, Timestamp};
//! use deputize_store::{Store, StoreKeys};
//! use std::sync::Arc;
//!
//! struct Noon;
//! impl Clock for Noon {
//!     fn now(&self) -> Timestamp { Timestamp(1_800_000_000) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("deputize-store-example-{}", std::process::id()));
//! let store = Store::open(&folder.join("store.db"), StoreKeys::new([7; 32]), Arc::new(Noon))?;
//! let once = || vec![Write::ConsumeOnce {
//!     purpose: OncePurpose::ClientAssertion,
//!     value: Digest([1; 32]),
//!     expires: Timestamp(1_800_000_300),
//! }];
//! assert_eq!(store.commit(once()).await, Ok(()));
//! assert_eq!(store.commit(once()).await, Err(CommitError::Conflict));
//! # drop(store);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod approval;
mod audit;
mod cache;
mod changes;
mod cut_offs;
mod devices;
mod directory;
mod keys;
mod ledger;
mod object;
mod purge;
mod store;
#[cfg(test)]
mod tests;
mod traces;
mod work_orders;
mod writing;

pub use audit::{AuditFault, AuditHead, CHECKPOINT_EVERY, audit_records, audit_verify};
pub use keys::{KeyState, SigningKey};
pub use object::{Change, Key, Object};
pub use sql::Options;
pub use store::{ApplyError, OpenError, Store, StoreKeys};
pub(crate) use store::{json, unreadable};
