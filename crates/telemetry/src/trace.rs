//! Traces of requests (W3C Trace Context): whether one is recorded is decided before anything is built, and what is recorded waits,
//! bounded in number, to be exported off the way of requests.
use crate::otlp::Message;
use crate::{Began, Moment};
use http::{HeaderMap, HeaderValue, Method};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many requests wait for an export; what comes beyond is not recorded.
const MOST: usize = 2_048;
/// What an attribute shows of a text that a caller sent.
const SHOWN: usize = 256;
const TRACEPARENT: &str = "traceparent";

/// Which requests are recorded (`OTEL_TRACES_SAMPLER`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether who calls decides for its own traces.
    pub parent_based: bool,
    /// The share of all other traces, from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampling {
    /// What callers decide, and every trace that begins here.
    fn default() -> Self {
        Self { parent_based: true, ratio: 1.0 }
    }
}

/// The id of a span.
pub type SpanId = [u8; 8];

/// The request that this one is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: u128,
    span: SpanId,
    sampled: bool,
}

/// Where a recorded request stands in its trace.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    trace: [u8; 16],
    parent: Option<SpanId>,
    span: SpanId,
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside.
    Internal = 1,
    /// An answer to a request.
    Server = 2,
    /// A request to somebody else.
    Client = 3,
}

/// Records requests as `R`.
#[derive(Debug)]
pub struct Tracer<R> {
    sampling: Option<Sampling>,
    state: AtomicU64,
    count: AtomicUsize,
    waiting: Mutex<Vec<R>>,
    dropped: AtomicU64,
}

