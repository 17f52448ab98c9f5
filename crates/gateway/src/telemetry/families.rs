//! Everything that a gateway counts, at one moment.
use super::counted::status_label;
use super::{Counted, Telemetry};
use crate::Gateway;
use telemetry::{Constant, Family, Kind, Labels, Value};

/// Labels that every metric has, of attributes of a resource.
pub(super) fn constant(attributes: &[(String, String)]) -> Constant {
    Constant::of(attributes, &["api", "operation", "status", "check", "issuer", "reason", "outcome", "secret", "from"])
}

/// All of it.
pub(super) fn all(gateway: &Gateway) -> Vec<Family> {
    let telemetry = gateway.telemetry();
    let mut families = telemetry.requests();
    families.extend(keys(gateway));
    families.extend(cut_offs(gateway));
    families.extend(tokens(gateway));
    families.extend(secrets(gateway));
    families.extend(shared_limits(gateway));
    let plain = Family::plain;
    families.extend([
        plain(
            "deputize_gateway_access_log_lost_total",
            "Lines of the access log that were not written, since their reader fell behind",
            Kind::Counter,
            gateway.access_log().lost(),
        ),
        plain(
            "deputize_gateway_traces_dropped_total",
            "Traces that were not recorded for want of space",
            Kind::Counter,
            telemetry.tracer().dropped(),
        ),
    ]);
    if let Some(store) = gateway.store() {
        families.extend([
            plain(
                "deputize_gateway_usage_lost_total",
                "Calls that are in no sum of usage, since the database took nothing for too long",
                Kind::Counter,
                store.usage().lost(),
            ),
            plain(
                "deputize_gateway_database_writable",
                "Whether the database took the latest write",
                Kind::Gauge,
                store.writable().into(),
            ),
        ]);
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

impl Telemetry {
    fn requests(&self) -> Vec<Family> {
        let operations = self.operations();
        let named = operations.iter().map(|((api, operation), counted)| (&**api, &**operation, &**counted));
        let all: Vec<(&str, &str, &Counted)> = named.chain([("", "", &self.elsewhere)]).collect();
        let labels = |api: &str, operation: &str| -> Labels {
            vec![("api", api.to_owned().into()), ("operation", operation.to_owned().into())]
        };
        let (mut requests, mut refused, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for (api, operation, counted) in &all {
            for (status, count) in counted.statuses() {
                let mut labels = labels(api, operation);
                labels.push(("status", status_label(status).into()));
                requests.push((labels, Value::Number(count)));
            }
            for (check, count) in counted.refused() {
                let mut labels = labels(api, operation);
                labels.push(("check", check.into()));
                refused.push((labels, Value::Number(count)));
            }
            if counted.bytes() > 0 {
                bytes.push((labels(api, operation), Value::Number(counted.bytes())));
            }
        }
        let counter = |name, help, samples| Family { name, help, kind: Kind::Counter, samples };
        let histograms = |of: fn(&Counted) -> &telemetry::Histogram| {
            all.iter()
                .map(|(api, operation, counted)| (labels(api, operation), of(counted).counted()))
                .collect::<Vec<_>>()
                .into_iter()
        };
        vec![
            counter("deputize_gateway_requests_total", "Requests that were answered, by status", requests),
            counter("deputize_gateway_refused_total", "Requests that were refused, by the check that failed", refused),
            counter("deputize_gateway_response_bytes_total", "Bytes of answers' bodies", bytes),
            Family::of_histograms(
                "deputize_gateway_request_seconds",
                "Time from the head of a request to the end of its answer",
                histograms(Counted::took),
            ),
            Family::of_histograms(
                "deputize_gateway_service_seconds",
                "Time from forwarding a request to the head of the service's answer",
                histograms(Counted::services),
            ),
        ]
    }
}

/// The keys of each issuer: whether there are any, and how fetching them goes.
fn keys(gateway: &Gateway) -> Vec<Family> {
    let (mut ready, mut fetched, mut refreshes) = (Vec::new(), Vec::new(), Vec::new());
    for (issuer, status) in gateway.issuers() {
        let labels = || -> Labels { vec![("issuer", issuer.clone().into())] };
        ready.push((labels(), Value::Number(status.is_some().into())));
        let Some(status) = status else { continue };
        if let Some(at) = status.fetched {
            fetched.push((labels(), Value::Number(u64::try_from(at.0).unwrap_or_default())));
        }
        for (reason, counts) in [("expired", status.expired), ("unknown_kid", status.unknown_key)] {
            for (outcome, count) in
                [("success", counts.success), ("failure", counts.failure), ("suppressed", counts.suppressed)]
            {
                if count > 0 {
                    let mut labels = labels();
                    labels.extend([("reason", reason.into()), ("outcome", outcome.into())]);
                    refreshes.push((labels, Value::Number(count)));
                }
            }
        }
    }
    let family = |name, help, kind, samples| Family { name, help, kind, samples };
    vec![
        family("deputize_gateway_keys_ready", "Whether an issuer's keys are at hand", Kind::Gauge, ready),
        family(
            "deputize_gateway_keys_fetched_timestamp_seconds",
            "When an issuer's keys were fetched",
            Kind::Gauge,
            fetched,
        ),
        family("deputize_gateway_keys_refreshes_total", "Fetches of key sets", Kind::Counter, refreshes),
    ]
}

/// What is told of cut-offs, by whom.
fn cut_offs(gateway: &Gateway) -> Vec<Family> {
    let all = gateway.cut_offs();
    let family = |name, help, kind, count: fn(&guard::EventsStatus) -> Option<u64>| {
        let labels = |status: &guard::EventsStatus| -> Labels { vec![("issuer", status.authority.clone().into())] };
        let samples = all.iter().filter_map(|status| Some((labels(status), Value::Number(count(status)?))));
        Family { name, help, kind, samples: samples.collect() }
    };
    vec![
        family(
            "deputize_gateway_cut_offs_current_timestamp_seconds",
            "When an issuer's stream last said that every cut-off had been told",
            Kind::Gauge,
            |status| status.current_at.and_then(|at| u64::try_from(at.0).ok()),
        ),
        family("deputize_gateway_cut_offs_received_total", "Cut-offs that were told", Kind::Counter, |status| {
            Some(status.received)
        }),
        family(
            "deputize_gateway_cut_offs_failures_total",
            "Connections to streams of cut-offs that failed or were lost",
            Kind::Counter,
            |status| Some(status.failures),
        ),
        family(
            "deputize_gateway_cut_offs_unavailable_total",
            "Requests that were refused while it was not known what was cut off",
            Kind::Counter,
            |status| Some(status.unavailable),
        ),
    ]
}

/// What is fetched from vaults and commands, and whether what came, or stands in a file, could be used.
fn secrets(gateway: &Gateway) -> [Family; 3] {
    let (mut ready, mut fetches, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    for (secret, is_there, counts) in gateway.fetched() {
        let labels = || -> Labels { vec![("secret", secret.clone().into())] };
        ready.push((labels(), Value::Number(is_there.into())));
        for (outcome, count) in [("success", counts.good), ("failure", counts.failed)] {
            let mut labels = labels();
            labels.push(("outcome", outcome.into()));
            fetches.push((labels, Value::Number(count)));
        }
    }
    for fares in gateway.rotating().into_iter().filter(|fares| fares.rejected > 0) {
        rejected.push((vec![("from", fares.from.into())], Value::Number(fares.rejected)));
    }
    let family = |name, help, kind, samples| Family { name, help, kind, samples };
    [
        family("deputize_gateway_secret_ready", "Whether a secret that is fetched is at hand", Kind::Gauge, ready),
        family("deputize_gateway_secret_fetches_total", "Fetches of secrets", Kind::Counter, fetches),
        family(
            "deputize_gateway_secret_rejected_total",
            "Secrets and certificates that were to replace others, and could not be used",
            Kind::Counter,
            rejected,
        ),
    ]
}

/// What is counted for all gateways, where anything is.
fn shared_limits(gateway: &Gateway) -> Vec<Family> {
    let Some(shared) = gateway.shared_limits() else { return Vec::new() };
    let asked = shared.asked();
    let outcomes =
        [("answered", asked.answered), ("late", asked.late), ("failed", asked.failed), ("skipped", asked.skipped)];
    let samples = outcomes.map(|(outcome, count)| (vec![("outcome", outcome.into())], Value::Number(count)));
    vec![
        Family::plain(
            "deputize_gateway_shared_limits_up",
            "Whether limits are counted for all gateways now, and not by each alone",
            Kind::Gauge,
            shared.fares().1.is_none().into(),
        ),
        Family {
            name: "deputize_gateway_shared_limits_decisions_total",
            help: "Decisions by shared limits: answered by Valkey, or made alone since it was late, failed, or was not asked",
            kind: Kind::Counter,
            samples: samples.into(),
        },
    ]
}

/// The tokens that services are sent.
fn tokens(gateway: &Gateway) -> [Family; 9] {
    let held = gateway.token_cache().counters();
    let plain = Family::plain;
    [
        plain("deputize_token_cache_entries", "Tokens that are held", Kind::Gauge, held.entries),
        plain("deputize_token_cache_bytes", "Memory that held tokens and refusals take", Kind::Gauge, held.bytes),
        plain("deputize_token_cache_hits", "Tokens that came from the cache", Kind::Counter, held.hits),
        plain("deputize_token_cache_misses", "Requests begun for want of a token", Kind::Counter, held.misses),
        plain("deputize_token_cache_joined", "Callers who shared a request", Kind::Counter, held.joined),
        plain("deputize_token_cache_negative_hits", "Refusals that were remembered", Kind::Counter, held.negative_hits),
        plain("deputize_token_cache_renewals", "Tokens renewed ahead", Kind::Counter, held.renewals),
        plain("deputize_token_cache_evictions", "Tokens pushed out for want of space", Kind::Counter, held.evictions),
        plain(
            "deputize_verified_token_bytes",
            "Memory that verified tokens take",
            Kind::Gauge,
            gateway.verified_bytes(),
        ),
    ]
}

impl telemetry::Source for Gateway {
    const SCOPE: &'static str = "deputize-gateway";

    fn metrics(&self) -> Vec<Family> {
        all(self)
    }

    fn labels(&self) -> &Constant {
        self.telemetry().labels()
    }

    fn write_spans(&self, scope: &mut telemetry::Message, now: telemetry::Moment) -> bool {
        super::spans::write(&self.telemetry().tracer().take(), scope, now)
    }
}
