//! The hardened client.
use crate::address::{Blocked, Resolver};
use crate::proxy::Route;
use crate::{Allow, FetchError, Passing, Proxy};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Where key sets are got from: [`Fetch`], or a test's own.
pub trait Transport: Send + Sync {
    /// Fetches one document.
    fn get<'a>(&'a self, url: &'a str) -> Pin<Box<dyn Future<Output = Result<Response, FetchError>> + Send + 'a>>;
}

/// The client. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Fetch {
    pub(crate) client: Client<HttpsConnector<Route>, Full<Bytes>>,
    /// For answers that do not end: each has a connection of its own. A shared one that is dead would be taken again.
    pub(crate) streaming: Client<HttpsConnector<Route>, Full<Bytes>>,
    /// For requests that are passed on.
    pub(crate) passing: Client<HttpsConnector<Route>, Passing>,
    allow: Allow,
    pub(crate) total: Duration,
    max_bytes: usize,
    made_by: Arc<FetchBuilder>,
}

/// What a [`Fetch`] may do.
#[derive(Clone, Debug)]
pub struct FetchBuilder {
    roots: Vec<CertificateDer<'static>>,
    allow: Allow,
    proxy: Option<Proxy>,
    connect: Duration,
    total: Duration,
    max_bytes: usize,
    idle: usize,
    http2: bool,
}

impl Fetch {
    /// Starts from the defaults: the platform's authorities, public addresses, 2 s to connect, 10 s in all, 512 KiB.
    pub fn builder() -> FetchBuilder {
        FetchBuilder {
            roots: Vec::new(),
            allow: Allow::default(),
            proxy: None,
            connect: Duration::from_secs(2),
            total: Duration::from_secs(10),
            max_bytes: 512 * 1024,
            idle: usize::MAX,
            http2: false,
        }
    }

    /// Starts from what this one may do, for another that may do less, or more. It shares no connections.
    pub fn to_builder(&self) -> FetchBuilder {
        FetchBuilder::clone(&self.made_by)
    }

