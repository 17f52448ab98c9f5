//! Where an authority is.
use oauth::metadata::Metadata;

/// The addresses of one authority, for one tenant. What is empty or absent is not known, and is learnt where the client
/// [discovers](crate::ClientBuilder::discover).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The token endpoint.
    pub token: String,
    /// The authorization endpoint, for [`crate::Client::authorization_code_url`].
    pub authorization: Option<String>,
    /// The introspection endpoint, for [`crate::Client::introspect`].
    pub introspection: Option<String>,
    /// Where users sign out (OpenID Connect RP-Initiated Logout).
    pub end_session: Option<String>,
    /// The issuer: what `iss` must be in ID tokens and authorization responses, and `aud` in client assertions.
    pub issuer: Option<String>,
    /// Whether the authority promises `iss` in authorization responses (RFC 9207): then an answer without it is refused.
    pub promises_iss: bool,
}

impl Endpoints {
    /// Microsoft Entra ID's layout, ours too: `authority` is `https://HOST/TENANT`. Nothing is fetched.
    pub fn entra(authority: &str) -> Self {
        let authority = authority.trim_end_matches('/');
        Self {
            token: format!("{authority}/oauth2/v2.0/token"),
            authorization: Some(format!("{authority}/oauth2/v2.0/authorize")),
            introspection: None,
            end_session: Some(format!("{authority}/oauth2/v2.0/logout")),
            issuer: Some(format!("{authority}/v2.0")),
            promises_iss: false,
        }
    }

    /// A token endpoint and nothing else: enough for every grant but the authorization code.
    pub fn token_endpoint(url: impl Into<String>) -> Self {
        Self { token: url.into(), ..Self::default() }
    }

    /// What a metadata document says (RFC 8414); `None` without a token endpoint. Whoever fetched it has compared its
    /// issuer with the one that was meant.
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            token: metadata.token_endpoint.clone()?,
            authorization: metadata.authorization_endpoint.clone(),
            introspection: metadata.introspection_endpoint.clone(),
            end_session: metadata.end_session_endpoint.clone(),
            issuer: Some(metadata.issuer.clone()),
            promises_iss: metadata.authorization_response_iss_parameter_supported == Some(true),
        })
    }

    /// These, and where they are silent what was learnt.
    pub(crate) fn or(self, learnt: Self) -> Self {
        Self {
            token: if self.token.is_empty() { learnt.token } else { self.token },
            authorization: self.authorization.or(learnt.authorization),
            introspection: self.introspection.or(learnt.introspection),
            end_session: self.end_session.or(learnt.end_session),
            issuer: self.issuer.or(learnt.issuer),
            promises_iss: self.promises_iss || learnt.promises_iss,
        }
    }

    /// What keys are made of: the issuer where known, so that aliases of one token endpoint do not share by accident.
    pub(crate) fn identity(&self) -> &str {
        self.issuer.as_deref().unwrap_or(&self.token)
    }
}
