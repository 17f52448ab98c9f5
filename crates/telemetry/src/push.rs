//! Pushing metrics and traces to a collector (OTLP), off the way of requests.
use crate::family::{Constant, Family};
use crate::otlp;
use crate::{Moment, Sampling};
use bytes::Bytes;
use fetch::{Fetch, FetchBuilder, Passing};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Full, Limited};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// For what is left when the program ends.
const LAST: Duration = Duration::from_secs(5);
/// How often traces are pushed, at least.
const TRACES_EVERY: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes.
const ANSWER: usize = 64 << 10;

/// Where metrics and traces are pushed to, by the variables that OpenTelemetry has for it. Over TLS, or over plain HTTP: what is
/// pushed is no secret, and collectors are beside the application.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Where metrics go; `None` for nowhere (`OTEL_METRICS_EXPORTER`).
    pub metrics: Option<Collector>,
    /// Where traces go; `None` for nowhere (`OTEL_TRACES_EXPORTER`).
    pub spans: Option<Collector>,
    /// How collectors are spoken to (`OTEL_EXPORTER_OTLP_PROTOCOL`).
    pub protocol: Protocol,
    /// Certificate authorities in PEM beside the usual ones (`OTEL_EXPORTER_OTLP_CERTIFICATE`).
    pub authorities: Option<PathBuf>,
    /// How often (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub every: Duration,
    /// Which traces are recorded; `None` for none.
    pub traces: Option<Sampling>,
    /// What all of it is of (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Vec<(String, String)>,
}

/// Where a kind of thing is pushed to.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    /// The whole address (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, `…_TRACES_ENDPOINT`).
    pub url: String,
    /// What goes along with each push, mostly what the collector knows the sender by: secrets, which no log shows
    /// (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_METRICS_HEADERS`, `…_TRACES_HEADERS`).
    pub headers: HeaderMap,
    /// For one push (`OTEL_EXPORTER_OTLP_TIMEOUT` and those of the kinds).
    pub patience: Duration,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, as collectors listen for on port 4317.
    #[default]
    Grpc,
    /// Plain posts, as on port 4318.
    Http,
}

impl Protocol {
    /// As the environment has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// Who tells.
pub trait Source: Send + Sync + 'static {
    /// The program, as the scope of everything that it tells.
    const SCOPE: &'static str;

    /// What it counts.
    fn metrics(&self) -> Vec<Family>;

    /// Labels that all its metrics have.
    fn labels(&self) -> &Constant;

    /// What was recorded since the last time, written into `scope`; whether there is anything.
    fn write_spans(&self, scope: &mut otlp::Message, now: Moment) -> bool;
}

/// A kind of thing that is pushed.
pub(crate) struct Signal {
    /// Its path for plain posts.
    pub(crate) plain: &'static str,
    /// Its path for gRPC.
    pub(crate) grpc: &'static str,
    name: &'static str,
    /// What its own variables have in their names.
    pub(crate) variables: &'static str,
    /// Whether what could not be pushed is pushed later. Counters go on counting, and need not be.
    kept: bool,
}

pub(crate) const METRICS: Signal = Signal {
    plain: "v1/metrics",
    grpc: "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    name: "metrics",
    variables: "METRICS",
    kept: false,
};
pub(crate) const TRACES: Signal = Signal {
    plain: "v1/traces",
    grpc: "opentelemetry.proto.collector.trace.v1.TraceService/Export",
    name: "traces",
    variables: "TRACES",
    kept: true,
};

/// Where a kind of thing goes, and how often.
struct Way<'a> {
    network: &'a Fetch,
    collector: Option<&'a Collector>,
    every: Duration,
}

/// Pushing that has begun.
pub struct Pushing {
    ended: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pushing {
    /// Pushes what is left, and ends.
    pub async fn end(self) {
        self.ended.send_replace(true);
        let task = self.task.abort_handle();
        if timeout(LAST, self.task).await.is_err() {
            task.abort();
            tracing::warn!("the collector did not take the last metrics and traces in time");
        }
    }
}

impl Push {
    /// The network to collectors: this one, with what the environment says of it.
    ///
    /// # Errors
    /// If the file of authorities is of no use, in words that say so.
    pub fn network(&self, mut builder: FetchBuilder) -> Result<Fetch, String> {
        if let Some(path) = &self.authorities {
            let told = |problem: &dyn std::fmt::Display| {
                format!("environment variable 'OTEL_EXPORTER_OTLP_CERTIFICATE': `{}`: {problem}", path.display())
            };
            let pem = std::fs::read(path).map_err(|error| told(&error.kind()))?;
            builder = builder.ca_pem(&pem).map_err(|error| told(&error))?;
        }
        let builder = if self.protocol == Protocol::Grpc { builder.http2() } else { builder };
        builder.build().map_err(|error| error.to_string())
    }