impl<R> Tracer<R> {
    /// Without `sampling` nothing is ever recorded. Ids need only be different, so one unpredictable `seed` is enough.
    pub fn new(sampling: Option<Sampling>, seed: u64) -> Self {
        Self {
            sampling,
            state: AtomicU64::new(seed),
            count: AtomicUsize::new(0),
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Begins to record a request, if it is one of those that are.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        let sampling = self.sampling?;
        let parent = parent(headers);
        let trace = match parent {
            Some(parent) => parent.trace,
            None => u128::from(self.number()) << 64 | u128::from(self.number()),
        };
        let sampled = match parent {
            Some(parent) if sampling.parent_based => parent.sampled,
            _ => is_of_share(trace, sampling.ratio),
        };
        if !sampled {
            return None;
        }
        if self.count.load(Ordering::Relaxed) >= MOST {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Context { trace: trace.to_be_bytes(), parent: parent.map(|parent| parent.span), span: self.id() })
    }

    /// Keeps what was recorded of a request that is over.
    pub fn end(&self, record: R) {
        let mut waiting = self.waiting();
        if waiting.len() < MOST {
            waiting.push(record);
            self.count.store(waiting.len(), Ordering::Relaxed);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what waits for an export.
    pub fn take(&self) -> Vec<R> {
        let mut waiting = self.waiting();
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut *waiting)
    }

    /// How many requests were to be recorded and were not, for want of space.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// An id of a span; never 0, which is none.
    pub fn id(&self) -> SpanId {
        self.number().max(1).to_be_bytes()
    }

    /// The next of a sequence whose numbers are all different (SplitMix64).
    fn number(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    // For a few instructions, never across an await.
    fn waiting(&self) -> MutexGuard<'_, Vec<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The span of the request itself.
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// The span that the request is part of.
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// Makes what is asked of others part of this request, below its span `span`.
    pub fn lead(&self, span: SpanId, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        for octet in self.trace {
            let _ = write!(text, "{octet:02x}");
        }
        text.push('-');
        for octet in span {
            let _ = write!(text, "{octet:02x}");
        }
        text.push_str("-01");
        // A state goes with the trace that it is of (section 3.3).
        if self.parent.is_none() {
            headers.remove("tracestate");
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Begins a span of this trace, for attributes (field 9) and a status (field 15) to be added.
    pub fn begin(
        &self,
        id: SpanId,
        parent: Option<SpanId>,
        (name, kind): (&str, SpanKind),
        times: [Began; 2],
        now: Moment,
    ) -> Message {
        let mut span = Message::default();
        span.octets(1, &self.trace);
        span.octets(2, &id);
        if let Some(parent) = parent {
            span.octets(4, &parent);
        }
        span.text(5, name);
        span.number(6, kind as u64);
        let [start, end] = times.map(|time| time.unix(now).to_le_bytes());
        span.fixed(7, start);
        span.fixed(8, end);
        span
    }
}

/// The registered methods (RFC 9110 section 9.1, RFC 5789). All others are one: callers make them up, as long as they like.
pub fn recorded(method: &Method) -> &'static str {
    let known = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// What is told of a text that a caller sent, without its end where it is long. Applications put tokens into wrong fields.
pub fn shown(text: &str) -> String {
    if text.contains("eyJ") { "(withheld)".to_owned() } else { text.chars().take(SHOWN).collect() }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a share of many, by the random end of the id"
)]
fn is_of_share(trace: u128, ratio: f64) -> bool {
    ratio >= 1.0 || (trace as u64 as f64) < ratio * u64::MAX as f64
}

/// The `traceparent` of a request; one that is malformed, or said twice, is none.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let later = version != "00";
    let lengths = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    let hex = |text: &str| text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    if version == "ff" || !lengths || ![version, trace, span, flags].into_iter().all(hex) {
        return None;
    }
    if !later && parts.next().is_some() {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Parent { trace, span: span.to_be_bytes(), sampled: flags & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (http::HeaderName::from_static(TRACEPARENT), value.parse().unwrap())).collect()
    }

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn recording(sampling: Option<Sampling>, seed: u64) -> Tracer<Context> {
        Tracer::new(sampling, seed)
    }

    #[test]
    fn who_calls_decides_whether_its_trace_is_recorded() {
        let tracer = recording(Some(Sampling { parent_based: true, ratio: 0.0 }), 1);
        let trace = tracer.begin(&with(&[SAMPLED])).unwrap();
        let mut headers = HeaderMap::new();
        trace.lead(trace.span(), &mut headers);
        let upstream = parent(&headers).unwrap();
        assert_eq!((upstream.trace, upstream.sampled), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, true));
        assert_eq!((upstream.span, trace.parent()), (trace.span(), Some(*b"\xb7\xadkqi 31")));
        assert!(tracer.begin(&with(&[NOT])).is_none());
        assert!(tracer.begin(&HeaderMap::new()).is_none());
        let all = recording(Some(Sampling::default()), 1);
        assert!(all.begin(&with(&[NOT])).is_none());
        assert!(all.begin(&HeaderMap::new()).is_some_and(|trace| trace.parent.is_none()));
        let regardless = recording(Some(Sampling { parent_based: false, ratio: 1.0 }), 1);
        assert!(regardless.begin(&with(&[NOT])).is_some());
        assert!(recording(None, 1).begin(&with(&[SAMPLED])).is_none());
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        for other in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parent(&with(&[other])), None, "{other}");
        }
        assert_eq!(parent(&with(&[SAMPLED, SAMPLED])), None);
        assert!(parent(&with(&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"])).is_some());
    }

    #[test]
    fn a_share_is_about_that_share_and_what_waits_is_bounded() {
        let tracer = recording(Some(Sampling { parent_based: true, ratio: 0.25 }), 9);
        let recorded = (0..4_000).filter(|_| tracer.begin(&HeaderMap::new()).is_some()).count();
        assert!((850..1_150).contains(&recorded), "{recorded}");
        let tracer = recording(Some(Sampling::default()), 9);
        for _ in 0..MOST + 10 {
            if let Some(trace) = tracer.begin(&HeaderMap::new()) {
                tracer.end(trace);
            }
        }
        assert_eq!((tracer.take().len(), tracer.dropped()), (MOST, 10));
        assert!(tracer.begin(&HeaderMap::new()).is_some(), "there is space again");
    }

    #[test]
    fn the_state_of_another_trace_goes_no_further() {
        let tracer = recording(Some(Sampling::default()), 1);
        for (parents, kept) in [(&[SAMPLED][..], true), (&[], false), (&["00-x"], false), (&[SAMPLED, SAMPLED], false)]
        {
            let mut headers = with(parents);
            headers.append("tracestate", HeaderValue::from_static("vendor=1"));
            let trace = tracer.begin(&headers).unwrap();
            trace.lead(trace.span(), &mut headers);
            assert_eq!((headers.contains_key("tracestate"), parent(&headers).is_some()), (kept, true), "{parents:?}");
        }
    }

    #[test]
    fn a_method_that_a_caller_made_up_takes_no_space() {
        let long = "M".repeat(100_000);
        assert_eq!(
            ["POST", "get", &*long].map(|method| recorded(&method.parse().unwrap())),
            ["POST", "_OTHER", "_OTHER"]
        );
    }

    #[test]
    fn a_token_in_a_wrong_field_is_withheld() {
        assert_eq!(shown("api://a/.default"), "api://a/.default");
        assert_eq!(shown("Bearer eyJhbGciOi"), "(withheld)");
        assert_eq!(shown(&"a".repeat(1_000)).len(), SHOWN);
    }
}
