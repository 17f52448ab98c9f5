//! The shared language of decisions.
//!
//! Every refusal of deputize, at issuance or at enforcement, is a failed [`Check`]: it has a stable [`CheckId`], what was
//! expected, what was found, who can mend it ([`Fixer`]) and how. One table, the [`catalogue`](CheckId::entry), maps a
//! check to its OAuth error, its AADSTS code, its API Management reason and its HTTP status, for all surfaces.
//!
//! ```
//! use deputize_decision::{CheckId, Fixer};
//! let entry = CheckId::ConsentGranted.entry();
//! assert_eq!((entry.id, entry.aadsts, entry.error), ("consent.granted", Some(65001), "invalid_grant"));
//! assert_eq!(entry.fixer, Fixer::TenantAdmin);
//! ```
#![warn(missing_docs)]

mod catalogue;
mod check;
pub mod contract;
mod cut_off;
mod time;

pub use catalogue::{CheckId, Entry};
pub use check::{Check, Collect, Fixer, Observe, Outcome, Silent, Verdict};
pub use cut_off::CutOff;
pub use time::{Clock, Timestamp};