    /// Begins to push over this network, which speaks HTTP/2 alone for [`Protocol::Grpc`], and goes on until it is told to
    /// [end](Pushing::end). A collector that is not there is told of once, and again when it comes back.
    pub fn begin<S: Source>(self, source: Arc<S>, network: Fetch) -> Pushing {
        if self.tells_the_network() {
            tracing::warn!(
                "the headers of OTEL_EXPORTER_OTLP_HEADERS go over the network without TLS; use an `https:` collector"
            );
        }
        let (ended, end) = watch::channel(false);
        let task = tokio::spawn(async move {
            let began = Moment::now().unix();
            let way = |collector| Way { network: &network, collector, every: self.every };
            let metrics = self.regularly(way(self.metrics.as_ref()), &METRICS, end.clone(), || {
                let times = (began, Moment::now().unix());
                Some(otlp::request(S::SCOPE, &source.metrics(), source.labels(), &self.resource, times))
            });
            let way = Way { every: TRACES_EVERY.min(self.every), ..way(self.spans.as_ref()) };
            let traces = self.regularly(way, &TRACES, end.clone(), || {
                let mut scope = otlp::Message::scope(S::SCOPE);
                source.write_spans(&mut scope, Moment::now()).then(|| scope.of_resource(&self.resource))
            });
            tokio::join!(metrics, traces);
        });
        Pushing { ended, task }
    }

    /// Whether somebody on the way to a collector can read the headers.
    fn tells_the_network(&self) -> bool {
        let readable = |collector: &Collector| {
            let loopback = ["http://127.", "http://localhost:", "http://localhost/", "http://[::1]"];
            collector.url.starts_with("http://") && !loopback.iter().any(|start| collector.url.starts_with(start))
        };
        [&self.metrics, &self.spans].into_iter().flatten().any(|one| !one.headers.is_empty() && readable(one))
    }

    async fn regularly(
        &self,
        Way { network, collector, every }: Way<'_>,
        signal: &Signal,
        mut end: watch::Receiver<bool>,
        message: impl Fn() -> Option<Vec<u8>>,
    ) {
        let Some(collector) = collector else { return };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let (mut failing, mut unsent) = (false, None);
        loop {
            let last = tokio::select! {
                biased;
                _ = end.wait_for(|ended| *ended) => true,
                _ = ticks.tick() => false,
            };
            // What waits since the last time goes first.
            while let Some(body) = unsent.take().or_else(|| message().map(|message| self.framed(message))) {
                let outcome = timeout(collector.patience, self.send(network, collector, body.clone())).await;
                match outcome.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                    Ok(()) if failing => {
                        tracing::info!("{} are pushed again", signal.name);
                        failing = false;
                    }
                    Ok(()) => {}
                    Err(reason) => {
                        if !failing {
                            let name = signal.name;
                            tracing::warn!(
                                collector.fault = reason,
                                "{name} could not be pushed; they are tried again"
                            );
                        }
                        failing = true;
                        unsent = signal.kept.then_some(body);
                        break;
                    }
                }
                if !signal.kept {
                    break;
                }
            }
            if last {
                return;
            }
        }
    }

    /// A message as it is sent: gRPC has a length before it.
    fn framed(&self, message: Vec<u8>) -> Bytes {
        match self.protocol {
            Protocol::Http => message.into(),
            Protocol::Grpc => {
                let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
                [&[0], length.to_be_bytes().as_slice(), &message].concat().into()
            }
        }
    }

    async fn send(&self, network: &Fetch, collector: &Collector, body: Bytes) -> Result<(), String> {
        let kind = match self.protocol {
            Protocol::Http => "application/x-protobuf",
            Protocol::Grpc => "application/grpc",
        };
        let mut headers = collector.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let body = Passing::new(Full::new(body).map_err(|never| match never {}));
        let answer = network.pass(Method::POST, &collector.url, headers, body, collector.patience).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let early = answer.headers().get("grpc-status").cloned();
        let rest = Limited::new(answer.into_body(), ANSWER).collect().await;
        let rest = rest.map_err(|_| "its answer broke off".to_owned())?;
        let late = rest.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
        match late.or(early) {
            _ if !status.is_success() => Err(format!("it answers with status {}", status.as_u16())),
            Some(code) if code != "0" => Err(format!("it answers with gRPC status {}", code.to_str().unwrap_or("?"))),
            None if self.protocol == Protocol::Grpc => Err("its answer has no gRPC status".to_owned()),
            _ => Ok(()),
        }
    }
}