    /// Fetches a document.
    pub async fn get(&self, url: &str) -> Result<Response, FetchError> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new()).await
    }

    /// Posts a form that is encoded already.
    pub async fn post_form(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Response, FetchError> {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.send(Method::POST, url, headers, body.into()).await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, FetchError> {
        let (request, host) = self.request(method, url, headers, body)?;
        match tokio::time::timeout(self.total, Box::pin(self.exchange(request, &host))).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout(host)),
        }
    }

    /// The request, and the host that it goes to.
    pub(crate) fn request(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(http::Request<Full<Bytes>>, String), FetchError> {
        let (uri, host) = self.target(url)?;
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("deputize/", env!("CARGO_PKG_VERSION"))));
        request.headers_mut().entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        Ok((request, host))
    }

    async fn exchange(&self, request: http::Request<Full<Bytes>>, host: &str) -> Result<Response, FetchError> {
        let answer = self.client.request(request).await.map_err(|e| refusal(&e, host))?;
        let (parts, body) = answer.into_parts();
        if parts.status.is_redirection() {
            return Err(FetchError::Redirect(host.into()));
        }
        let body = Limited::new(body, self.max_bytes).collect().await.map_err(|e| {
            if e.is::<http_body_util::LengthLimitError>() {
                FetchError::TooLarge(host.into())
            } else {
                FetchError::Broken { host: host.into(), reason: e.to_string() }
            }
        })?;
        Ok(Response { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Whether a URL may be fetched at all, as far as it says itself: by its scheme, and by its host where that is an address. For
    /// who reads a configuration before anything is fetched.
    ///
    /// # Errors
    /// If it may not.
    pub fn admits(&self, url: &str) -> Result<(), FetchError> {
        self.target(url).map(drop)
    }

    /// The request's target, if its scheme and (for a literal address, which no resolver sees) its host are allowed.
    pub(crate) fn target(&self, text: &str) -> Result<(Uri, String), FetchError> {
        let shown = || FetchError::Url(text.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect());
        let url = Url::parse(text).map_err(|_| shown())?;
        let literal: Option<IpAddr> = match url.host() {
            Some(Host::Ipv4(ip)) => Some(ip.into()),
            Some(Host::Ipv6(ip)) => Some(ip.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(shown()),
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let on_loopback = literal.map_or(host == "localhost", |ip| ip.is_loopback());
        let metadata = self.allow.instance_metadata && host == "169.254.169.254";
        let plain =
            url.scheme() == "http" && (metadata || self.allow.plain || self.allow.plain_loopback && on_loopback);
        if !(url.scheme() == "https" || plain) || !url.username().is_empty() || url.password().is_some() {
            return Err(shown());
        }
        if literal.is_some_and(|ip| !self.allow.admits(ip)) {
            return Err(FetchError::Blocked(host));
        }
        let uri = url.as_str().split('#').next().unwrap_or_default().parse().map_err(|_| shown())?;
        Ok((uri, host))
    }
}

impl FetchBuilder {
    /// Trusts these certificate authorities (PEM) beside the platform's.
    ///
    /// # Errors
    /// If there is none in the text, or one cannot be read.
    pub fn ca_pem(mut self, pem: &[u8]) -> Result<Self, FetchError> {
        let before = self.roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.roots.push(certificate.map_err(|e| FetchError::Authorities(format!("{e:?}")))?);
        }
        if self.roots.len() == before {
            return Err(FetchError::Authorities("it has no certificate in PEM".into()));
        }
        Ok(self)
    }

    /// Reaches these ranges too.
    pub fn allow(mut self, allow: Allow) -> Self {
        self.allow = allow;
        self
    }

    /// Reaches `https:` hosts through this proxy, which resolves their names: which addresses they have is then its business.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// How long connecting, and the whole exchange, may take.
    pub fn timeouts(mut self, connect: Duration, total: Duration) -> Self {
        (self.connect, self.total) = (connect, total);
        self
    }

    /// The largest answer that is read.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    /// How many idle connections are kept for each host; by default, all for their minute.
    pub fn idle(mut self, connections: usize) -> Self {
        self.idle = connections;
        self
    }

    /// Speaks HTTP/2 alone, over plain connections too: for gRPC.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// If no certificate authority can be used.
    pub fn build(self) -> Result<Fetch, FetchError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let unusable = |e: rustls::Error| FetchError::Authorities(e.to_string());
        let made_by = Arc::new(self.clone());
        let verifier =
            rustls_platform_verifier::Verifier::new_with_extra_roots(self.roots, provider.clone()).map_err(unusable)?;
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let tcp = |allow: Allow| {
            let mut tcp = HttpConnector::new_with_resolver(Resolver(allow));
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(self.connect));
            tcp
        };
        let route = Route::new(tcp(self.allow), tcp(Allow::INSIDE), self.proxy.as_ref());
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(route);
        let streaming = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.clone());
        let mut pooled = Client::builder(TokioExecutor::new());
        pooled
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(self.idle)
            .http2_only(self.http2);
        let (client, passing) = (pooled.build(https.clone()), pooled.build(https));
        let Self { allow, total, max_bytes, .. } = self;
        Ok(Fetch { client, streaming, passing, allow, total, max_bytes, made_by })
    }
}

impl Transport for Fetch {
    fn get<'a>(&'a self, url: &'a str) -> Pin<Box<dyn Future<Output = Result<Response, FetchError>> + Send + 'a>> {
        Box::pin(self.get(url))
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").field("allow", &self.allow).finish_non_exhaustive()
    }
}

pub(crate) fn refusal(error: &hyper_util::client::legacy::Error, host: &str) -> FetchError {
    let mut innermost: &(dyn Error + 'static) = error;
    loop {
        let io = innermost.downcast_ref::<std::io::Error>();
        if io.and_then(std::io::Error::get_ref).is_some_and(<dyn Error + Send + Sync>::is::<Blocked>) {
            return FetchError::Blocked(host.into());
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None if error.is_connect() => {
                return FetchError::Unreachable { host: host.into(), reason: innermost.to_string() };
            }
            None => return FetchError::Broken { host: host.into(), reason: innermost.to_string() },
        }
    }
}
