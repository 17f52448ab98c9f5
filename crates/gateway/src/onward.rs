//! What a service is sent in place of the caller's credential.
mod application;
mod basic;
mod managed_identity;
mod on_behalf_of;

pub(crate) use application::refused;

use crate::call::Permitted;
use crate::denial::Denial;
use crate::rotating::Rotating;
use crate::settings::{ManagedIdentityTable, Pem, SettingsError, Source, Spanned, World, fault};
use client::Client;
use client::managed_identity::{Identity, ManagedIdentity};
use http::HeaderValue;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// The credential of a forwarded request.
pub(crate) enum Credential {
    /// What the caller sent.
    Callers,
    /// None at all.
    None,
    /// This value of `Authorization`.
    Value(HeaderValue),
}

/// How the onward credential is got.
#[derive(Clone)]
pub(crate) enum Onward {
    None,
    Passthrough,
    /// Where it is at hand.
    Basic(Arc<Rotating<HeaderValue>>),
    /// The connection is opened with a certificate, and no `Authorization` is sent.
    Certificate,
    /// A token for the gateway itself.
    ClientCredentials {
        client: Client,
        target: String,
    },
    /// A token of an identity of the host.
    ManagedIdentity {
        host: ManagedIdentity,
        identity: Identity,
        resource: String,
    },
    /// A token on behalf of the user whose token came in.
    OnBehalfOf {
        client: Client,
        target: String,
    },
}

/// What the service is sent in place of the caller's credential.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "onward")]
pub(crate) enum Table {
    /// The service is sent no credential.
    None,
    /// The service is sent the caller's `Authorization`, unchanged: for services that check it too.
    Passthrough,
    /// A name and a password (RFC 7617).
    Basic {
        /// The name.
        username: Spanned<String>,
        /// Where the password is.
        password: Spanned<Source>,
    },
    /// A certificate in the handshake (mTLS), and no `Authorization`. Where it comes from is looked at every second: connections are
    /// opened with what is there, and those of before get no further requests.
    ClientCertificate {
        /// The chain in PEM, the gateway's own certificate first: a file, or where else it is.
        certificate: Spanned<Pem>,
        /// Its private key in PEM; by default it stands beside the chain.
        key: Option<Pem>,
    },
    /// A token for the gateway itself (RFC 6749 section 4.4).
    ClientCredentials {
        /// Who issues it, by the name that the file gives it.
        authority: Spanned<String>,
        /// The scopes, or the audience.
        target: Spanned<String>,
    },
    /// A token of a managed identity of the host (App Service, Functions, Container Apps, virtual machines): its own, or one that it was
    /// assigned.
    ManagedIdentity {
        /// Who the token is for: an application ID URI, without `/.default`.
        resource: Spanned<String>,
        /// The client id of an identity that the host was assigned; by default its own is meant.
        client_id: Option<Spanned<String>>,
        /// The object id of one.
        object_id: Option<Spanned<String>>,
        /// The resource id of one.
        resource_id: Option<Spanned<String>>,
    },
    /// A token on behalf of the user: Entra's On-Behalf-Of, or token exchange (RFC 8693) as the authority has it.
    OnBehalfOf {
        /// Who issues it, by the name that the file gives it.
        authority: Spanned<String>,
        /// The scopes, or the audience.
        target: Spanned<String>,
    },
}

