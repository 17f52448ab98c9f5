//! One application at one authority.
use crate::breaker::Breaker;
use crate::cache::Sought;
use crate::credential::{AssertionAudience, Credential};
use crate::discovery::Discovery;
use crate::grant::trace_context;
use crate::key::Asker;
use crate::rotating::{CredentialFileError, CredentialSource, Rotating};
use crate::{
    AssertionSource, CacheKey, CertificateError, CutOff, Endpoints, GrantProfile, Random, Sessions, TokenCache,
    Transport, Upstream,
};
use decision::{Clock, Timestamp};
use fetch::IssuerKeys;
use http::HeaderMap;
use oauth::Secret;
use std::path::PathBuf;
use std::sync::Arc;

const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// One application at one authority. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) trace: HeaderMap,
}

/// From when on held tokens count, at a moment.
pub(crate) type Since = Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>;

pub(crate) struct Inner {
    /// As they were given.
    pub(crate) endpoints: Endpoints,
    pub(crate) discovery: Option<Arc<Discovery>>,
    pub(crate) client_id: String,
    pub(crate) credential: Credential,
    pub(crate) profile: GrantProfile,
    pub(crate) upstream: Upstream,
    pub(crate) breaker: Breaker,
    /// What all keys of this client begin with: issuer, client, which credential.
    pub(crate) asker: Asker,
    pub(crate) identity_keys: Option<Arc<IssuerKeys>>,
    pub(crate) sessions: Option<Sessions>,
    /// From when on held tokens count.
    pub(crate) since: Option<Since>,
    /// With whose tokens its own are cut off.
    pub(crate) owner: u64,
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
            profile: GrantProfile::default(),
            upstream: Upstream::default(),
            discover: None,
            identity_keys: None,
            sessions: None,
            since: None,
            owner: None,
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
        Self { inner: Arc::clone(&self.inner), trace: trace_context(inbound) }
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// How its authority is asked.
    pub fn profile(&self) -> GrantProfile {
        self.inner.profile
    }

    /// The endpoints: as given, completed with what has been learnt so far.
    pub fn endpoints(&self) -> Endpoints {
        let learnt = self.inner.discovery.as_ref().and_then(|discovery| discovery.learnt().cloned());
        self.inner.endpoints.clone().or(learnt.unwrap_or_default())
    }

    /// Forgets every token of this client that one of the cut-offs is about: for whoever listens to its authority's event
    /// stream. What was asked for before is answered but not kept; so is what is asked for within two seconds, as not every
    /// replica may know of the change yet.
    ///
    /// Whose a token is, is read from the token and from the one it was obtained with; one that does not say it is forgotten
    /// too. Remembered refusals stay for their seconds.
    ///
    /// ```
    /// # fn told(orders: &client::Client) {
    /// orders.cut_off(&[client::CutOff { user: Some("ada's object id".into()), ..client::CutOff::default() }]);
    /// # }
    /// ```
    pub fn cut_off(&self, cut_offs: &[CutOff]) {
        let Inner { owner, cache, clock, .. } = &*self.inner;
        cache.cut_off_of(Some(*owner), cut_offs, clock.now());
    }

    /// The cache, to share it or to tell it of revoked subjects.
    pub fn cache(&self) -> &Arc<TokenCache> {
        &self.inner.cache
    }
}

/// Whose tokens they are, in keys: the issuer or what stands for it before it is known.
fn issuer<'a>(endpoints: &'a Endpoints, discovery: Option<&'a Discovery>) -> &'a str {
    match (discovery, endpoints.identity()) {
        (Some(discovery), "") => discovery.url(),
        (_, known) => known,
    }
}

impl Inner {
    pub(crate) fn issuer(&self) -> &str {
        issuer(&self.endpoints, self.discovery.as_deref())
    }

    pub(crate) fn sought<'a>(&self, key: CacheKey, subject: Option<&'a Secret>, fresh: bool) -> Sought<'a> {
        let now = self.clock.now();
        let since = self.since.as_ref().and_then(|since| since(now));
        Sought { key, owner: self.owner, subject, fresh, since, now }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { endpoints, client_id, credential, .. } = &*self.inner;
        f.debug_struct("Client")
            .field("client_id", client_id)
            .field("credential_id", &credential.id())
            .field("endpoints", endpoints)
            .finish_non_exhaustive()
    }
}

fn secret(texts: &[String]) -> Result<Credential, String> {
    match texts.first().map(|text| text.trim()) {
        None | Some("") => Err("it is empty".to_owned()),
        Some(secret) => Ok(Credential::Secret(Secret::new(secret))),
    }
}

