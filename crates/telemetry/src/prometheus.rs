//! Metrics as Prometheus reads them (text format 0.0.4).
use crate::family::{Constant, Family, Kind, Value};
use crate::histogram::BUCKETS;
use std::fmt::Write as _;

/// All families, in the text format.
pub fn text(families: &[Family], constant: &Constant) -> String {
    let mut text = String::with_capacity(8 << 10);
    for Family { name, help, kind, samples } in families {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let own = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
            let constant = constant.labels().iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
            let labels: Vec<String> = own.chain(constant).collect();
            match value {
                Value::Number(number) => {
                    let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                    let _ = writeln!(text, "{name}{braces} {number}");
                }
                Value::Histogram(counted) => {
                    let with = |le: &str| {
                        let mut labels = labels.clone();
                        labels.push(format!("le=\"{le}\""));
                        labels.join(",")
                    };
                    let mut below = 0;
                    for (end, count) in BUCKETS.iter().zip(&counted.counts) {
                        below += count;
                        let _ = writeln!(text, "{name}_bucket{{{}}} {below}", with(&seconds(*end)));
                    }
                    let _ = writeln!(text, "{name}_bucket{{{}}} {}", with("+Inf"), counted.total);
                    let _ = writeln!(text, "{name}_sum{{{}}} {}", labels.join(","), counted.seconds);
                    let _ = writeln!(text, "{name}_count{{{}}} {}", labels.join(","), counted.total);
                }
            }
        }
    }
    text
}

/// Microseconds as seconds, without what a floating point number would add.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn buckets_are_named_in_seconds() {
        assert_eq!([50, 1_000, 2_500, 1_000_000].map(seconds), ["0.00005", "0.001", "0.0025", "1"]);
    }
}
