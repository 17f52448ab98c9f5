//! Metrics at one moment: what every way of exporting them starts from.
use super::histogram::Counted;
use super::{Path, STATUSES, Telemetry};
use crate::Sidecar;
use crate::cut_offs::CutOffs;
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What a metric's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(crate) type Labels = Vec<(&'static str, Cow<'static, str>)>;

pub(super) enum Value {
    Number(u64),
    Histogram(Counted),
}

/// One metric, with all its labels.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(super) samples: Vec<(Labels, Value)>,
}

/// Labels that every metric has: what the metrics are of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Constant(Vec<(String, String)>);

impl Constant {
    /// Names that metrics have labels of already; a scrape in which one occurs twice is refused whole.
    const TAKEN: [&str; 10] = [
        "path",
        "identity_provider",
        "request_type",
        "error_kind",
        "status_code",
        "issuer",
        "reason",
        "outcome",
        "cache_type",
        "le",
    ];

    /// Of attributes of a resource, whose names become such as labels may have.
    pub(crate) fn of(attributes: &[(String, String)]) -> Self {
        let mut labels: Vec<(String, String)> = Vec::new();
        for (name, value) in attributes {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let mut name: String = name.chars().map(plain).collect();
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                name.insert(0, '_');
            }
            let taken = Self::TAKEN.contains(&name.as_str()) || name.starts_with("__");
            if !name.is_empty() && !taken && labels.iter().all(|(known, _)| *known != name) {
                labels.push((name, value.clone()));
            }
        }
        Self(labels)
    }

    pub(super) fn labels(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Everything that a sidecar counts.
pub(crate) fn all(sidecar: &Sidecar) -> Vec<Family> {
    let telemetry = sidecar.telemetry();
    let mut families = telemetry.requests();
    families.push(refreshes(sidecar));
    families.extend(events(sidecar));
    let (own, users) = sidecar.tokens().by_subject();
    let of = |kind: &'static str, number| (vec![("cache_type", kind.into())], Value::Number(number));
    families.push(Family {
        name: "texas_token_cache_size",
        help: "Tokens that are held",
        kind: Kind::Gauge,
        samples: vec![of("token", own), of("token/exchange", users)],
    });
    let held = sidecar.tokens().counters();
    let plain =
        |name, help, kind, number| Family { name, help, kind, samples: vec![(Vec::new(), Value::Number(number))] };
    families.extend([
        plain("deputize_token_cache_entries", "Tokens that are held", Kind::Gauge, held.entries),
        plain("deputize_token_cache_bytes", "Memory that held tokens and refusals take", Kind::Gauge, held.bytes),
        plain("deputize_token_cache_misses", "Requests begun for want of a token", Kind::Counter, held.misses),
        plain("deputize_token_cache_joined", "Callers who shared a request", Kind::Counter, held.joined),
        plain("deputize_token_cache_negative_hits", "Refusals that were remembered", Kind::Counter, held.negative_hits),
        plain("deputize_token_cache_renewals", "Tokens renewed ahead", Kind::Counter, held.renewals),
        plain("deputize_token_cache_evictions", "Tokens pushed out for want of space", Kind::Counter, held.evictions),
        plain("deputize_token_cache_cut_off", "Tokens dropped by cut-offs", Kind::Counter, held.cut_off),
        plain(
            "deputize_token_cache_outdated",
            "Held tokens that were too old without word of cut-offs",
            Kind::Counter,
            held.outdated,
        ),
        plain(
            "deputize_traces_dropped",
            "Traces that were not recorded for want of space",
            Kind::Counter,
            sidecar.tracer().dropped(),
        ),
        plain("deputize_seen_token_bytes", "Memory that introspected tokens take", Kind::Gauge, sidecar.seen().bytes()),
    ]);
    families.retain(|family| !family.samples.is_empty());
    families
}

/// A stream of cut-offs: whose it is, and how it fares.
type Stream<'a> = (String, &'a Arc<CutOffs>, guard::EventsStatus);

