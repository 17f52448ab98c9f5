//! One application at one authority.
use crate::credential::Credential;
use crate::{AssertionSource, CertificateError, Endpoints, Random, TokenCache, Transport};
use decision::Clock;
use fetch::IssuerKeys;
use http::HeaderMap;
use oauth::Secret;
use std::sync::Arc;

const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// One application at one authority. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) trace: HeaderMap,
}

pub(crate) struct Inner {
    pub(crate) endpoints: Endpoints,
    pub(crate) client_id: String,
    pub(crate) credential: Credential,
    /// Which credential it is, for cache keys.
    pub(crate) credential_id: String,
    pub(crate) identity_keys: Option<Arc<IssuerKeys>>,
    pub(crate) cache: Arc<TokenCache>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Client {
    /// Begins a client. Without a credential it is a public one.
    pub fn builder(endpoints: Endpoints, client_id: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            endpoints,
            client_id: client_id.into(),
            credential: Credential::None,
            identity_keys: None,
            cache: None,
        }
    }

    /// The same client, for what is asked while this request is answered: its trace context (W3C Trace Context) goes along
    /// with every request for a token. By it an authority sees that a user whose token came in is not dropped on the way.
    ///
    /// Tokens are cached as ever: who gets one that another request asked for asks nothing.
    ///
    /// ```
    /// # fn handler(orders: &client::Client, inbound: &http::Request<()>) {
    /// let orders = orders.in_trace(inbound.headers());
    /// # }
    /// ```
    #[must_use]
    pub fn in_trace(&self, inbound: &HeaderMap) -> Self {
        let mut trace = HeaderMap::new();
        for name in ["traceparent", "tracestate"] {
            for value in inbound.get_all(name) {
                trace.append(name, value.clone());
            }
        }
        Self { inner: Arc::clone(&self.inner), trace }
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// The cache, to share it or to tell it of revoked subjects.
    pub fn cache(&self) -> &Arc<TokenCache> {
        &self.inner.cache
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { endpoints, client_id, credential_id, .. } = &*self.inner;
        f.debug_struct("Client")
            .field("client_id", client_id)
            .field("credential_id", credential_id)
            .field("endpoints", endpoints)
            .finish_non_exhaustive()
    }
}

/// Gathers what a [`Client`] is made of.
pub struct ClientBuilder {
    endpoints: Endpoints,
    client_id: String,
    credential: Credential,
    identity_keys: Option<Arc<IssuerKeys>>,
    cache: Option<Arc<TokenCache>>,
}

impl ClientBuilder {
    /// Authenticates with a secret, in the body of the request (`client_secret_post`).
    pub fn secret(mut self, secret: Secret) -> Self {
        self.credential = Credential::Secret(secret);
        self
    }

    /// Authenticates with assertions signed by this certificate's key (RFC 7523; PS256 and `x5t#S256`).
    pub fn certificate(mut self, key: jose::SigningKey, certificate_pem: &str) -> Result<Self, CertificateError> {
        self.credential = Credential::certificate(key, certificate_pem)?;
        Ok(self)
    }

    /// Authenticates with assertions that somebody else issues: workload identity federation.
    pub fn assertion(mut self, source: Arc<dyn AssertionSource>) -> Self {
        self.credential = Credential::Assertion(source);
        self
    }

    /// Verifies ID tokens with these keys; without keys, an ID token that arrives is refused.
    pub fn identity_keys(mut self, keys: Arc<IssuerKeys>) -> Self {
        self.identity_keys = Some(keys);
        self
    }

    /// Keeps tokens here instead of in a cache of its own.
    pub fn cache(mut self, cache: Arc<TokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The client, over this network, clock and source of randomness.
    pub fn build(self, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Client {
        let Self { endpoints, client_id, credential, identity_keys, cache } = self;
        let credential_id = credential.id();
        let cache = cache.unwrap_or_else(|| TokenCache::new(CACHE_BYTES));
        Client {
            trace: HeaderMap::new(),
            inner: Arc::new(Inner {
                endpoints,
                client_id,
                credential,
                credential_id,
                identity_keys,
                cache,
                transport,
                clock,
                random,
            }),
        }
    }
}
