//! Recorded requests as OpenTelemetry collectors read them: the messages of `opentelemetry/proto/trace/v1`.
use super::trace::{Got, Handled, Record, Trace};
use super::{Path, family};
use crate::Sidecar;
use telemetry::{Constant, Family, Message, Moment, Source, SpanKind};

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

impl Source for Sidecar {
    const SCOPE: &'static str = "deputize-sidecar";

    fn metrics(&self) -> Vec<Family> {
        family::all(self)
    }

    fn labels(&self) -> &Constant {
        self.constant()
    }

    fn write_spans(&self, scope: &mut Message, now: Moment) -> bool {
        let records = self.tracer().take();
        for record in &records {
            record.write(scope, self, now);
        }
        !records.is_empty()
    }
}

impl Record {
    fn write(&self, scope: &mut Message, sidecar: &Sidecar, now: Moment) {
        let Self { trace, method, path, status, began, ended } = self;
        let Trace { context, handle, reading, handling, handled } = trace;
        let root = context.span();
        let all = ("Handle incoming request", SpanKind::Server);
        let mut whole = context.begin(root, context.parent(), all, [*began, *ended], now);
        let inner = |id, name: &str, times| context.begin(id, Some(root), (name, SpanKind::Internal), times, now);
        whole.attribute(9, "http.request.method", method);
        if *path != Path::Other {
            whole.attribute(9, "http.route", path.as_str());
        }
        whole.whole_number(9, "http.response.status_code", i64::from(*status));
        if *status >= 500 {
            whole.message(15, |status| status.number(3, ERROR));
        }
        scope.octets(2, whole.octets_so_far());
        if let Some(reading) = reading {
            let times = [*reading, handling.unwrap_or(*ended)];
            let read = inner(sidecar.tracer().id(), "Deserialize request", times);
            scope.octets(2, read.octets_so_far());
        }
        if let (Some(handling), Some(handled)) = (handling, handled) {
            let name = format!("Handle {}", path.as_str());
            let mut own = inner(*handle, &name, [*handling, *ended]);
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
