//! The identity platform's HTTP edge and its pages.
//!
//! Rules live in `deputize-core`; here are sockets' other side: paths, headers, cookies, pages, and the keys behind core's
//! port [`Crypto`](deputize_core::ports::Crypto).

mod crypto;
mod edge;
mod federation;
mod page;
mod password;
mod reference;

pub use edge::endpoint::{Caller, Endpoint, Readers, Route};
pub use edge::endpoints;
pub use federation::{Federation, discovery};
pub use password::{PasswordCost, password_hash};
pub use reference::reference;

use deputize_core::cut_off::CutOff;
use deputize_core::id::TenantId;
use deputize_core::limits::Limits;
use deputize_core::ports::{Directory, Ledger, Ports};
use std::ops::Deref;
use std::sync::Arc;

/// Where unpredictable bytes come from.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Where a request comes from: whoever serves the router says so, as an extension of the request. Conditional access asks
/// for it; a request without it comes from nowhere that a policy trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub std::net::IpAddr);

impl ClientAddress {
    fn of<B>(request: &http::Request<B>) -> Option<std::net::IpAddr> {
        request.extensions().get::<Self>().map(|address| address.0)
    }
}

/// What an authority is made with.
pub struct Settings {
    /// `https://HOST[:port]`, as clients will call it: the start of every issuer.
    pub host: String,
    /// One key for each algorithm that is signed with; the RS256 key has a certificate.
    pub signing_keys: Vec<jose::SigningKey>,
    /// Keys the digests of secrets.
    pub pepper: [u8; 32],
    /// Seals claims and tickets that only this authority reads.
    pub seal_key: [u8; 32],
    /// Randomness.
    pub random: Random,
    /// Other issuers whose tokens may prove applications.
    pub federation: Federation,
}

/// An authority, ready to be served. Its clones are one and the same.
#[derive(Clone)]
pub struct Authority(Arc<Parts>);

/// What an authority works with.
pub struct Parts {
    /// What its rules work with.
    pub ports: Ports,
    signing: Arc<crypto::Keys>,
    streams: Arc<edge::events::Streams>,
}

impl Deref for Authority {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Puts an authority together.
pub fn authority(
    settings: Settings,
    directory: Arc<dyn Directory>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn decision::Clock>,
) -> Authority {
    authority_with(PasswordCost::default(), settings, directory, ledger, clock)
}

/// An authority whose hashes cost something else, for measuring what else takes time. Never serve one.
#[doc(hidden)]
pub fn authority_with(
    cost: PasswordCost,
    settings: Settings,
    directory: Arc<dyn Directory>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn decision::Clock>,
) -> Authority {
    let host = settings.host.trim_end_matches('/').to_owned();
    let signing = Arc::new(crypto::Keys::new(
        settings.signing_keys,
        &settings.pepper,
        &settings.seal_key,
        settings.random,
        cost,
        settings.federation,
    ));
    let ports = Ports {
        host: host.into(),
        directory,
        ledger,
        crypto: signing.clone(),
        clock,
        limits: Arc::default(),
        loops: Arc::default(),
    };
    Authority(Arc::new(Parts { ports, signing, streams: edge::events::Streams::new() }))
}

impl Authority {
    /// Takes keys out of use that were withdrawn, by whichever process: within a second of it. Spawn it once.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        let (ledger, signing) = (Arc::clone(&self.ports.ledger), Arc::clone(&self.signing));
        async move {
            let mut after = 0;
            loop {
                // Keys stand above tenants.
                let Ok(logged) = ledger.cut_offs(TenantId::default(), after, 256).await else {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    continue;
                };
                for cut_off in logged.entries.iter().flat_map(|entry| &entry.cut_offs) {
                    if let CutOff::Key { kid } = cut_off {
                        tracing::warn!(%kid, "a signing key was withdrawn: what it signed is void");
                        signing.withdraw(kid);
                    }
                }
                after = logged.entries.last().filter(|_| logged.more).map_or(logged.newest, |last| last.sequence);
                if !logged.more {
                    ledger.changed(after).await;
                }
            }
        }
    }

    /// The same, with other limits on how often callers may be wrong and ask.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        let ports = Ports { limits: Arc::new(limits), ..self.ports.clone() };
        Self(Arc::new(Parts { ports, signing: Arc::clone(&self.signing), streams: Arc::clone(&self.streams) }))
    }

    /// Every endpoint and page.
    pub fn router(&self) -> axum::Router {
        edge::router(self.clone())
    }
}
