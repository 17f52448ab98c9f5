//! The certificate that a service is shown in the handshake (`onward.client_certificate`), as it is now.
use crate::certificates::certified;
use crate::rotating::{Fares, Rotates, Rotating};
use crate::secrets::Material;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// A chain and its key.
pub(crate) struct Presented(Rotating<CertifiedKey>);

impl Presented {
    /// From a chain in PEM, the gateway's own certificate first, and its private key.
    pub(crate) fn read(pair: Material) -> Result<Arc<Self>, String> {
        Rotating::begin(pair, certified).map(Self).map(Arc::new)
    }

    /// Whether there is one to show.
    pub(crate) fn is_there(&self) -> bool {
        self.0.current().is_some()
    }

    /// Looks where it comes from; whether there is another certificate now.
    pub(super) fn has_changed(&self) -> bool {
        let before = self.0.current();
        self.0.look();
        match (before, self.0.current()) {
            (Some(before), Some(now)) => !Arc::ptr_eq(&before, &now),
            (before, now) => before.is_some() != now.is_some(),
        }
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

/// Connections that were opened with the certificate of before are not used for further requests.
impl Rotates for super::Upstream {
    fn look(&self) {
        if self.presented.as_ref().is_some_and(|presented| presented.has_changed()) {
            for replica in &self.replicas {
                replica.retire();
            }
        }
    }

    fn fares(&self) -> Fares {
        self.presented
            .as_ref()
            .map_or_else(|| Fares { from: String::new(), is_there: true, rejected: 0 }, |presented| presented.0.fares())
    }
}
