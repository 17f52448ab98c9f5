//! `managed_identity`: a token of an identity that the host has, or was assigned.
use super::{Credential, bearer, refused};
use crate::denial::Denial;
use client::managed_identity::{Identity, ManagedIdentity};
use client::{Cause, Error, TransportError};
use decision::CheckId;
use std::time::Duration;
use tokio::time::timeout;

/// How long a caller waits for a host that has no token yet. A host that just started takes its time, and is asked on for the next.
const LONGEST: Duration = Duration::from_secs(10);

pub(super) async fn acquire(
    host: &ManagedIdentity,
    identity: &Identity,
    resource: &str,
) -> Result<Credential, Box<Denial>> {
    let got = timeout(LONGEST, host.acquire(identity, resource)).await;
    match got.unwrap_or_else(|_| Err(Error::Unreachable(TransportError::from(Cause::Timeout)))) {
        Ok(token) => bearer(&token),
        Err(Error::Refused { status: 400..=428, body, .. }) => {
            tracing::warn!(error.code = body.error.as_str(), resource, "the host gives no token");
            Err(Box::new(Denial::of(CheckId::OnwardIdentity)))
        }
        Err(error) => Err(Box::new(refused(&error, None))),
    }
}
