//! The certificate that a service is shown in the handshake (`onward.client_certificate`): that of its files, as they are now.
use crate::certificates::certified;
use crate::rotating::{Rotates, Rotating};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A chain and its key.
pub(crate) struct Presented {
    files: [PathBuf; 2],
    key: Rotating<CertifiedKey>,
}

impl Presented {
    /// From a chain in PEM, the gateway's own certificate first, and its private key.
    pub(crate) fn read(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, String> {
        let files = [certificate, key];
        let read = |held: &[Vec<u8>]| {
            let [certificate, key] = held else { return Err("a file is missing".to_owned()) };
            certified(certificate, key)
        };
        let key = Rotating::begin(files.to_vec(), read)?;
        Ok(Arc::new(Self { files, key }))
    }

    /// Looks at the files; whether they hold another certificate now.
    pub(super) fn has_changed(&self) -> bool {
        let before = self.key.current();
        self.key.look();
        !Arc::ptr_eq(&before, &self.key.current())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("files", &self.files).finish_non_exhaustive()
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
}
