//! What the other end of a connection showed of itself.
use rustls_pki_types::CertificateDer;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The certificates that the other end of a TLS connection showed, its own first. It has proved that it holds the key of that
/// one; whom it belongs to is for whoever is served to find out. An `Arc` of it is among the extensions of every request of the
/// connection, resumed ones included; requests over other connections have none.
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    server_name: Option<Box<str>>,
    read: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Shown {
    pub(crate) fn of(chain: &[CertificateDer<'_>], server_name: Option<&str>) -> Arc<Self> {
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Arc::new(Self { chain, server_name: server_name.map(Into::into), read: OnceLock::new() })
    }

    /// The host that the connection was opened for, where the handshake named one (SNI, RFC 6066 section 3).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The certificates.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What `read` makes of it, once for all requests of the connection. `None` where something of another type was made of it
    /// before.
    pub fn read<T: Any + Send + Sync>(&self, read: impl FnOnce(&[CertificateDer<'static>]) -> T) -> Option<Arc<T>> {
        let made = self.read.get_or_init(|| Arc::new(read(&self.chain)));
        Arc::clone(made).downcast().ok()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}
