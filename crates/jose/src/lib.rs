//! Keys, JSON Web Signatures and key sets: strict, over aws-lc-rs.
//!
//! Opens no socket and reads no file or clock. A [`VerifyingKey`] is bound to one [`Algorithm`]; a [`KeySet`] finds keys by
//! name only; a [`Token`] is parsed strictly and becomes [`Verified`] by its key alone. Kinds of token that are verified by
//! other rules have other verifiers: [`assertion`] for client assertions, [`symmetric`] for inline keys of a gateway policy.
//!
//! ```
//! use jose::{Algorithm, Header, KeySet, SigningKey, Token};
//! let key = SigningKey::generate(Algorithm::ES256)?;
//! let keys = KeySet::from_keys(vec![key.verifying_key()]);
//!
//! let text = key.sign(&Header::typ("at+jwt"), br#"{"iss":"https://login.example","sub":"ada"}"#)?;
//! let token = Token::parse(&text)?;
//! let verified = token.verify(keys.key_for(&token)?)?;
//! assert_eq!(verified.map()?["sub"], "ada");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod algorithm;
pub mod assertion;
mod base64url;
#[cfg(any(test, feature = "corpus"))]
pub mod corpus;
mod error;
mod header;
mod json;
mod jwk;
mod key_set;
mod name;
mod one_time;
mod peer;
#[cfg(feature = "pkcs12")]
pub mod pkcs12;
pub mod proof;
mod refusal;
mod rsa;
pub mod seal;
mod signing_key;
pub mod symmetric;
mod token;
mod verifying_key;

pub use algorithm::Algorithm;
pub use error::{KeyError, KeySetError, SignError};
pub use header::{Header, JoseHeader};
pub use json::{JsonFault, MAX_DEPTH, MAX_DIGITS, strict_json};
pub use jwk::Jwk;
pub use key_set::{KeySet, MAX_KEY_SET, MAX_KEYS, SkippedKey};
pub use name::DistinguishedName;
pub use one_time::one_time_code;
pub use peer::{Authorities, AuthoritiesError, Distrust, PeerCertificate, Vouched};
pub use refusal::{Refusal, Segment};
pub use signing_key::SigningKey;
pub use token::{MAX_TOKEN, Token, Verified};
pub use verifying_key::VerifyingKey;
