//! Recorded requests as OpenTelemetry collectors read them: the messages of `opentelemetry/proto/trace/v1`.
use super::Began;
use super::otlp::{Message, Nanos};
use super::trace::{Got, Handled, Record, SpanId, Trace};
use crate::Sidecar;

/// Of `SpanKind`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// An `ExportTraceServiceRequest` with these requests; `now` is this moment by both clocks.
pub(super) fn request(
    records: &[Record],
    sidecar: &Sidecar,
    resource: &[(String, String)],
    now: (Began, Nanos),
) -> Vec<u8> {
    let mut scope = Message::scope();
    for record in records {
        record.write(&mut scope, sidecar, now);
    }
    scope.of_resource(resource)
}

impl Record {
    fn write(&self, scope: &mut Message, sidecar: &Sidecar, now: (Began, Nanos)) {
        let Self { trace, method, path, status, began, ended } = self;
        let span = |id: SpanId, parent: Option<SpanId>, name: &str, times: [Began; 2], kind: u64| {
            let mut span = Message::default();
            span.octets(1, &trace.id);
            span.octets(2, &id);
            if let Some(parent) = parent {
                span.octets(4, &parent);
            }
            span.text(5, name);
            span.number(6, kind);
            let [start, end] = times.map(|time| time.unix(now).to_le_bytes());
            span.fixed(7, start);
            span.fixed(8, end);
            span
        };
        let Trace { root, handle, parent, reading, handling, handled, .. } = trace;
        let mut whole = span(*root, *parent, "Handle incoming request", [*began, *ended], SERVER);
        whole.attribute(9, "http.request.method", method);
        if *path != super::Path::Other {
            whole.attribute(9, "http.route", path.as_str());
        }
        whole.whole_number(9, "http.response.status_code", i64::from(*status));
        if *status >= 500 {
            whole.message(15, |status| status.number(3, ERROR));
        }
        scope.octets(2, whole.octets_so_far());
        if let Some(reading) = reading {
            let times = [*reading, handling.unwrap_or(*ended)];
            let read = span(sidecar.tracer().id(), Some(*root), "Deserialize request", times, INTERNAL);
            scope.octets(2, read.octets_so_far());
        }
        if let (Some(handling), Some(handled)) = (handling, handled) {
            let name = format!("Handle {}", path.as_str());
            let mut own = span(*handle, Some(*root), &name, [*handling, *ended], INTERNAL);
            handled.write(&mut own, sidecar);
            scope.octets(2, own.octets_so_far());
        }
    }
}

impl Handled {
    fn write(&self, span: &mut Message, sidecar: &Sidecar) {
        let provider = sidecar.providers().at(self.provider).map_or("", |provider| provider.name());
        span.attribute(9, "texas.identity_provider", provider);
        if let Some(target) = &self.target {
            span.attribute(9, "texas.target", target);
            span.truth(9, "texas.target_normalized", self.normalized);
            span.truth(9, "texas.cache_force_skipped", self.force_skipped);
        }
        for (name, value) in
            [("texas.resource", &self.resource), ("texas.authorization_details", &self.authorization_details)]
        {
            if let Some(value) = value {
                span.attribute(9, name, value);
            }
        }
        if let Some(Got { cached, left, kept }) = self.got {
            span.truth(9, "texas.cache_hit", cached);
            span.whole_number(9, "texas.cache_ttl_seconds", kept);
            span.whole_number(9, "texas.token_expires_in_seconds", left);
        }
    }
}