fn certificate_and_key(texts: &[String]) -> Result<Credential, String> {
    let [key, certificate] = texts else { return Err("a key and a certificate are needed".to_owned()) };
    let key = jose::SigningKey::from_pem(jose::Algorithm::PS256, key).map_err(|error| error.to_string())?;
    Credential::certificate(key, certificate).map_err(|error| error.to_string())
}

fn key(texts: &[String], audience: AssertionAudience) -> Result<Credential, String> {
    let text = texts.first().map_or("", |text| text.trim());
    let key = jose::SigningKey::from_jwk(text).map_err(|error| error.to_string())?;
    Ok(Credential::Key { key: Arc::new(key), audience })
}

/// Gathers what a [`Client`] is made of.
pub struct ClientBuilder {
    endpoints: Endpoints,
    client_id: String,
    credential: Credential,
    profile: GrantProfile,
    upstream: Upstream,
    discover: Option<String>,
    identity_keys: Option<Arc<IssuerKeys>>,
    sessions: Option<Sessions>,
    since: Option<Since>,
    owner: Option<u64>,
    cache: Option<Arc<TokenCache>>,
}

impl ClientBuilder {
    /// How the authority wants to be asked; Entra's way if nothing is said.
    pub fn profile(mut self, profile: GrantProfile) -> Self {
        self.profile = profile;
        self
    }

    /// How patiently it is asked.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// Learns the endpoints that were not given from this metadata document, when they are first needed. An authority that
    /// is down when a program starts does not keep it from starting.
    pub fn discover(mut self, metadata: impl Into<String>) -> Self {
        self.discover = Some(metadata.into());
        self
    }

    /// Authenticates with assertions signed by a key that the authority knows by its name (`private_key_jwt`): a new one,
    /// with a new `jti`, for each try.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// use client::AssertionAudience;
    /// let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"mine",
    ///     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// let key = jose::SigningKey::from_jwk(jwk).unwrap();
    /// let orders = builder().key(key, AssertionAudience::Issuer).build(network(), clock(), random());
    /// orders.client_credentials("api://billing/.default").await?;
    /// # Ok(()) });
    /// ```
    pub fn key(mut self, key: impl Into<Arc<jose::SigningKey>>, audience: AssertionAudience) -> Self {
        self.credential = Credential::Key { key: key.into(), audience };
        self
    }

    /// Authenticates with a secret, in the body of the request (`client_secret_post`).
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// let orders = builder().secret(Secret::new("…")).build(network(), clock(), random());
    /// orders.client_credentials("api://billing/.default").await?;
    /// # Ok(()) });
    /// ```
    pub fn secret(mut self, secret: Secret) -> Self {
        self.credential = Credential::Secret(secret);
        self
    }

    /// Authenticates with assertions signed by this certificate's key (RFC 7523; PS256 and `x5t#S256`).
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// # use base64::Engine;
    /// # let key = jose::SigningKey::generate(jose::Algorithm::PS256).unwrap();
    /// # let der = key.self_signed("orders", decision::Timestamp(0), decision::Timestamp(2_000_000_000)).unwrap();
    /// # let body = base64::engine::general_purpose::STANDARD.encode(der);
    /// # let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    /// let orders = builder().certificate(key, &pem).unwrap().build(network(), clock(), random());
    /// orders.client_credentials("api://billing/.default").await?;
    /// # Ok(()) });
    /// ```
    pub fn certificate(mut self, key: jose::SigningKey, certificate_pem: &str) -> Result<Self, CertificateError> {
        self.credential = Credential::certificate(key, certificate_pem)?;
        Ok(self)
    }

    /// Authenticates with assertions that somebody else issues: workload identity federation.
    pub fn assertion(mut self, source: Arc<dyn AssertionSource>) -> Self {
        self.credential = Credential::Assertion(source);
        self
    }

