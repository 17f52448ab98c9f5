//! The estate: tenants and all that stands in them, declared in one file and compared with what the store holds.
//!
//! [`Declared`] has Microsoft Graph's property names; references may be names. [`resolve`] turns it into objects, or into
//! [`Fault`]s that say where and what is expected. [`difference`] compares objects with those that exist. Nothing here
//! reads a file: certificates, passwords and secrets come through [`Materials`].
//!
//! Ids that are not declared are derived (UUID version 5) from the tenant, the kind and the name, so that applying a file
//! twice changes nothing.
//!
//! ```
//! use deputize_core::estate::{Item, difference};
//! use deputize_core::{id::{GroupId, TenantId}, model::Group};
//! let staff = |name: &str| Item::Group(Group {
//!     id: GroupId::default(), tenant: TenantId::default(), display_name: name.into(), members: Vec::new(),
//! });
//! let steps = difference(&[staff("Staff")], &[staff("Everybody")], false).steps;
//! assert_eq!(steps[0].to_string(), "~ group Everybody: displayName");
//! assert!(difference(&[staff("Staff")], &[staff("Staff")], true).steps.is_empty());
//! ```
mod access;
mod declared;
mod difference;
mod directory;
mod extensions;
mod item;
mod names;
mod reach;
pub(crate) mod registration;
mod resolve;
pub(crate) mod rules;
pub(crate) mod tokens;
pub(crate) mod workload;

pub use access::{
    ApplicationsDeclared, ConditionsDeclared, LocationDeclared, LocationsDeclared, PolicyDeclared, RangeDeclared,
    UsersDeclared,
};
pub use declared::{
    Access, ApiDeclared, ApplicationDeclared, AssignmentDeclared, CertificateDeclared, Declared, FederatedDeclared,
    GrantDeclared, GroupDeclared, IdentityDeclared, ManagedIdentityDeclared, Moment, PreAuthorized, PrincipalDeclared,
    Redirects, Required, RoleDeclared, ScopeDeclared, SecretDeclared, Source, TenantDeclared, TrustedSubjectDeclared,
    UserDeclared,
};
pub use difference::{Difference, Sign, Step, difference};
pub use extensions::{ExtensionsDeclared, OwnIdentityDeclared};
pub use item::{Item, ItemKey};
pub use names::nearest;
pub use resolve::{Fault, NewSecret, Resolved, provisioned, resolve};
pub use tokens::{LifetimeDeclared, OptionalClaimDeclared, OptionalClaimsDeclared, optional_claim};

use crate::model::Digest;
use decision::Timestamp;
use oauth::Secret;

/// A certificate, read and checked to be one that a client can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRead {
    /// DER in standard base64.
    pub key: String,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// What an estate needs of the world: files, environment variables, hashes, keys and randomness. Problems are sentences that
/// say what to change, and hold nothing secret.
pub trait Materials {
    /// The text that a source names.
    fn text(&self, source: &Source) -> Result<Secret, String>;
    /// Reads a certificate from PEM or base64 text.
    fn certificate(&self, text: &Secret) -> Result<CertificateRead, String>;
    /// Reads the certificate of an authority that may vouch for a subject's certificates.
    fn trusted_subject(&self, subject: &str, authority: &Secret, revoked: &[String])
    -> Result<CertificateRead, String>;
    /// The hash to store for a password: `before`, if it is a hash of this very password.
    fn password_hash(&self, password: &Secret, before: Option<&str>) -> Result<String, String>;
    /// The digest to store for a client secret.
    fn digest(&self, secret: &Secret) -> Digest;
    /// A new client secret.
    fn new_secret(&self) -> Secret;
}
