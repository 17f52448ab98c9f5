//! What is recorded of a request: what it asked for, and how it went.
use super::{Began, Path};
use crate::decode::ProviderId;
use http::{HeaderMap, Method};
use telemetry::{Context, SpanId, recorded, shown};

/// Records requests.
pub(crate) type Tracer = telemetry::Tracer<Record>;

/// A request that is recorded.
pub(crate) struct Trace {
    pub(super) context: Context,
    pub(super) handle: SpanId,
    pub(super) reading: Option<Began>,
    pub(super) handling: Option<Began>,
    pub(super) handled: Option<Handled>,
}

/// What was asked for, and how it went.
pub(crate) struct Handled {
    pub(super) provider: ProviderId,
    pub(super) target: Option<String>,
    pub(super) normalized: bool,
    pub(super) resource: Option<String>,
    pub(super) authorization_details: Option<String>,
    pub(super) force_skipped: bool,
    pub(super) got: Option<Got>,
}

/// A token that was got.
pub(crate) struct Got {
    /// Whether it was held already.
    pub(crate) cached: bool,
    /// The seconds that it has left.
    pub(crate) left: i64,
    /// The seconds that it is held for.
    pub(crate) kept: i64,
}

/// A recorded request that is over.
pub(crate) struct Record {
    pub(super) trace: Trace,
    pub(super) method: &'static str,
    pub(super) path: Path,
    pub(super) status: u16,
    pub(super) began: Began,
    pub(super) ended: Began,
}

impl Record {
    /// Of a request that is over now.
    pub(crate) fn ended(trace: Trace, method: &Method, path: Path, status: u16, began: Began) -> Self {
        Self { trace, method: recorded(method), path, status, began, ended: Began::now() }
    }
}

impl Trace {
    /// Begins to record a request, if it is one of those that are.
    pub(crate) fn begin(tracer: &Tracer, headers: &HeaderMap) -> Option<Self> {
        let context = tracer.begin(headers)?;
        Some(Self { context, handle: tracer.id(), reading: None, handling: None, handled: None })
    }

    /// Makes what is asked upstream part of this request.
    pub(crate) fn lead(&self, headers: &mut HeaderMap) {
        self.context.lead(self.handle, headers);
    }

    /// Its body is read from now on.
    pub(crate) fn reads(&mut self) {
        self.reading = Some(Began::now());
    }

    /// Its body is read: this is asked for.
    pub(crate) fn handles(&mut self, provider: ProviderId) -> &mut Handled {
        self.handling = Some(Began::now());
        self.handled.insert(Handled {
            provider,
            target: None,
            normalized: false,
            resource: None,
            authorization_details: None,
            force_skipped: false,
            got: None,
        })
    }

    /// A token was got for it.
    pub(crate) fn got(&mut self, got: Got) {
        if let Some(handled) = &mut self.handled {
            handled.got = Some(got);
        }
    }
}

impl Handled {
    /// What the token is for.
    pub(crate) fn asks(&mut self, target: &str, normalized: bool, force_skipped: bool) -> &mut Self {
        (self.target, self.normalized, self.force_skipped) = (Some(shown(target)), normalized, force_skipped);
        self
    }

    /// And what else is said of it.
    pub(crate) fn with(&mut self, resource: Option<&str>, authorization_details: Option<&str>) {
        self.resource = resource.map(shown);
        self.authorization_details = authorization_details.map(shown);
    }
}
