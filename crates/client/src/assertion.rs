//! Assertions that somebody else issues: what proves a client that has no secret (workload identity federation).
use crate::managed_identity::{Identity, ManagedIdentity};
use crate::{Error, Pending};
use oauth::Secret;
use std::path::PathBuf;

/// Where a client's assertions come from.
pub trait AssertionSource: Send + Sync {
    /// Tells sources apart, without giving anything away: clients of other sources share no tokens.
    fn name(&self) -> String;
    /// An assertion that is good now.
    fn assertion(&self) -> Pending<'_, Result<Secret, Error>>;
}

/// A file that the platform keeps current, such as a projected service account token of Kubernetes
/// (`AZURE_FEDERATED_TOKEN_FILE`). Read anew each time: the platform replaces it long before it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionFile(pub PathBuf);

impl AssertionSource for AssertionFile {
    fn name(&self) -> String {
        format!("file:{}", self.0.display())
    }

    fn assertion(&self) -> Pending<'_, Result<Secret, Error>> {
        Box::pin(async {
            let unreadable = |_| Error::Request("the file with the client's assertion cannot be read; check its path");
            let text = tokio::fs::read_to_string(&self.0).await.map_err(unreadable)?;
            Ok(Secret::new(text.trim()))
        })
    }
}

/// A managed identity that the application trusts in place of a secret.
#[derive(Clone, Debug)]
pub struct AssertionOfIdentity {
    /// The host.
    pub host: ManagedIdentity,
    /// Which identity.
    pub identity: Identity,
    /// For whom: `api://AzureADTokenExchange`, mostly.
    pub audience: String,
}

impl AssertionSource for AssertionOfIdentity {
    fn name(&self) -> String {
        format!("identity:{:?}:{}", self.identity, self.audience)
    }

    fn assertion(&self) -> Pending<'_, Result<Secret, Error>> {
        Box::pin(async {
            let token = self.host.acquire(&self.identity, &self.audience).await?;
            Ok(token.access_token.clone())
        })
    }
}
