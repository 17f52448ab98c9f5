//! Pushing metrics to a collector (OTLP), once a minute, off the way of requests.
use super::family;
use super::otlp::{self, Nanos};
use crate::Sidecar;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// For one push.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where metrics are pushed to, by the variables that OpenTelemetry has for it. Over plain HTTP: what is counted is no secret,
/// and collectors are beside the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The collector, `http://localhost:4317` (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub endpoint: String,
    /// How it is spoken to (`OTEL_EXPORTER_OTLP_PROTOCOL`).
    pub protocol: Protocol,
    /// How often (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub every: Duration,
    /// What the metrics are of (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
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

impl Push {
    /// Pushes until the process ends. A collector that is not there is told of once, and again when it comes back.
    pub async fn run(self, sidecar: Arc<Sidecar>) {
        let began = nanos(&sidecar);
        let mut client = Client::builder(TokioExecutor::new());
        client.http2_only(self.protocol == Protocol::Grpc);
        let client: Client<HttpConnector, Full<Bytes>> = client.build_http();
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut failing = false;
        loop {
            ticks.tick().await;
            let now = nanos(&sidecar);
            let message = otlp::request(&family::all(&sidecar), &self.resource, began, now);
            let outcome = match timeout(PATIENCE, self.send(&client, message)).await {
                Ok(outcome) => outcome,
                Err(_) => Err("no answer in time".to_owned()),
            };
            match outcome {
                Err(reason) if !failing => {
                    tracing::warn!(
                        collector.fault = reason,
                        "metrics could not be pushed; they are kept and tried again"
                    );
                    failing = true;
                }
                Ok(()) if failing => {
                    tracing::info!("metrics are pushed again");
                    failing = false;
                }
                _ => {}
            }
        }
    }

    async fn send(&self, client: &Client<HttpConnector, Full<Bytes>>, message: Vec<u8>) -> Result<(), String> {
        let base = self.endpoint.trim_end_matches('/');
        let (url, kind, body) = match self.protocol {
            Protocol::Http => (format!("{base}/v1/metrics"), "application/x-protobuf", message),
            Protocol::Grpc => {
                let length = u32::try_from(message.len()).map_err(|_| "they are too large".to_owned())?;
                let framed = [&[0], length.to_be_bytes().as_slice(), &message].concat();
                let path = "opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
                (format!("{base}/{path}"), "application/grpc", framed)
            }
        };
        let request = Request::post(url)
            .header(CONTENT_TYPE, kind)
            .header(TE, HeaderValue::from_static("trailers"))
            .body(Full::from(body))
            .map_err(|_| "its address is no URL".to_owned())?;
        let answer = client.request(request).await.map_err(|_| "it cannot be reached".to_owned())?;
        let status = answer.status();
        let early = answer.headers().get("grpc-status").cloned();
        let rest = Limited::new(answer.into_body(), 64 << 10).collect().await;
        let rest = rest.map_err(|_| "its answer broke off".to_owned())?;
        let late = rest.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
        match late.or(early) {
            _ if !status.is_success() => Err(format!("it answers with status {}", status.as_u16())),
            Some(code) if code != "0" => Err(format!("it answers with gRPC status {}", code.to_str().unwrap_or("?"))),
            _ => Ok(()),
        }
    }
}

fn nanos(sidecar: &Sidecar) -> Nanos {
    u64::try_from(sidecar.clock().now().0).unwrap_or_default().saturating_mul(1_000_000_000)
}
