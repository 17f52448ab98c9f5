//! Everything that a sidecar counts, at one moment.
use super::{Path, STATUSES, Telemetry};
use crate::Sidecar;
use crate::cut_offs::CutOffs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use telemetry::{Constant, Family, Kind, Labels, Value};

/// Labels that every metric has, of attributes of a resource.
pub(crate) fn constant(attributes: &[(String, String)]) -> Constant {
    let taken = [
        "path",
        "identity_provider",
        "request_type",
        "error_kind",
        "status_code",
        "issuer",
        "reason",
        "outcome",
        "cache_type",
    ];
    Constant::of(attributes, &taken)
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
    let plain = Family::plain;
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
            self.responses(),
            self.latencies(),
        ]
    }

    fn responses(&self) -> Family {
        let places = Path::ALL.into_iter().flat_map(|path| STATUSES.map(|status| (path, status)));
        let histograms = places.zip(&self.responses).map(|((path, status), histogram)| {
            let status = if status == 0 { "other".into() } else { status.to_string().into() };
            let labels: Labels = vec![("status_code", status), ("path", path.as_str().into())];
            (labels, histogram.counted())
        });
        Family::of_histograms("http_response_secs", "Time to answer", histograms)
    }

    fn latencies(&self) -> Family {
        let histograms =
            self.providers.iter().zip(&self.latency).map(|(provider, histogram)| {
                (vec![("identity_provider", provider.clone().into())], histogram.counted())
            });
        let help = "Time that identity providers took to answer";
        Family::of_histograms("texas_identity_provider_latency_secs", help, histograms)
    }
}
