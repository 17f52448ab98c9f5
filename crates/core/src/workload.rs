//! How programs prove who they are without a secret of their own: by another issuer's tokens, by certificates of a trusted
//! subject, or because the host they run on speaks for them.
use crate::id::ObjectId;
use serde::{Deserialize, Serialize};

/// The audience of assertions of other issuers, unless a credential names another; in every tenant also a resource that
/// applications get such assertions for from this authority.
pub const TOKEN_EXCHANGE: &str = "api://AzureADTokenExchange";
/// Its client id, the same everywhere (and the `aud` of version 2 tokens for it).
pub const TOKEN_EXCHANGE_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";

/// Another issuer's tokens for one subject prove the application (Graph's `federatedIdentityCredential`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedIdentityCredential {
    /// Its id.
    pub id: ObjectId,
    /// Its name, unique within the application.
    pub name: String,
    /// `iss` of the assertion, byte for byte.
    pub issuer: String,
    /// `sub` of the assertion, byte for byte.
    pub subject: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `aud` of the assertion: one of these.
    pub audiences: Vec<String>,
}

/// A subject whose certificates prove the application while this authority vouches for them: "subject name and issuer"
/// (Graph's `trustedCertificateSubject`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedCertificateSubject {
    /// The subject's distinguished name (RFC 4514).
    pub subject_name: String,
    /// The authority's name, for people.
    #[serde(default)]
    pub authority_name: String,
    /// The authority's certificate: DER in standard base64.
    pub authority: String,
    /// Thumbprints, SHA-1 or SHA-256 in hexadecimal, of certificates that count no more.
    #[serde(default)]
    pub revoked_certificate_identifiers: Vec<String>,
}

/// An application without a registration of its own: the identity of something that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedIdentity {
    /// Whose it is.
    #[serde(rename = "type")]
    pub kind: ManagedIdentityKind,
    /// The resource it belongs to, or its own: `xms_mirid`.
    pub resource_id: String,
}

/// Whose a managed identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagedIdentityKind {
    /// One resource's, and ends with it.
    SystemAssigned,
    /// An object of its own, that several resources may use.
    UserAssigned,
}
