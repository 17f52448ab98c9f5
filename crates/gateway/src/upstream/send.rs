//! Sending a request to a service: to which of its addresses, and what is done where one does not take it.
use super::Upstream;
use super::health::{Failed, State};
use super::replica::{Lease, Replica, Unanswered};
use crate::body::{Progress, Uploading};
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How many connections that the service has closed meanwhile are tried before a fresh one is opened.
const STALE: usize = 2;

/// Why a service did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// None of its addresses is up; one is tried again after so long.
    Down(Duration),
    /// None of its addresses can be connected to.
    Unreachable,
    /// It broke off, or what it sent is no answer.
    Broken,
    /// It did not answer in time.
    Slow,
}

/// Addresses that a request is not sent to again, one bit for each.
#[derive(Clone, Copy, Default)]
struct Tried(u64);

/// The most addresses that a service can have.
pub(crate) const MOST_ADDRESSES: usize = 64;

impl Tried {
    fn add(&mut self, at: usize) {
        self.0 |= 1 << at;
    }

    fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }
}

impl Upstream {
    /// Sends a request to one of the addresses, and waits for the head of the answer. It is sent to another only while nothing of
    /// it was sent; or once more, if it has no body, and either may be repeated (RFC 9110 section 9.2.2) and went over a connection that
    /// the service closed instead of answering, or was refused unseen. What opens a WebSocket has a connection of its own.
    pub(crate) async fn send(
        &self,
        mut request: Request<Uploading>,
        progress: &Progress,
        opens: bool,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        let mut tried = Tried::default();
        let (mut stale, mut repeated) = (0, false);
        loop {
            let (at, replica) = self.choose(tried)?;
            let leased = if opens {
                Box::pin(replica.lease_to_upgrade(&self.connector)).await
            } else {
                replica.lease(&self.connector, stale >= STALE).await
            };
            let mut lease = match leased {
                Ok(lease) => lease,
                Err(error) => {
                    self.failed(replica, Failed::Address, &innermost(&error));
                    tried.add(at);
                    continue;
                }
            };
            let may_repeat = lease.reused && request.method().is_idempotent();
            let may_come_back = !repeated && (may_repeat || lease.is_shared());
            let again = may_come_back.then(|| repetition(&request, progress)).flatten();
            let sent = self.wait(pin!(lease.send(request, &self.scheme)), progress).await;
            let unanswered = match sent {
                Some(Ok(response)) => {
                    self.answered(replica, &response);
                    return Ok((response, lease));
                }
                Some(Err(unanswered)) => unanswered,
                None => {
                    self.failed(replica, Failed::Request, "it takes too long");
                    return Err(Failure::Slow);
                }
            };
            let is_refused = unanswered.is_refused();
            let repeats = is_refused || unanswered.is_sent_away() || (may_repeat && unanswered.is_cut_off());
            request = match self.again(replica, unanswered, lease.reused, progress) {
                Ok(unsent) => {
                    // A connection that was fresh, and yet took nothing.
                    if !lease.reused {
                        tried.add(at);
                    }
                    stale += 1;
                    unsent
                }
                Err(failure) => {
                    repeated = true;
                    // A connection on which one stream was refused serves others.
                    if !is_refused {
                        stale = STALE;
                    }
                    again.filter(|_| repeats).ok_or(failure)?
                }
            };
        }
    }

    /// The request, if nothing of it was sent.
    fn again(
        &self,
        replica: &Replica,
        unanswered: Unanswered,
        reused: bool,
        progress: &Progress,
    ) -> Result<Request<Uploading>, Failure> {
        // What the caller broke off is not the service's fault, and neither is a connection that was kept too long.
        if progress.broken().is_none() && !reused {
            let reason = unanswered.error.as_ref().map(|error| innermost(error));
            self.failed(replica, Failed::Request, &reason.unwrap_or_default());
        }
        unanswered.unsent.ok_or(Failure::Broken)
    }

    /// What an answer comes to, or nothing where it is too late.
    pub(super) async fn wait<T>(
        &self,
        mut asking: Pin<&mut impl Future<Output = T>>,
        progress: &Progress,
    ) -> Option<T> {
        let mut sent = progress.sent();
        loop {
            match timeout(self.timeout, asking.as_mut()).await {
                Ok(answer) => return Some(answer),
                // The service cannot answer before it has the body, whose caller has a time of its own.
                Err(_) if progress.waits() || progress.sent() != sent => sent = progress.sent(),
                Err(_) => return None,
            }
        }
    }

    /// The address with the fewest requests under way, in turn among equals; one that has been out for long enough is tried.
    fn choose(&self, tried: Tried) -> Result<(usize, &Arc<Replica>), Failure> {
        let turn = if self.replicas.len() > 1 { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut best: Option<(usize, &Arc<Replica>)> = None;
        let (mut last_resort, mut soonest) = (None, None);
        for offset in 0..self.replicas.len() {
            let at = turn.wrapping_add(offset) % self.replicas.len();
            let Some(replica) = self.replicas.get(at).filter(|_| !tried.has(at)) else { continue };
            match replica.health.state() {
                State::Up => {
                    if best.is_none_or(|(_, other)| replica.under_way() < other.under_way()) {
                        best = Some((at, replica));
                    }
                }
                State::Due(due) if replica.health.try_again(due, &self.circuit) => return Ok((at, replica)),
                State::Due(_) => {}
                State::LastResort => last_resort = Some((at, replica)),
                State::Out(left) => {
                    let left = left.or(self.probe.as_ref().map(|probe| probe.interval)).unwrap_or(self.circuit.trip);
                    soonest = Some(soonest.map_or(left, |soonest: Duration| soonest.min(left)));
                }
            }
        }
        match (best.or(last_resort), soonest) {
            (Some(best), _) => Ok(best),
            (None, _) if tried.0 != 0 => Err(Failure::Unreachable),
            (None, soonest) => Err(Failure::Down(soonest.unwrap_or(self.circuit.trip))),
        }
    }

    fn answered(&self, replica: &Replica, response: &Response<Incoming>) {
        if self.circuit.statuses.contains(&response.status()) {
            self.failed(replica, Failed::Address, response.status().as_str());
        } else if replica.health.succeeded() {
            tracing::info!(upstream.name = %self.name, upstream.address = %replica.target, "a service answers again");
        }
    }

    fn failed(&self, replica: &Replica, what: Failed, reason: &str) {
        let (name, address) = (&self.name, &replica.target);
        tracing::warn!(upstream.name = %name, upstream.address = %address, reason, "a service does not answer");
        if replica.health.failed(what, &self.circuit) {
            let seconds = self.circuit.trip.as_secs();
            tracing::warn!(upstream.name = %name, upstream.address = %address, seconds, "it is not asked for a while");
        }
    }
}

/// The same request once more, if it has no body.
fn repetition(request: &Request<Uploading>, progress: &Progress) -> Option<Request<Uploading>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Uploading::none(progress.clone()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// Why something failed, without the words that only say where.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
