//! What keys say of tokens that come in, before anything is judged.
use crate::id::ObjectId;
use decision::{CheckId, Timestamp};
use serde::{Deserialize, Serialize};

/// What stood in an On-Behalf-Of assertion, or in a bearer token for the authority itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AssertionFacts {
    /// Not a well-formed signed token.
    Malformed {
        /// What is wrong with the form.
        reason: String,
    },
    /// The header says that it is a token of another kind (spec/standards.md section 3).
    OtherKind {
        /// `typ`.
        typ: String,
    },
    /// The signature is not one of this authority's.
    Unverified {
        /// Why.
        reason: String,
    },
    /// The signature is good; the claims are as they stood.
    Verified(Box<TokenClaims>),
}

/// The claims of a token whose signature was verified. Those of wrong type count as malformed, not as absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenClaims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Expiry.
    pub exp: i64,
    /// Not before.
    pub nbf: i64,
    /// Issued at.
    pub iat: i64,
    /// Pairwise subject.
    pub sub: String,
    /// Object id.
    pub oid: String,
    /// Tenant id.
    pub tid: String,
    /// Version: `1.0` or `2.0`.
    pub ver: String,
    /// `user` or `app` in access tokens; absent in every other kind.
    pub idtyp: String,
    /// The client, in v2 and native tokens.
    pub azp: String,
    /// The client, in v1 tokens.
    pub appid: String,
    /// Delegated scopes.
    pub scp: String,
    /// App roles.
    pub roles: Vec<String>,
    /// The token's id.
    pub uti: String,
    /// The session, in ID tokens.
    pub sid: String,
    /// The sealed chain.
    pub aio: String,
    /// A confirmation key, of any shape: present means sender-constrained, `null` too (J-21).
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cnf: Option<serde_json::Value>,
}

/// An `Option` would read `null` as absent.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(from).map(Some)
}

impl TokenClaims {
    /// The client that the token was issued to, in either version.
    pub fn client(&self) -> &str {
        if self.azp.is_empty() { &self.appid } else { &self.azp }
    }
}

/// What stood in a client assertion, with what the client's registered keys say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAssertionFacts {
    /// It cannot be used.
    Refused {
        /// Which check failed.
        check: CheckId,
        /// What was found.
        reason: String,
    },
    /// The signature is good; claims and certificate dates are as they stood.
    Verified(Box<ClientAssertionClaims>),
}

/// The claims of a client assertion whose signature was verified (RFC 7523 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAssertionClaims {
    /// The registered credential; all zero for a certificate of a trusted subject.
    pub key_id: ObjectId,
    /// `x5t#S256` of the certificate.
    pub thumbprint: String,
    /// Issuer: must be the client.
    pub iss: String,
    /// Subject: must be the client.
    pub sub: String,
    /// Audiences.
    pub aud: Vec<String>,
    /// Its id.
    pub jti: Option<String>,
    /// Expiry.
    pub exp: Timestamp,
    /// Not before.
    pub nbf: Option<Timestamp>,
    /// The certificate's own validity.
    pub certificate_not_before: Timestamp,
    /// The certificate's own validity.
    pub certificate_not_after: Timestamp,
}

/// What stood in an assertion of another issuer, with what that issuer's keys say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FederatedFacts {
    /// It cannot be used.
    Refused {
        /// Which check failed.
        check: CheckId,
        /// What was found.
        reason: String,
    },
    /// The signature is good; the claims are as they stood.
    Verified(Box<FederatedClaims>),
}

/// The claims of an assertion of another issuer (RFC 7523 section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedClaims {
    /// Issuer.
    pub iss: String,
    /// Subject, in the issuer's words.
    pub sub: String,
    /// Audiences.
    pub aud: Vec<String>,
    /// Its id.
    pub jti: Option<String>,
    /// Expiry.
    pub exp: Timestamp,
    /// Not before.
    pub nbf: Option<Timestamp>,
    /// Issued at.
    pub iat: Option<Timestamp>,
    /// Where the issuer is a tenant of this authority.
    pub own: Option<OwnToken>,
}

/// A token of this authority that serves as an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnToken {
    /// Whether it is an app-only access token.
    pub app_only: bool,
    /// Whether tenant and service principal behind it are enabled still.
    pub stands: bool,
}
