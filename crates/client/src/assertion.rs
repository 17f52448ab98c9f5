//! Assertions that somebody else issues: what proves a client that has no secret (workload identity federation).
use crate::managed_identity::{Identity, ManagedIdentity};
use crate::{Error, Pending};
use oauth::Secret;

/// Where a client's assertions come from. (For those in a file there is [`crate::ClientBuilder::assertion_file`].)
pub trait AssertionSource: Send + Sync {
    /// Tells sources apart, without giving anything away: clients of other sources share no tokens.
    fn name(&self) -> String;
    /// An assertion that is good now.
    fn assertion(&self) -> Pending<'_, Result<Secret, Error>>;
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