/// How the streams of cut-offs fare.
fn events(sidecar: &Sidecar) -> Vec<Family> {
    let now = sidecar.clock().now();
    let streams = sidecar.providers().iter().filter_map(|provider| Some((provider.name(), provider.cut_offs()?)));
    let told: Vec<_> = streams.map(|(name, cut_offs)| (name.to_owned(), cut_offs, cut_offs.status())).collect();
    let family = |name, help, kind, number: &dyn Fn(&Stream<'_>) -> u64| {
        let sample = |stream| {
            let (name, ..): &(String, _, _) = stream;
            (vec![("identity_provider", name.clone().into())], Value::Number(number(stream)))
        };
        Family { name, help, kind, samples: told.iter().map(sample).collect() }
    };
    vec![
        family("deputize_events_current", "Whether word of cut-offs arrives", Kind::Gauge, &|(_, cut_offs, _)| {
            cut_offs.is_current(now).into()
        }),
        family("deputize_events_held", "Cut-offs that are kept", Kind::Gauge, &|(.., status)| status.held as u64),
        family("deputize_events_received", "Cut-offs that were told", Kind::Counter, &|(.., status)| status.received),
        family("deputize_events_failures", "Streams that failed or were lost", Kind::Counter, &|(.., status)| {
            status.failures
        }),
        family("deputize_events_refused", "Introspected tokens that were cut off", Kind::Counter, &|(.., status)| {
            status.refused
        }),
        family(
            "deputize_events_without_word",
            "Held tokens that were given out while no word of cut-offs arrived",
            Kind::Counter,
            &|(_, cut_offs, _)| cut_offs.without_word(),
        ),
    ]
}

/// Fetches of key sets, by what they were for and how they ended.
fn refreshes(sidecar: &Sidecar) -> Family {
    let mut samples = Vec::new();
    for provider in sidecar.providers().iter().filter(|provider| provider.is_enabled()) {
        let status = provider.keys().status();
        let issuer = provider.issuer().unwrap_or(provider.name()).to_owned();
        for (reason, counts) in [("expired", status.expired), ("unknown_kid", status.unknown_key)] {
            for (outcome, count) in
                [("success", counts.success), ("failure", counts.failure), ("suppressed", counts.suppressed)]
            {
                let labels: Labels =
                    vec![("issuer", issuer.clone().into()), ("reason", reason.into()), ("outcome", outcome.into())];
                if count > 0 {
                    samples.push((labels, Value::Number(count)));
                }
            }
        }
    }
    Family { name: "texas_jwks_refreshes", help: "Fetches of key sets", kind: Kind::Counter, samples }
}

impl Telemetry {
    fn requests(&self) -> Vec<Family> {
        let (mut requests, mut hits) = (Vec::new(), Vec::new());
        for path in Path::ALL {
            for provider in 0..=self.providers.len() {
                let place = self.place(path, provider);
                let labels: Labels = vec![
                    ("path", path.as_str().into()),
                    ("identity_provider", self.provider(provider).to_owned().into()),
                ];
                let load = |counters: &[std::sync::atomic::AtomicU64]| {
                    counters.get(place).map_or(0, |count| count.load(Ordering::Relaxed))
                };
                match load(&self.requests) {
                    0 => {}
                    count => {
                        let mut labels = labels.clone();
                        labels.push(("request_type", path.request_type().into()));
                        requests.push((labels, Value::Number(count)));
                    }
                }
                match load(&self.hits) {
                    0 => {}
                    count => hits.push((labels, Value::Number(count))),
                }
            }
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let errors = errors.into_iter().map(|((path, provider, kind), count)| {
            let labels: Labels = vec![
                ("path", path.as_str().into()),
                ("identity_provider", self.provider(provider).to_owned().into()),
                ("error_kind", kind.into()),
            ];
            (labels, Value::Number(count))
        });
        let family = |name, help, kind, samples| Family { name, help, kind, samples };
        vec![
            family("texas_handler_requests", "Requests that were read", Kind::Counter, requests),
            family("texas_token_cache_hits", "Tokens that came from the cache", Kind::Counter, hits),
            family("texas_handler_errors", "Requests that were refused or failed", Kind::Counter, errors.collect()),
            family("http_response_secs", "Time to answer", Kind::Histogram, self.responses()),
            family(
                "texas_identity_provider_latency_secs",
                "Time that identity providers took to answer",
                Kind::Histogram,
                self.latencies(),
            ),
        ]
    }

    fn responses(&self) -> Vec<(Labels, Value)> {
        let places = Path::ALL.into_iter().flat_map(|path| STATUSES.map(|status| (path, status)));
        let histograms = places.zip(&self.responses).map(|((path, status), histogram)| {
            let status = if status == 0 { "other".into() } else { status.to_string().into() };
            let labels: Labels = vec![("status_code", status), ("path", path.as_str().into())];
            (labels, histogram.counted())
        });
        told(histograms)
    }

    fn latencies(&self) -> Vec<(Labels, Value)> {
        told(
            self.providers.iter().zip(&self.latency).map(|(provider, histogram)| {
                (vec![("identity_provider", provider.clone().into())], histogram.counted())
            }),
        )
    }
}

/// Without those that counted nothing.
fn told(histograms: impl Iterator<Item = (Labels, Counted)>) -> Vec<(Labels, Value)> {
    let counted = histograms.filter(|(_, counted)| counted.total > 0);
    counted.map(|(labels, counted)| (labels, Value::Histogram(counted))).collect()
}
