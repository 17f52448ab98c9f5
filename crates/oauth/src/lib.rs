//! The protocol's words: strict forms, scopes, errors, the `claims` parameter, challenges and metadata.
//!
//! Nothing here knows a directory, a key or a socket. The types are what the standards name; parsing is strict where an
//! attacker could gain from leniency, and lenient where real clients need it (unknown parameters are ignored).
#![warn(missing_docs)]

pub mod challenge;
mod claims_request;
mod error;
mod form;
mod grant_type;
pub mod metadata;
mod parameter;
mod scope;
mod secret;
mod strict;
mod token_response_v1;

pub use claims_request::{ClaimsRequest, RequestedClaim};
pub use error::{ErrorBody, TokenResponse};
pub use form::{Form, FormError, MAX_FORM_BYTES};
pub use grant_type::{
    CLIENT_ASSERTION_JWT_BEARER, GrantType, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT, TOKEN_TYPE_WORK_ORDER,
};
pub use parameter::{Need, Parameter, Parameters, Place};
pub use scope::{OIDC_SCOPES, Scopes};
pub use secret::Secret;
pub use token_response_v1::{TokenResponseV1, V1Members};
