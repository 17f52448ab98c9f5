//! What programs tell of themselves: metrics, as Prometheus reads them and as OpenTelemetry collectors are pushed them, and traces
//! (W3C Trace Context).
//!
//! On the way of a request there are atomic additions alone; everything that is exported is put together off it. A program is a
//! [`Source`] of [families](Family); [`Push`] reads the environment and pushes; [`prometheus::text`] is what a scrape gets.
//!
//! ```
//! use deputize_telemetry::{Began, Constant, Family, Histogram, Labels, prometheus};
//!
//! let answers = Histogram::default();
//! answers.observe(Began::now().elapsed());
//! let labels: Labels = vec![("route", "orders/read".into())];
//! let family = Family::of_histograms("answers_seconds", "Time to answer", [(labels, answers.counted())].into_iter());
//! let text = prometheus::text(&[family], &Constant::default());
//! assert!(text.contains("answers_seconds_count{route=\"orders/read\"} 1"));
//! ```
#![warn(missing_docs)]

mod environment;
mod family;
mod histogram;
mod moment;
mod otlp;
pub mod prometheus;
mod push;
mod trace;

pub use environment::{VariableError, Variables, resource};
pub use family::{Constant, Family, Kind, Labels, Value};
pub use histogram::{Counted, Histogram};
pub use moment::{Began, Moment};
pub use otlp::{Message, Nanos};
pub use push::{Collector, Protocol, Push, Pushing, Source};
pub use trace::{Context, Sampling, SpanId, SpanKind, Tracer, recorded, shown};
