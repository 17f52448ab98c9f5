//! Metrics as OpenTelemetry collectors read them: the few messages of `opentelemetry/proto/metrics/v1` that are needed, in
//! the wire format of Protocol Buffers.
use crate::family::{Constant, Family, Kind, Labels, Value};
use crate::histogram::{BUCKETS, Counted};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// A moment, in nanoseconds since 1970.
pub type Nanos = u64;

/// An `ExportMetricsServiceRequest` with all families.
pub(crate) fn request(
    scope: &'static str,
    families: &[Family],
    constant: &Constant,
    resource: &[(String, String)],
    (began, now): (Nanos, Nanos),
) -> Vec<u8> {
    let mut metrics = Message::scope(scope);
    for family in families {
        metrics.message(2, |metric| family.write(metric, constant, began, now));
    }
    metrics.of_resource(resource)
}

impl Family {
    fn write(&self, metric: &mut Message, constant: &Constant, began: Nanos, now: Nanos) {
        metric.text(1, self.name);
        metric.text(2, self.help);
        let (field, cumulative) = match self.kind {
            Kind::Gauge => (5, false),
            Kind::Counter => (7, true),
            Kind::Histogram => (9, true),
        };
        metric.message(field, |data| {
            for (labels, value) in &self.samples {
                data.message(1, |point| {
                    let field = match value {
                        Value::Number(number) => number_point(point, labels, *number, began, now),
                        Value::Histogram(counted) => histogram_point(point, labels, counted, began, now),
                    };
                    for (name, value) in constant.labels() {
                        point.attribute(field, name, value);
                    }
                });
            }
            if cumulative {
                data.number(2, CUMULATIVE);
            }
            if self.kind == Kind::Counter {
                data.number(3, 1);
            }
        });
    }
}

/// Both tell the field that labels are in.
fn number_point(point: &mut Message, labels: &Labels, number: u64, began: Nanos, now: Nanos) -> u64 {
    point.fixed(2, began.to_le_bytes());
    point.fixed(3, now.to_le_bytes());
    point.fixed(6, number.to_le_bytes());
    for (name, value) in labels {
        point.attribute(7, name, value);
    }
    7
}

fn histogram_point(point: &mut Message, labels: &Labels, counted: &Counted, began: Nanos, now: Nanos) -> u64 {
    point.fixed(2, began.to_le_bytes());
    point.fixed(3, now.to_le_bytes());
    point.fixed(4, counted.total.to_le_bytes());
    point.fixed(5, counted.seconds.to_le_bytes());
    let counts: Vec<u8> = counted.counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    point.octets(6, &counts);
    #[expect(clippy::cast_precision_loss, reason = "these are exact in 52 bits")]
    let bounds: Vec<u8> = BUCKETS.iter().flat_map(|micros| (*micros as f64 / 1e6).to_le_bytes()).collect();
    point.octets(7, &bounds);
    for (name, value) in labels {
        point.attribute(9, name, value);
    }
    9
}

/// A message of Protocol Buffers under construction.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// Begins what a scope, which is a program of this version, tells.
    pub fn scope(name: &'static str) -> Self {
        let mut all = Self::default();
        all.message(1, |scope| {
            scope.text(1, name);
            scope.text(2, env!("CARGO_PKG_VERSION"));
        });
        all
    }

    /// A request of which this scope is all.
    pub fn of_resource(&self, resource: &[(String, String)]) -> Vec<u8> {
        let mut request = Self::default();
        request.message(1, |all| {
            all.message(1, |written| {
                for (name, value) in resource {
                    written.attribute(1, name, value);
                }
            });
            all.octets(2, &self.0);
        });
        request.0
    }

    /// What was written until now.
    pub fn octets_so_far(&self) -> &[u8] {
        &self.0
    }

    /// An attribute that is a number.
    pub fn whole_number(&mut self, field: u64, name: &str, number: i64) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| any.number(3, number.cast_unsigned()));
        });
    }

    /// An attribute that is true or false.
    pub fn truth(&mut self, field: u64, name: &str, truth: bool) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| any.number(2, u64::from(truth)));
        });
    }

    /// A field that is a number without a sign.
    pub fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    /// A field of eight octets.
    pub fn fixed(&mut self, field: u64, octets: [u8; 8]) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&octets);
    }

    /// A field of octets.
    pub fn octets(&mut self, field: u64, octets: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(octets.len() as u64);
        self.0.extend_from_slice(octets);
    }

    /// A field of text.
    pub fn text(&mut self, field: u64, text: &str) {
        self.octets(field, text.as_bytes());
    }

    /// A field that is a message itself.
    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.octets(field, &inner.0);
    }

    /// An attribute that is a text.
    pub fn attribute(&mut self, field: u64, name: &str, value: &str) {
        self.message(field, |pair| {
            pair.text(1, name);
            pair.message(2, |any| any.text(1, value));
        });
    }

    fn varint(&mut self, mut number: u64) {
        loop {
            let low = u8::try_from(number & 0x7f).unwrap_or_default();
            number >>= 7;
            if number == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_written_as_the_format_has_them() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        message.message(3, |inner| inner.number(1, 1));
        assert_eq!(message.0, b"\x08\x96\x01\x12\x07testing\x1a\x02\x08\x01");
    }

    #[test]
    fn a_counter_is_a_monotonic_sum_from_the_beginning() {
        let labels: Labels = vec![("path", "/x".into())];
        let family = Family { name: "n", help: "h", kind: Kind::Counter, samples: vec![(labels, Value::Number(7))] };
        let written =
            request("s", &[family], &Constant::default(), &[("service.name".to_owned(), "s".to_owned())], (1, 2));
        let point = [
            b"\x11\x01\0\0\0\0\0\0\0\x19\x02\0\0\0\0\0\0\0\x31\x07\0\0\0\0\0\0\0".as_slice(),
            b"\x3a\x0c\x0a\x04path\x12\x04\x0a\x02/x",
        ]
        .concat();
        let sum = [b"\x0a\x29".as_slice(), &point, b"\x10\x02\x18\x01"].concat();
        let metric = [b"\x0a\x01n\x12\x01h\x3a\x2f".as_slice(), &sum].concat();
        assert!(written.windows(metric.len()).any(|part| part == metric), "{written:x?}");
    }
}
