//! Sending a permitted request on.
use super::{Peer, Reply};
use crate::body::{Progress, Uploading};
use crate::call::Permitted;
use crate::canonical::framing;
use crate::denial::Denial;
use crate::onward::Credential;
use crate::record::Record;
use crate::settings::Compiled;
use crate::stream::{Trailers, Watch};
use crate::upstream::{self, Failure, NoSlot};
use crate::websocket::{Opening, Tunnel};
use decision::{CheckId, Clock};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use std::time::Duration;

/// What came, beside the head of a request.
pub(super) struct Arrived {
    pub(super) peer: Peer,
    pub(super) body: Option<Incoming>,
    /// Where it is to become a WebSocket.
    pub(super) opening: Option<Box<Opening>>,
}

/// A service's answer, as far as it is there.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    /// In which version the service gave it.
    pub(super) version: Version,
    /// The connection that it comes over.
    pub(super) lease: upstream::Lease,
    /// What it takes of what the service is trusted with.
    pub(super) slot: upstream::Slot,
    /// How long it may be silent.
    pub(super) silence: Duration,
    /// How much of the request's body the service was sent.
    pub(super) uploaded: Progress,
    /// Where it is a stream: what watches over it, and its trailers.
    pub(super) stream: Option<Box<(Watch, Option<Trailers>)>>,
    /// Whether the caller may have sent what is no request after this one: a WebSocket was to begin there, and did not.
    pub(super) closes: bool,
}

/// Sends a permitted request on, and waits for the head of the answer.
pub(super) async fn forward(
    mut permitted: Permitted,
    credential: Credential,
    state: &Arc<Compiled>,
    clock: &Arc<dyn Clock>,
    Arrived { peer, body, opening }: Arrived,
    record: &mut Record,
) -> Result<Reply, Box<Denial>> {
    let to = Arc::clone(&permitted.call().operation.upstream);
    let caller = permitted.call().caller.known();
    let slot = to.slots.take(caller).map_err(|none| {
        let check = match none {
            NoSlot::Taken => CheckId::UpstreamCapacity,
            NoSlot::OverShare => CheckId::UpstreamShare,
        };
        Box::new(Denial::of(check).retry_after(1))
    })?;
    let (seen, version) = (permitted.take_body(), permitted.call().request.version());
    let progress = seen.as_ref().map_or_else(Progress::default, |seen| seen.progress());
    let told = upstream::Told {
        proxies: &state.proxies,
        is_tls: peer.is_tls,
        injected: &state.injected,
        signs_in: state.sign_in.is_some(),
    };
    let mut body = match (seen, body) {
        (Some(seen), _) => *seen,
        (None, Some(body)) => Uploading::new(body, version, progress.clone()),
        (None, None) => Uploading::none(progress.clone()),
    };
    let (mut silence, mut stream) = (to.silence, None);
    if let Some(of) = &permitted.call().operation.stream {
        let trailers = of.trailers.then(|| Trailers::new(state, &permitted.call().operation));
        body = body.streamed(of.idle, trailers.clone());
        silence = of.idle;
        stream = Some(Box::new((of.watch(permitted.call(), clock), trailers)));
    }
    let request = to.request(permitted, credential, &told, body);
    let mut request = request.ok_or_else(|| Box::new(Denial::of(CheckId::GatewayRequest)))?;
    record.forwards(request.headers_mut());
    if opening.is_some() {
        Opening::ask(request.headers_mut());
    }
    // Others that wait are decided on first: what is then sent together wakes the service once.
    tokio::task::yield_now().await;
    let sent = to.send(request, &progress, opening.is_some()).await;
    if sent.is_ok() {
        record.answered();
    }
    let failure = match (sent, opening, stream) {
        (Ok((mut response, lease)), Some(opening), Some(stream)) if is_switching(&response) => {
            if opening.is_agreed(response.headers()) {
                let service = hyper::upgrade::on(&mut response);
                let (watch, idle) = (stream.0, silence);
                let tunnel = Tunnel { opening, service, watch, idle, progress, _slot: slot, _lease: lease };
                return Ok(Reply::Opened(response, Box::new(tunnel)));
            }
            Failure::Broken
        }
        // Nobody asked for another protocol. Where one answer ends that is none, the next one begins nowhere.
        (Ok((response, mut lease)), ..) if is_switching(&response) || !is_framed_once(&response) => {
            lease.spend();
            Failure::Broken
        }
        (Ok((mut response, lease)), opening, stream) => {
            // Whatever version the service speaks, the gateway speaks its own (RFC 9112 section 2.3).
            let version = std::mem::replace(response.version_mut(), Version::HTTP_11);
            let closes = opening.is_some();
            return Ok(Reply::Forwarded(Answered {
                response,
                version,
                lease,
                slot,
                silence,
                uploaded: progress,
                stream,
                closes,
            }));
        }
        (Err(failure), ..) => failure,
    };
    if let Some(broken) = progress.broken() {
        return Err(Box::new(Denial::broken(broken)));
    }
    Err(Box::new(match failure {
        Failure::Down(left) => Denial::of(CheckId::UpstreamAvailable).retry_after(left.as_secs().max(1)),
        Failure::Unreachable | Failure::Broken => Denial::of(CheckId::UpstreamReachable),
        Failure::Slow => Denial::of(CheckId::UpstreamTimely),
    }))
}

/// Whether it has one end: chunks and a length, or another coding than chunks, leave who reads it to choose (RFC 9112 section 6.3).
fn is_framed_once(response: &Response<Incoming>) -> bool {
    // The library reads `2, 2` as 2, and others do not; and of an answer without a body it reads none.
    let is_number = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    let mut lengths = response.headers().get_all(CONTENT_LENGTH).iter();
    let is_one = lengths.next().is_none_or(is_number) && lengths.next().is_none();
    // What has a length has no chunks.
    is_one && (response.body().size_hint().exact().is_some() || framing(response.headers()).is_ok())
}

fn is_switching(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}
