//! A gateway on a listener.
use crate::body::Body;
use crate::denial::Denial;
use crate::gateway::{Gateway, Peer};
use crate::told_certificate::CertificateField;
use decision::CheckId;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serve::{Caller, Gate, Serve, Service, Tls, Way, caught};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What stands behind one listener.
pub struct Front {
    gateway: Arc<Gateway>,
    is_tls: bool,
    told_in: Option<CertificateField>,
}

impl Front {
    /// A gateway behind a listener that speaks TLS, or does not.
    pub fn new(gateway: Arc<Gateway>, is_tls: bool) -> Self {
        Self { gateway, is_tls, told_in: None }
    }
}

impl From<Front> for Service {
    /// All that a request runs through is compiled here, and not where listeners are put together.
    #[inline(never)]
    fn from(front: Front) -> Self {
        Arc::new(front).into()
    }
}

/// A listener of the configuration, as it is at each moment.
pub struct Entrance {
    gateway: Arc<Gateway>,
    name: Arc<str>,
}

impl Entrance {
    pub(crate) fn new(gateway: Arc<Gateway>, name: Arc<str>) -> Self {
        Self { gateway, name }
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.gateway.door(&self.name).is_some_and(|door| door.tls.is_some())
    }

    /// What stands behind it.
    pub fn front(&self) -> Front {
        let told_in = self.gateway.door(&self.name).and_then(|door| door.told_in);
        Front { told_in, ..Front::new(Arc::clone(&self.gateway), self.is_tls()) }
    }
}

/// A listener that the configuration has no more lets nobody in, and one for a firewall or a load balancer nobody else.
impl Gate for Entrance {
    fn admit(&self, from: Option<IpAddr>) -> Option<Way> {
        let door = self.gateway.door(&self.name)?;
        let is_proxy = || from.is_some_and(|from| self.gateway.is_proxy(from));
        if !door.takes(from) || door.proxy_protocol && !is_proxy() {
            return None;
        }
        let tls = door.tls.as_ref().map(|speaks| Tls::Server(Arc::clone(&speaks.config)));
        Some(Way { tls, is_introduced: door.proxy_protocol })
    }
}

/// What is said of what should not happen.
fn defect() -> Response<Body> {
    Denial::of(CheckId::GatewayRequest)
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .message("an internal error; it was logged")
        .response("")
}

impl Serve for Front {
    type Body = Body;

    /// Half an answer of a service is none.
    const WAITING_ANSWERS_END: bool = false;

    /// WebSockets, where an operation allows them.
    const UPGRADES: bool = true;

    /// A defect fails its request and no other, and denies.
    fn answer(&self, request: Request<Incoming>, caller: Caller) -> impl Future<Output = Response<Body>> + Send {
        // Who comes over a Unix socket is a program of this machine.
        let address = caller.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let peer = Peer { address, is_tls: self.is_tls, told_in: self.told_in };
        let answered = caught(self.gateway.answer(request, peer));
        async move { answered.await.unwrap_or_else(defect) }
    }
}
