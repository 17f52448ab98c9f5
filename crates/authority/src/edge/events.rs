//! The stream of cut-offs: server-sent events, one for each change that ends tokens for the subscriber, in the order of the
//! change log. `id` is the change's number, and `Last-Event-ID` continues after it.
//!
//! | event | data |
//! |---|---|
//! | `cut-off` | a security event token (RFC 8417); `id` stands with the last one of its change |
//! | `current` | none: everything up to `id` has been told. Sent after each part, and as the heartbeat |
use super::endpoint::{BEARER, Caller, Endpoint, Readers, Route};
use super::{bearer, json};
use crate::Authority;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use decision::Timestamp;
use deputize_core::cut_off::Entry;
use deputize_core::events::{self, LONGEST_LIFE, Subscriber};
use deputize_core::id::{AppId, TenantId};
use deputize_core::ledger::Unavailable;
use http_body_util::channel::{Channel, Sender};
use oauth::{Parameter, Parameters};
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a subscriber may take for one part; after that it is cut off, and resumes where it was.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes in one part.
const PART: u32 = 64;
/// Parts that wait for a subscriber.
const BUFFERED: usize = 4;
/// Streams of one application in one tenant: its instances.
const EACH: usize = 256;
/// Streams of all.
const ALL: usize = 2_048;
/// How often it is noted, for all processes, that an application hears of cut-offs, in seconds.
const NOTED: i64 = 20;

/// What the streams of an authority share.
pub(crate) struct Streams {
    open: Mutex<HashMap<(TenantId, AppId), usize>>,
    /// Many instances of one application read the same tokens.
    told: Cache<(u64, TenantId, AppId), Arc<str>>,
    /// When it was last noted that an application hears of cut-offs.
    noted: Cache<(TenantId, AppId), Timestamp>,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), told: Cache::new(4_096), noted: Cache::new(4_096) })
    }

    fn admit(self: &Arc<Self>, subscriber: &Subscriber) -> Option<Seat> {
        let key = (subscriber.tenant(), subscriber.client());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (open.values().sum::<usize>(), open.get(&key).copied().unwrap_or_default());
        if all >= ALL || own >= EACH {
            return None;
        }
        open.insert(key, own + 1);
        Some(Seat { streams: Arc::clone(self), key })
    }

    /// Whether it is time to note that a subscriber was told everything.
    fn is_due(&self, subscriber: &Subscriber, now: Timestamp) -> bool {
        let key = (subscriber.tenant(), subscriber.client());
        let due = self.noted.get(&key).is_none_or(|at| now.since(at) >= NOTED || at > now);
        if due {
            self.noted.insert(key, now);
        }
        due
    }
}

/// One open stream.
struct Seat {
    streams: Arc<Streams>,
    key: (TenantId, AppId),
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.key) {
            *own = own.saturating_sub(1);
        }
        open.retain(|_, own| *own > 0);
    }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Events",
    purpose: "The stream of cut-offs that concern tokens for the caller: server-sent events, each a security event token.",
    routes: &[Route { path: "/{tenant}/events", handler: || any(events) }],
    methods: &["GET"],
    parameters: &[&[Parameters {
        when: "",
        each: &[
            BEARER,
            Parameter::header(
                "last-event-id",
                "The last `id` that was told; the stream continues after it. Left out: from the beginning.",
            ),
        ],
    }]],
    caller: Caller::Program,
    readers: Readers::Any,
    notes: &[
        "The token is app-only, and has the app role `Events.Read` of this authority.",
        "`cut-off` carries a token (RFC 8417); `current` says that all up to its `id` was told, and comes each second.",
    ],
}];

