//! Connecting to a service: TCP, TLS where it is spoken, and the version of HTTP that both sides agree on.
use crate::body::Uploading;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The largest head of an answer, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// The version of HTTP that a service is asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum Http {
    /// HTTP/2 where TLS agrees on it, and HTTP/1.1 elsewhere.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2, without TLS too.
    #[serde(rename = "2")]
    Two,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    #[error("not in time")]
    Slow,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// How a service is connected to.
pub(crate) struct Connector {
    tls: Option<Tls>,
    http: Http,
    patience: Duration,
}

struct Tls {
    usual: TlsConnector,
    /// For what only HTTP/1.1 can do here.
    one: TlsConnector,
    name: ServerName<'static>,
}

/// A connection, as requests are given to it.
pub(super) enum Opened {
    One(http1::SendRequest<Uploading>),
    Two(Shared),
}

/// A connection over HTTP/2, which has room for several requests.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Uploading>,
    /// How many it has room for, as the service says.
    pub(super) room: Box<dyn Fn() -> usize + Send + Sync>,
    /// How many are under way.
    pub(super) streams: AtomicUsize,
}

impl Connector {
    pub(crate) fn new(tls: Option<(&ClientConfig, ServerName<'static>)>, http: Http, patience: Duration) -> Self {
        let tls = tls.map(|(config, name)| {
            let offers = |protocols: &[&[u8]]| {
                let mut config = config.clone();
                config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
                TlsConnector::from(Arc::new(config))
            };
            let usual = match http {
                Http::Auto => offers(&[b"h2", b"http/1.1"]),
                Http::One => offers(&[b"http/1.1"]),
                Http::Two => offers(&[b"h2"]),
            };
            Tls { usual, one: offers(&[b"http/1.1"]), name }
        });
        Self { tls, http, patience }
    }

    /// How long it may take to connect.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether a connection may turn out to have room for several requests.
    pub(super) fn may_share(&self) -> bool {
        match self.http {
            Http::Auto => self.tls.is_some(),
            Http::One => false,
            Http::Two => true,
        }
    }

    /// A connection for requests.
    pub(super) async fn open(&self, target: &Target) -> Result<Opened, Unconnected> {
        let stream = self.tcp(target).await?;
        let shaken = async {
            let Some(tls) = &self.tls else { return shake(stream, self.http == Http::Two).await };
            let stream = tls.usual.connect(tls.name.clone(), stream).await?;
            let agreed = stream.get_ref().1.alpn_protocol();
            let two = agreed == Some(b"h2") || (agreed.is_none() && self.http == Http::Two);
            shake(stream, two).await
        };
        timeout(self.patience, shaken).await.map_err(|_| Unconnected::Slow)?
    }

    /// A connection that may become another protocol's.
    pub(super) async fn open_to_upgrade(&self, target: &Target) -> Result<http1::SendRequest<Uploading>, Unconnected> {
        let stream = self.tcp(target).await?;
        let shaken = async {
            let Some(tls) = &self.tls else { return shake_to_upgrade(stream).await };
            shake_to_upgrade(tls.one.connect(tls.name.clone(), stream).await?).await
        };
        timeout(self.patience, shaken).await.map_err(|_| Unconnected::Slow)?
    }

    /// Every address of a name has its share of the time.
    async fn tcp(&self, target: &Target) -> Result<TcpStream, Unconnected> {
        let named = timeout(self.patience, lookup_host((target.host.as_str(), target.port)));
        let named: Vec<_> = named.await.map_err(|_| Unconnected::Slow)??.collect();
        // Names and odd spellings lead there too; what is looked at here is what is connected to.
        let named: Vec<_> = named.into_iter().filter(|address| !fetch::is_link_local(address.ip())).collect();
        let share = self.patience / u32::try_from(named.len().max(1)).unwrap_or(u32::MAX);
        let mut last =
            Unconnected::Io(io::Error::new(io::ErrorKind::NotFound, "the name has no address that is connected to"));
        for address in named {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = Unconnected::Slow,
            }
        }
        Err(last)
    }
}

async fn shake<S>(stream: S, two: bool) -> Result<Opened, Unconnected>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    if !two {
        let (sender, connection) = one().handshake(stream).await?;
        // However it ends, its requests are told.
        tokio::spawn(async move { drop(connection.await) });
        return Ok(Opened::One(sender));
    }
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX));
    let (sender, connection) = http.handshake(stream).await?;
    // Shared for what it knows; it is polled here alone.
    let connection = Arc::new(Mutex::new(Some(connection)));
    let known = Arc::clone(&connection);
    tokio::spawn(poll_fn(move |context| {
        let mut held = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = held.as_mut().map_or(Poll::Ready(Ok(())), |connection| Pin::new(connection).poll(context));
        if polled.is_ready() {
            *held = None;
        }
        polled.map(drop)
    }));
    let room = Box::new(move || {
        let held = known.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(0, http2::Connection::current_max_send_streams)
    });
    Ok(Opened::Two(Shared { sender, room, streams: AtomicUsize::new(0) }))
}

async fn shake_to_upgrade<S>(stream: S) -> Result<http1::SendRequest<Uploading>, Unconnected>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = one().handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    Ok(sender)
}

fn one() -> http1::Builder {
    let mut http = http1::Builder::new();
    // An answer has a hundred fields at most: room for them is on the stack, and for any other number it is not.
    http.max_buf_size(LONGEST_HEAD);
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn g_13_no_spelling_of_a_link_local_address_is_connected_to() {
        let connector = Connector::new(None, Http::One, Duration::from_secs(20));
        // Some systems read numbers as addresses, and others look them up as names: there is no connection either way.
        for host in
            ["169.254.169.254", "::ffff:169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "fe80::1"]
        {
            let target = Target { host: host.to_owned(), port: 80 };
            let Err(Unconnected::Io(error)) = connector.open(&target).await else { panic!("{host} is connected to") };
            let is_number = host.parse::<std::net::IpAddr>().is_ok();
            assert!(error.to_string().contains("no address that is connected to") || !is_number, "{host}: {error}");
        }
    }
}
