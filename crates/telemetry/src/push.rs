//! Pushing metrics and traces to a collector (OTLP), off the way of requests.
use crate::family::{Constant, Family};
use crate::otlp;
use crate::{Moment, Sampling};
use bytes::Bytes;
use fetch::{Fetch, Passing};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Full, Limited};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// For one push.
const PATIENCE: Duration = Duration::from_secs(10);
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
    /// The collector, `http://localhost:4317` (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub endpoint: String,
    /// How it is spoken to (`OTEL_EXPORTER_OTLP_PROTOCOL`).
    pub protocol: Protocol,
    /// How often (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub every: Duration,
    /// Which traces are recorded; `None` for none.
    pub traces: Option<Sampling>,
    /// What all of it is of (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Vec<(String, String)>,
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
struct Signal {
    /// Its path for plain posts.
    plain: &'static str,
    /// Its path for gRPC.
    grpc: &'static str,
    name: &'static str,
    /// Whether what could not be pushed is pushed later. Counters go on counting, and need not be.
    kept: bool,
}

const METRICS: Signal = Signal {
    plain: "v1/metrics",
    grpc: "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    name: "metrics",
    kept: false,
};
const TRACES: Signal = Signal {
    plain: "v1/traces",
    grpc: "opentelemetry.proto.collector.trace.v1.TraceService/Export",
    name: "traces",
    kept: true,
};

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
    /// Begins to push over this network, which speaks HTTP/2 alone for [`Protocol::Grpc`], and goes on until it is told to
    /// [end](Pushing::end). A collector that is not there is told of once, and again when it comes back.
    pub fn begin<S: Source>(self, source: Arc<S>, network: Fetch) -> Pushing {
        let (ended, end) = watch::channel(false);
        let task = tokio::spawn(async move {
            let began = Moment::now().unix();
            let metrics = self.regularly(self.every, &network, &METRICS, end.clone(), || {
                let times = (began, Moment::now().unix());
                Some(otlp::request(S::SCOPE, &source.metrics(), source.labels(), &self.resource, times))
            });
            let traces = self.regularly(TRACES_EVERY.min(self.every), &network, &TRACES, end.clone(), || {
                let mut scope = otlp::Message::scope(S::SCOPE);
                source.write_spans(&mut scope, Moment::now()).then(|| scope.of_resource(&self.resource))
            });
            tokio::join!(metrics, traces);
        });
        Pushing { ended, task }
    }

    async fn regularly(
        &self,
        every: Duration,
        network: &Fetch,
        signal: &Signal,
        mut end: watch::Receiver<bool>,
        message: impl Fn() -> Option<Vec<u8>>,
    ) {
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
                let outcome = timeout(PATIENCE, self.send(network, signal, body.clone())).await;
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

    async fn send(&self, network: &Fetch, signal: &Signal, body: Bytes) -> Result<(), String> {
        let (path, kind) = match self.protocol {
            Protocol::Http => (signal.plain, "application/x-protobuf"),
            Protocol::Grpc => (signal.grpc, "application/grpc"),
        };
        let url = format!("{}/{path}", self.endpoint.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let body = Passing::new(Full::new(body).map_err(|never| match never {}));
        let answer = network.pass(Method::POST, &url, headers, body, PATIENCE).await;
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
