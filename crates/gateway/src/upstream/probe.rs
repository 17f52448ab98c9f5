//! Probes: each address of a service is asked for its health, whether there are requests or not.
use super::Upstream;
use super::connect::Opened;
use super::replica::Replica;
use super::send::innermost;
use crate::body::{Progress, Uploading};
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri};
use std::sync::Weak;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How the addresses of a service are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) path: PathAndQuery,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// The status that is expected; any from 200 to 299 if none is said.
    pub(crate) status: Option<StatusCode>,
    /// So many good answers in a row, and an address that was down is up.
    pub(crate) healthy: u32,
    /// So many bad ones, and one that was up is down.
    pub(crate) unhealthy: u32,
}

/// Probes one address for as long as its service is one. It counts as up until probes say another thing.
pub(super) async fn run(probe: Probe, upstream: Weak<Upstream>, replica: Weak<Replica>) {
    let (mut up, mut in_a_row) = (true, 0_u32);
    loop {
        {
            let (Some(upstream), Some(replica)) = (upstream.upgrade(), replica.upgrade()) else { return };
            let answer = timeout(probe.timeout, ask(&probe, &upstream, &replica)).await;
            let answer = answer.unwrap_or_else(|_| Err("not in time".to_owned()));
            in_a_row = if answer.is_ok() == up { 0 } else { in_a_row.saturating_add(1) };
            if in_a_row >= if up { probe.unhealthy } else { probe.healthy } {
                (up, in_a_row) = (!up, 0);
                replica.health.probed(up);
                let (name, address) = (&upstream.name, &replica.target);
                match &answer {
                    Ok(()) => tracing::info!(upstream.name = %name, upstream.address = %address, "probes find it up"),
                    Err(reason) => {
                        tracing::warn!(upstream.name = %name, upstream.address = %address, reason, "probes find it down");
                    }
                }
            }
        }
        sleep(probe.interval).await;
    }
}

async fn ask(probe: &Probe, upstream: &Upstream, replica: &Replica) -> Result<(), String> {
    let opened = upstream.connector.open(&replica.target).await.map_err(|error| innermost(&error))?;
    let mut request = Request::new(Uploading::none(Progress::default()));
    let sent = match opened {
        Opened::One(mut sender) => {
            *request.uri_mut() = Uri::from(probe.path.clone());
            request.headers_mut().insert(HOST, upstream.host.clone());
            sender.send_request(request).await
        }
        Opened::Two(shared) => {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(upstream.scheme.clone());
            parts.authority = Some(upstream.authority.clone());
            parts.path_and_query = Some(probe.path.clone());
            *request.uri_mut() = Uri::from_parts(parts).map_err(|error| innermost(&error))?;
            let mut sender = shared.sender.clone();
            sender.send_request(request).await
        }
    };
    let status = sent.map_err(|error| innermost(&error))?.status();
    let good = probe.status.map_or_else(|| status.is_success(), |expected| status == expected);
    if good { Ok(()) } else { Err(format!("it answers {}", status.as_u16())) }
}