pub(super) async fn events(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let headers = request.headers();
    let subscriber = bearer::token(headers).and_then(|token| events::subscribe(&authority.ports, &tenant, token));
    let subscriber = match subscriber {
        Ok(subscriber) => subscriber,
        Err(denial) => return bearer::refuse(&denial),
    };
    // A place that is no number is nobody's: the subscriber is told everything.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let Some(seat) = authority.streams.admit(&subscriber) else {
        let text = "too many streams are open; close some, or try again later";
        let body = serde_json::json!({"error": "temporarily_unavailable", "error_description": text});
        let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &body);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    };
    let (to, body) = Channel::<Bytes, Infallible>::new(BUFFERED);
    // It ends when its subscriber goes, is too slow, or may read no longer.
    tokio::spawn(async move {
        tell(&authority, &subscriber, last, to).await;
        drop(seat);
    });
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn tell(authority: &Authority, subscriber: &Subscriber, last: u64, mut to: Sender<Bytes, Infallible>) {
    let ledger = &authority.ports.ledger;
    let mut after = last;
    let mut fresh = true;
    // Whoever reads on after an error does so in a new stream, from the last place that was told.
    while let Ok(part) = next(authority, subscriber, after, fresh).await {
        (after, fresh) = (part.place, false);
        if !matches!(timeout(PATIENCE, to.send_data(part.text.into())).await, Ok(Ok(()))) {
            return;
        }
        if part.whole {
            note(authority, subscriber);
            tokio::select! {
                () = ledger.changed(after) => {}
                () = sleep(HEARTBEAT) => {}
            }
        }
    }
}

/// Notes that a subscriber was told everything, so that what is issued for it may live long. Nobody waits for it.
fn note(authority: &Authority, subscriber: &Subscriber) {
    let now = authority.ports.now();
    if authority.streams.is_due(subscriber, now) {
        let (ledger, heard) = (Arc::clone(&authority.ports.ledger), subscriber.heard(now));
        // What cannot be noted now is noted later; until then tokens live as long as usual.
        tokio::spawn(async move { ledger.commit(vec![heard]).await });
    }
}

struct Part {
    text: String,
    place: u64,
    /// Whether this was all there is.
    whole: bool,
}

async fn next(authority: &Authority, subscriber: &Subscriber, after: u64, fresh: bool) -> Result<Part, Unavailable> {
    let ports = &authority.ports;
    events::stands(ports, subscriber).map_err(|_| Unavailable)?;
    if !fresh && ports.ledger.view() == after {
        return Ok(Part { text: current(after), place: after, whole: true });
    }
    let mut logged = ports.ledger.cut_offs(subscriber.tenant(), after, PART).await?;
    // A place beyond the log, or one whose successor is forgotten: what lies between cannot be told, so all is told.
    let lost = after > logged.newest || after > 0 && after.saturating_add(1) < logged.oldest;
    let from = if lost { 0 } else { after };
    if lost {
        logged = ports.ledger.cut_offs(subscriber.tenant(), 0, PART).await?;
    }
    let relevant = ports.now().plus(-LONGEST_LIFE);
    let mut text = String::new();
    let mut place = from;
    for entry in &logged.entries {
        place = entry.sequence;
        if entry.at >= relevant {
            text.push_str(&told(authority, subscriber, entry)?);
        }
    }
    if !logged.more {
        place = logged.newest;
        text.push_str(&current(place));
    }
    Ok(Part { text, place, whole: !logged.more })
}

fn current(place: u64) -> String {
    format!("event: current\nid: {place}\ndata:\n\n")
}

fn told(authority: &Authority, subscriber: &Subscriber, entry: &Entry) -> Result<Arc<str>, Unavailable> {
    authority.streams.told.get_or_insert_with(&(entry.sequence, subscriber.tenant(), subscriber.client()), || {
        let tokens = events::tokens(&authority.ports, subscriber, entry)?;
        let mut text = String::new();
        for (n, token) in tokens.iter().enumerate() {
            text.push_str("event: cut-off\n");
            // The place counts once all of its change is told.
            if n + 1 == tokens.len() {
                let _ = writeln!(text, "id: {}", entry.sequence);
            }
            let _ = writeln!(text, "data: {}\n", token.expose());
        }
        Ok(text.into())
    })
}
