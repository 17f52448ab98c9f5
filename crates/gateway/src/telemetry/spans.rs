//! Recorded requests as OpenTelemetry collectors read them: a span for the request, and one for the service's part of it.
use super::CALLER_GONE;
use decision::CheckId;
use std::sync::Arc;
use telemetry::{Began, Context, Message, Moment, SpanId, SpanKind};

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// A recorded request that is over.
pub(crate) struct Traced {
    pub(crate) context: Context,
    pub(crate) service: SpanId,
    pub(crate) method: &'static str,
    /// `orders/read`.
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) decision_id: String,
    pub(crate) status: u16,
    pub(crate) check: Option<CheckId>,
    pub(crate) began: Began,
    /// When it was forwarded, and when the service's answer began.
    pub(crate) forwarded: Option<[Began; 2]>,
    pub(crate) ended: Began,
}

/// Writes these; whether there are any.
pub(super) fn write(records: &[Traced], scope: &mut Message, now: Moment) -> bool {
    for record in records {
        record.write(scope, now);
    }
    !records.is_empty()
}

impl Traced {
    fn write(&self, scope: &mut Message, now: Moment) {
        let name = match &self.operation {
            Some(operation) => format!("{} {operation}", self.method),
            None => self.method.to_owned(),
        };
        let (context, own) = (self.context, self.context.span());
        let times = [self.began, self.ended];
        let mut span = context.begin(own, context.parent(), (&name, SpanKind::Server), times, now);
        span.attribute(9, "http.request.method", self.method);
        if let Some(operation) = &self.operation {
            span.attribute(9, "deputize.operation", operation);
        }
        span.attribute(9, "deputize.decision_id", &self.decision_id);
        if let Some(check) = self.check {
            span.attribute(9, "deputize.check", check.entry().id);
        }
        if self.status != CALLER_GONE {
            span.whole_number(9, "http.response.status_code", i64::from(self.status));
        }
        if self.status >= 500 {
            span.message(15, |status| status.number(3, ERROR));
        }
        scope.octets(2, span.octets_so_far());
        if let Some(times) = self.forwarded {
            let mut span = context.begin(self.service, Some(own), (self.method, SpanKind::Client), times, now);
            span.attribute(9, "http.request.method", self.method);
            scope.octets(2, span.octets_so_far());
        }
    }
}
