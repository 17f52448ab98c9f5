//! The way out through a web proxy (CONNECT, RFC 9110 section 9.3.6), and which hosts need none.
use crate::FetchError;
use crate::address::Resolver;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use url::Url;

/// A web proxy through which `https:` requests go, with the hosts that are reached directly. What `HTTPS_PROXY` and `NO_PROXY`
/// say, read by whoever reads the environment.
///
/// ```
/// # use deputize_fetch as fetch;
/// let proxy = fetch::Proxy::new("http://ada:s3cret@proxy.corp.example:3128")?.except("corp.example,10.0.0.0/8");
/// assert!(!format!("{proxy:?}").contains("s3cret"));
/// # Ok::<(), fetch::FetchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    address: Uri,
    authorization: Option<HeaderValue>,
    except: Arc<Exceptions>,
}

impl Proxy {
    /// A proxy that is spoken to in plain HTTP, as proxies inside a network are; `http://` may be left out, and port 80 too.
    /// User and password in the address become basic credentials (RFC 7617).
    pub fn new(address: &str) -> Result<Self, FetchError> {
        // Whatever stands before the last `@` is a credential and not shown.
        let host = address.rsplit('@').next().unwrap_or_default();
        let unusable = || FetchError::Proxy(host.trim_start_matches("http://").chars().take(200).collect());
        let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let url = Url::parse(&with_scheme).map_err(|_| unusable())?;
        let named = url.host_str().filter(|_| url.scheme() == "http").ok_or_else(unusable)?;
        let port = url.port_or_known_default().unwrap_or(80);
        let decoded = |text: &str| percent_decoded(text).ok_or_else(unusable);
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(basic(&decoded(user)?, &decoded(password.unwrap_or_default())?)),
        };
        Ok(Self {
            address: format!("http://{named}:{port}").parse().map_err(|_| unusable())?,
            authorization: authorization.transpose().map_err(|_| unusable())?,
            except: Arc::default(),
        })
    }

    /// Leaves these hosts to a direct connection, in the words of `NO_PROXY` as curl reads them: names separated by commas or
    /// blanks, each with all below it; addresses and ranges such as `10.0.0.0/8`; or `*` alone for all.
    #[must_use]
    pub fn except(mut self, hosts: &str) -> Self {
        self.except = Arc::new(Exceptions::read(hosts));
        self
    }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[derive(Debug, Default)]
struct Exceptions {
    all: bool,
    names: Vec<String>,
    ranges: Vec<(IpAddr, u8)>,
}

impl Exceptions {
    fn read(hosts: &str) -> Self {
        let mut read = Self { all: hosts.trim() == "*", ..Self::default() };
        for host in hosts.split([',', ' ', '\t']).filter(|host| !host.is_empty()) {
            match range(host) {
                Some(range) => read.ranges.push(range),
                None => read.names.push(plain(host.strip_prefix('.').unwrap_or(host))),
            }
        }
        read.names.retain(|name| !name.is_empty());
        read
    }

    fn hold(&self, host: &str) -> bool {
        let host = plain(host);
        if self.all {
            return true;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.ranges.iter().any(|(base, bits)| shares(*base, address, *bits));
        }
        self.names.iter().any(|name| {
            let above = host.strip_suffix(name.as_str());
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    }
}

/// Without brackets, without the root's dot, in small letters.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// An address, or a range in the notation of RFC 4632.
fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = plain(address).parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(width), str::parse).ok()?;
    (bits <= width).then_some((address, bits))
}

fn shares(base: IpAddr, address: IpAddr, bits: u8) -> bool {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let differ = u32::from(base) ^ u32::from(address);
            differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let differ = u128::from(base) ^ u128::from(address);
            differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Connects: directly, or through the proxy where the host needs it.
#[derive(Clone)]
pub(crate) struct Route {
    direct: HttpConnector<Resolver>,
    proxied: Option<(Tunnel<HttpConnector<Resolver>>, Arc<Exceptions>)>,
}

impl Route {
    /// `to_proxy` connects to the proxy's own address, which the operator has named and which may lie inside.
    pub(crate) fn new(
        direct: HttpConnector<Resolver>,
        to_proxy: HttpConnector<Resolver>,
        proxy: Option<&Proxy>,
    ) -> Self {
        let proxied = proxy.map(|proxy| {
            let tunnel = Tunnel::new(proxy.address.clone(), to_proxy);
            let tunnel = match &proxy.authorization {
                Some(authorization) => tunnel.with_auth(authorization.clone()),
                None => tunnel,
            };
            (tunnel, Arc::clone(&proxy.except))
        });
        Self { direct, proxied }
    }
}

impl tower::Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let is_https = target.scheme_str() == Some("https");
        match &mut self.proxied {
            Some((tunnel, except)) if is_https && !except.hold(target.host().unwrap_or_default()) => {
                let connecting = tunnel.call(target);
                Box::pin(async move { Ok(connecting.await?) })
            }
            _ => {
                let connecting = self.direct.call(target);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_means_what_it_means_to_curl() {
        let rows = [
            ("example.com", "example.com", true),
            ("example.com", "www.example.com", true),
            ("example.com", "www.EXAMPLE.com.", true),
            (".example.com", "example.com", true),
            ("example.com.", "a.example.com", true),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil.test", false),
            ("a.test, b.test\tc.test", "x.c.test", true),
            ("*", "anything.test", true),
            ("*,a.test", "anything.test", false),
            ("", "a.test", false),
            (",. ,", "a.test", false),
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.168.1.1", "192.168.1.1", true),
            ("192.168.1.1", "192.168.1.11", false),
            ("192.168.1.0/33", "192.168.1.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "name.test", false),
            ("fd00::/8", "[fd12::1]", true),
            ("[::1]", "[::1]", true),
            ("::1", "::2", false),
            ("localhost", "127.0.0.1", false),
        ];
        for (list, host, direct) in rows {
            assert_eq!(Exceptions::read(list).hold(host), direct, "`{list}` `{host}`");
        }
    }

    #[test]
    fn a_proxys_address_is_read_and_its_credentials_are_never_shown() {
        let read = |text: &str| Proxy::new(text).map(|proxy| (proxy.address.to_string(), proxy.authorization));
        assert_eq!(read("proxy.test:3128").unwrap(), ("http://proxy.test:3128/".to_owned(), None));
        assert_eq!(read("http://proxy.test").unwrap().0, "http://proxy.test:80/");
        let (_, credentials) = read("http://a%40b:p%3aw%20d@10.0.0.1:8080/").unwrap();
        assert_eq!(credentials.unwrap(), "Basic YUBiOnA6dyBk");
        for odd in ["", "https://u:canary@proxy.test", "socks5://canary@proxy.test", "http://u:can%zzary@proxy.test"] {
            let error = Proxy::new(odd).unwrap_err();
            assert!(matches!(&error, FetchError::Proxy(host) if !host.contains("can")), "{error}");
        }
    }
}
