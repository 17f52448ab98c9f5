//! Validates what a resource API receives.
//!
//! A [`Guard`] enforces a [`Contract`]: whose tokens, for which audience, with which scopes and roles per route. What
//! passes becomes a [`Principal`], which only a guard can make; what does not becomes a [`Refused`], an HTTP answer that
//! names the failed check and who can mend it.
//!
//! ```
//! # use deputize_guard as guard;
//! # struct Noon; impl decision::Clock for Noon { fn now(&self) -> decision::Timestamp { decision::Timestamp(1_500) } }
//! use guard::{Contract, Guard, Principal};
//! # let key = jose::SigningKey::generate(jose::Algorithm::ES256).unwrap();
//! # let keys = jose::KeySet::from_keys(vec![key.verifying_key()]);
//! let contract: Contract = serde_json::from_str(r#"{
//!     "audiences": ["api://billing"],
//!     "issuers": [{"issuer": "https://id.example/t1/v2.0", "tenants": ["t1"]}],
//!     "routes": [{"method": "GET", "path": "/invoices", "scopes": ["Invoices.Read"]}]
//! }"#).unwrap();
//! // `.fetch(…)` in place of `.keys(…)` follows the issuer's metadata and key rotations.
//! let guard = Guard::builder(contract, std::sync::Arc::new(Noon)).keys("https://id.example/t1/v2.0", keys).build().unwrap();
//!
//! async fn invoices(caller: Principal) -> String {
//!     format!("invoices of {}", caller.oid().unwrap_or_default())
//! }
//! let api: axum::Router = axum::Router::new().route("/invoices", axum::routing::get(invoices)).layer(guard.layer());
//!
//! # let claims = br#"{"iss":"https://id.example/t1/v2.0","aud":"api://billing","exp":2000,"iat":1000,"sub":"s","oid":"ada","tid":"t1","azp":"orders","scp":"Invoices.Read","idtyp":"user","ver":"2.0","uti":"1"}"#;
//! # let token = key.sign(&jose::Header::typ("JWT"), claims).unwrap();
//! let caller = guard.try_check(Some(&format!("Bearer {token}")), "GET", "/invoices").unwrap().unwrap();
//! assert_eq!(caller.oid(), Some("ada"));
//! ```
#![warn(missing_docs)]

mod bearer;
mod builder;
mod cache;
mod cut_offs;
mod dpop;
mod event_token;
mod events;
mod evidence;
mod guard;
mod judge;
mod layer;
mod principal;
mod refused;
mod server_sent;
mod shared;
mod shown;
mod told;

pub use builder::{GuardBuilder, SetupError, key_source};
pub use cut_offs::Facets;
pub use decision::contract::{Contract, Route, TrustedIssuer};
pub use decision::{Check, CheckId, CutOff, Verdict};
pub use dpop::{DPOP, DPOP_NONCE, Dpop, Proof, ProofFault, SpentProofs};
pub use events::{Events, EventsStatus, Subscription, TokenSource};
pub use fetch::{Allow, Fetch, FetchError};
pub use guard::Guard;
pub use layer::{GuardLayer, Guarded};
pub use principal::{Held, Principal};
pub use refused::Refused;
pub use shared::SharedKeys;
pub use told::{Told, completed};