    /// Authenticates with the secret that a file holds, white space around it left out. It is read again when it changes; a
    /// broken successor leaves the last good one in place, and the log says so. The same holds for all files here.
    pub fn secret_file(self, path: impl Into<PathBuf>) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::of_files("secret-file", vec![path.into()], secret))
    }

    /// The same with the secret that this source has. What it has not yet is asked for when it is needed.
    pub fn secret_of(self, source: impl CredentialSource + 'static) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::new("secret-file", source, secret))
    }

    /// Authenticates with assertions signed by a certificate's key (PS256), both in PEM: in two files, or in one that is
    /// named twice.
    pub fn certificate_files(
        self,
        key: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
    ) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::of_files("certificate-file", vec![key.into(), certificate.into()], certificate_and_key))
    }

    /// The same with the key and the certificate that this source has, in this order.
    pub fn certificate_of(self, source: impl CredentialSource + 'static) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::new("certificate-file", source, certificate_and_key))
    }

    /// Authenticates with assertions signed by the private JSON Web Key that a file holds (`private_key_jwt`).
    pub fn key_file(self, path: impl Into<PathBuf>, audience: AssertionAudience) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::of_files("key-file", vec![path.into()], move |texts| key(texts, audience)))
    }

    /// The same with the JSON Web Key that this source has.
    pub fn key_of(
        self,
        source: impl CredentialSource + 'static,
        audience: AssertionAudience,
    ) -> Result<Self, CredentialFileError> {
        self.reading(Rotating::new("key-file", source, move |texts| key(texts, audience)))
    }

    fn reading(mut self, rotating: Rotating) -> Result<Self, CredentialFileError> {
        self.credential = Credential::Files(Box::new(rotating.begin()?));
        Ok(self)
    }

    /// Authenticates with the assertion that a platform keeps current in a file, such as a projected service account token of
    /// Kubernetes (`AZURE_FEDERATED_TOKEN_FILE`). It need not be there yet.
    ///
    /// ```
    /// # mod authority { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/authority.rs")); }
    /// # use authority::*;
    /// # run(async {
    /// # let file = std::env::temp_dir().join(format!("deputize-example-{}", std::process::id()));
    /// # std::fs::write(&file, "a.jwt.of-the-platform").unwrap();
    /// let orders = builder().assertion_file(&file).build(network(), clock(), random());
    /// orders.client_credentials("api://billing/.default").await?;
    /// # std::fs::remove_file(&file).unwrap();
    /// # Ok(()) });
    /// ```
    pub fn assertion_file(mut self, path: impl Into<PathBuf>) -> Self {
        let read = |texts: &[String]| {
            let text = texts.first().map_or("", |text| text.trim());
            let is_jwt = text.split('.').count() == 3 && !text.contains(char::is_whitespace);
            if is_jwt { Ok(Credential::Given(Secret::new(text))) } else { Err("it holds no JWT".to_owned()) }
        };
        self.credential = Credential::Files(Box::new(Rotating::of_files("assertion-file", vec![path.into()], read)));
        self
    }

    /// Verifies ID tokens with these keys; without keys, an ID token that arrives is refused.
    pub fn identity_keys(mut self, keys: Arc<IssuerKeys>) -> Self {
        self.identity_keys = Some(keys);
        self
    }

    /// Keeps the sessions of work that outlives its request; see [`Client::begin_long_running`].
    pub fn long_running(mut self, sessions: Sessions) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// Gives out held tokens only if they were asked for at or after a moment, which is asked for each time: for whoever
    /// hears of cut-offs, and for a while does not. `None` where every held token counts.
    pub fn held_since(mut self, since: impl Fn(Timestamp) -> Option<Timestamp> + Send + Sync + 'static) -> Self {
        self.since = Some(Arc::new(since));
        self
    }

    /// Is told of cut-offs through this client of the same authority, and gives out held tokens as it does: for those that share
    /// its cache.
    pub fn cut_off_with(mut self, client: &Client) -> Self {
        (self.owner, self.since) = (Some(client.inner.owner), client.inner.since.clone());
        self
    }

    /// Keeps tokens here instead of in a cache of its own.
    pub fn cache(mut self, cache: Arc<TokenCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The client, over this network, clock and source of randomness.
    pub fn build(self, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Client {
        let Self {
            endpoints,
            client_id,
            credential,
            profile,
            upstream,
            discover,
            identity_keys,
            sessions,
            since,
            owner,
            cache,
        } = self;
        let discovery = discover.map(Discovery::new);
        let issuer = issuer(&endpoints, discovery.as_deref());
        let asker = Asker::new(issuer, &client_id, &credential.id());
        Client {
            trace: HeaderMap::new(),
            inner: Arc::new(Inner {
                owner: owner.unwrap_or_else(|| asker.id()),
                asker,
                endpoints,
                discovery,
                client_id,
                credential,
                profile,
                breaker: Breaker::new(upstream.rest_after),
                upstream,
                identity_keys,
                sessions,
                since,
                cache: cache.unwrap_or_else(|| TokenCache::new(CACHE_BYTES)),
                transport,
                clock,
                random,
            }),
        }
    }
}