impl Table {
    pub(crate) fn read(&self, world: &mut World<'_>) -> Result<Onward, SettingsError> {
        let target = |text: &Spanned<String>| {
            let text = (!text.get_ref().trim().is_empty()).then(|| text.get_ref().clone());
            text.ok_or_else(|| {
                fault(&self.place(), "nothing says what the token is for", "name the scopes or the audience")
            })
        };
        Ok(match self {
            Self::None => Onward::None,
            Self::Passthrough => Onward::Passthrough,
            Self::Basic { username, password } => Onward::Basic(basic::read(username, password, world)?),
            Self::ClientCertificate { .. } => Onward::Certificate,
            Self::ClientCredentials { authority, target: text } => {
                Onward::ClientCredentials { client: world.authority(authority)?, target: target(text)? }
            }
            Self::ManagedIdentity { resource, client_id, object_id, resource_id } => {
                let of = ManagedIdentityTable {
                    client: client_id.clone(),
                    object: object_id.clone(),
                    resource: resource_id.clone(),
                };
                let target = target(resource)?;
                let resource = target.strip_suffix("/.default").unwrap_or(&target).to_owned();
                Onward::ManagedIdentity { host: world.host(), identity: of.identity()?, resource }
            }
            Self::OnBehalfOf { authority, target: text } => {
                Onward::OnBehalfOf { client: world.authority(authority)?, target: target(text)? }
            }
        })
    }

    fn place(&self) -> std::ops::Range<usize> {
        match self {
            Self::None | Self::Passthrough => 0..0,
            Self::Basic { username, .. } => username.span(),
            Self::ClientCertificate { certificate, .. } => certificate.span(),
            Self::ManagedIdentity { resource, .. } => resource.span(),
            Self::ClientCredentials { target, .. } | Self::OnBehalfOf { target, .. } => target.span(),
        }
    }

    /// Whether it needs a verified token of a user.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self, Self::OnBehalfOf { .. })
    }

    /// Whether the service is sent what the caller sent.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(self, Self::Passthrough)
    }

    /// In a line, for people.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Passthrough => "the caller's, unchanged".into(),
            Self::Basic { username, .. } => format!("the password of `{}`", username.get_ref()),
            Self::ClientCertificate { certificate, .. } => {
                format!("the certificate of {}, in the handshake", certificate.get_ref())
            }
            Self::ClientCredentials { authority, target } => {
                format!("a token of `{}` for `{}`, as the gateway", authority.get_ref(), target.get_ref())
            }
            Self::ManagedIdentity { resource, client_id, object_id, resource_id } => {
                let named = client_id.as_ref().or(object_id.as_ref()).or(resource_id.as_ref());
                let whose = named.map_or("the host's own managed identity".to_owned(), |id| {
                    format!("the managed identity `{}`", id.get_ref())
                });
                format!("a token of {whose} for `{}`", resource.get_ref())
            }
            Self::OnBehalfOf { authority, target } => {
                format!("a token of `{}` for `{}`, on behalf of the user", authority.get_ref(), target.get_ref())
            }
        }
    }
}

impl Onward {
    /// Gets it. Without it nothing is forwarded.
    pub(crate) async fn acquire(&self, permitted: &Permitted) -> Result<Credential, Box<Denial>> {
        match self {
            // What says who sends it is the connection.
            Self::Certificate if !permitted.call().operation.upstream.is_presentable() => {
                Err(Box::new(Denial::not_at_hand()))
            }
            Self::None | Self::Certificate => Ok(Credential::None),
            Self::Passthrough => Ok(Credential::Callers),
            Self::Basic(value) => match value.current() {
                Some(value) => Ok(Credential::Value(HeaderValue::clone(&value))),
                None => Err(Box::new(Denial::not_at_hand())),
            },
            Self::ClientCredentials { client, target } => application::acquire(client, target, permitted).await,
            Self::ManagedIdentity { host, identity, resource } => {
                managed_identity::acquire(host, identity, resource).await
            }
            Self::OnBehalfOf { client, target } => on_behalf_of::acquire(client, target, permitted).await,
        }
    }
}

/// A token as a value of `Authorization`.
fn bearer(token: &client::Token) -> Result<Credential, Box<Denial>> {
    let text = format!("Bearer {}", token.access_token.expose());
    let mut value = HeaderValue::try_from(text).map_err(|_| Box::new(Denial::of(decision::CheckId::OnwardAccepted)))?;
    value.set_sensitive(true);
    Ok(Credential::Value(value))
}
