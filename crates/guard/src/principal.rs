//! Who calls.
use crate::Refused;
use crate::dpop::Proof;
use crate::evidence::Proven;
use crate::judge::Asked;
use axum::extract::FromRequestParts;
use decision::Timestamp;
use decision::contract::{Claims, SubjectKind};
use http::request::Parts;
use oauth::Secret;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The caller of a route, as a verified token tells it: a proof that only a guard can make.
///
/// Key a user's data on ([`tid`](Self::tid), [`oid`](Self::oid)), or on the issuer and [`sub`](Self::sub); never on a name.
#[derive(Clone)]
pub struct Principal {
    proven: Arc<Proven>,
    certificate: Option<Arc<str>>,
    key: Option<Arc<str>>,
}

/// What a caller has shown to hold, beside its token, for one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held<'a> {
    /// The SHA-256 thumbprint, in base64url, of the certificate that the connection was opened with (RFC 8705).
    pub certificate: Option<&'a str>,
    /// The proof of a key (RFC 9449), as [`Dpop::verify`](crate::Dpop::verify) found it to be good.
    pub proof: Option<&'a Proof>,
}

impl Principal {
    pub(crate) fn new(proven: Arc<Proven>, asked: Asked<'_>) -> Self {
        Self { proven, certificate: asked.certificate.map(Arc::from), key: asked.key.map(Arc::from) }
    }

    /// What was proven, where the issuer was asked.
    pub(crate) fn told(&self) -> Option<Arc<Proven>> {
        self.is_told().then(|| Arc::clone(&self.proven))
    }

    /// Whether its claims are what its issuer said when it was asked ([`Guard::check_told`](crate::Guard::check_told)), and not a
    /// token's own.
    pub fn is_told(&self) -> bool {
        self.proven.told.is_some()
    }

    /// The SHA-256 thumbprint, in base64url, of the certificate that the connection was opened with, where the guard was told.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// The SHA-256 thumbprint (RFC 7638), in base64url, of the key that the token is bound to and the caller has proved to hold
    /// (RFC 9449).
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The claims that were decided on.
    pub fn claims(&self) -> &Claims {
        &self.proven.claims
    }

    /// All claims of the token.
    pub fn all_claims(&self) -> Map<String, Value> {
        if let Some(told) = &self.proven.told {
            return told.clone();
        }
        jose::Token::parse(self.proven.token.expose()).and_then(|token| token.peek()).unwrap_or_default()
    }

    /// The user's object id in its tenant, or the calling application's.
    pub fn oid(&self) -> Option<&str> {
        self.claims().object_id()
    }

    /// The tenant.
    pub fn tid(&self) -> Option<&str> {
        self.claims().tenant()
    }

    /// The subject at this issuer.
    pub fn sub(&self) -> &str {
        self.claims().subject().unwrap_or_default()
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        self.claims().issuer().unwrap_or_default()
    }

    /// The application that calls: `azp`, `appid` or `client_id`.
    pub fn app(&self) -> &str {
        self.claims().client().unwrap_or_default()
    }

    /// On whose authority the call is made.
    pub fn subject_kind(&self) -> SubjectKind {
        // A token that tells neither passes no guard; if it did, it would be nobody's.
        self.claims().subject_kind().unwrap_or(SubjectKind::App)
    }

    /// Whether the call is made on behalf of a user.
    pub fn is_user(&self) -> bool {
        self.subject_kind() == SubjectKind::User
    }

    /// `user` or `app`.
    pub fn idtyp(&self) -> &'static str {
        if self.is_user() { "user" } else { "app" }
    }

    /// The delegated scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.claims().scopes()
    }

    /// Whether this delegated scope is among them.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|s| s == scope)
    }

    /// The app roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.claims().roles()
    }

    /// Whether this app role is among them.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|r| r == role)
    }

    /// The authentication contexts that the user satisfied.
    pub fn acrs(&self) -> impl Iterator<Item = &str> {
        self.claims().acrs()
    }

    /// The token's id, for logs: `jti` or `uti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claims().token_id()
    }

    /// When the token ends.
    pub fn expires(&self) -> Timestamp {
        self.claims().expires().unwrap_or_default()
    }

    /// The chain of actors, the present one first.
    pub fn actors(&self) -> impl Iterator<Item = &str> {
        self.claims().actors()
    }

    /// A name for display; never for a decision.
    pub fn name(&self) -> Option<&str> {
        self.claims().display_name()
    }

    /// The token: the assertion of an On-Behalf-Of exchange. Never to be sent to another API.
    pub fn token(&self) -> &Secret {
        &self.proven.token
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("tid", &self.tid())
            .field("oid", &self.oid())
            .field("app", &self.app())
            .field("token_id", &self.token_id())
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Refused::unguarded)
    }
}
