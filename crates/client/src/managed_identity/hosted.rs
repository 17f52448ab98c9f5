//! The identities that a host speaks for.
use super::{Identity, ManagedToken, SourceError, TokenSource};
use crate::{Client, Error, Pending};

/// One identity, and how the host proves that it may speak for it.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// The identity as a client of the authority, with the host's certificate.
    pub client: Client,
    /// The object id of its service principal.
    pub object_id: String,
    /// The path of the resource.
    pub resource_id: String,
}

/// The identities of one host.
#[derive(Clone, Debug, Default)]
pub struct HostedIdentities {
    system: Option<Hosted>,
    assigned: Vec<Hosted>,
}

impl HostedIdentities {
    /// A host with this identity of its own, or none.
    pub fn new(system: Option<Hosted>) -> Self {
        Self { system, assigned: Vec::new() }
    }

    /// Assigns one more.
    #[must_use]
    pub fn assign(mut self, identity: Hosted) -> Self {
        self.assigned.push(identity);
        self
    }

    /// Without a name the system-assigned one; where there is none, the only one that is assigned.
    fn find(&self, identity: &Identity) -> Option<&Hosted> {
        let all = || self.system.iter().chain(&self.assigned);
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        match identity {
            Identity::Default => self.system.as_ref().or(match self.assigned.as_slice() {
                [only] => Some(only),
                _ => None,
            }),
            Identity::ClientId(id) => all().find(|hosted| same(hosted.client.client_id(), id)),
            Identity::ObjectId(id) => all().find(|hosted| same(&hosted.object_id, id)),
            Identity::ResourceId(id) => all().find(|hosted| same(&hosted.resource_id, id)),
        }
    }
}

impl TokenSource for HostedIdentities {
    fn token<'a>(
        &'a self,
        identity: &'a Identity,
        resource: &'a str,
    ) -> Pending<'a, Result<ManagedToken, SourceError>> {
        Box::pin(async move {
            let hosted = self.find(identity).ok_or(SourceError::UnknownIdentity)?;
            let asked = hosted.client.inner.clock.now();
            // Entra joins the two as they are: a resource that ends in a slash keeps it.
            let token = hosted.client.client_credentials(&format!("{resource}/.default")).await?;
            Ok(ManagedToken {
                access_token: token.access_token.clone(),
                not_before: asked,
                expires_at: token.expires_at,
                client_id: hosted.client.client_id().to_owned(),
            })
        })
    }
}

impl From<Error> for SourceError {
    /// Who has to do something about it.
    fn from(error: Error) -> Self {
        match &error {
            Error::Refused { body, .. } if body.error == "invalid_resource" || body.error == "invalid_scope" => {
                Self::UnknownResource(body.error_description.clone())
            }
            Error::Refused { status, body, .. } if *status < 500 => Self::Refused(body.error_description.clone()),
            Error::Unreachable(_) | Error::Unreadable { .. } | Error::Answer(_) | Error::Refused { .. } => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}
