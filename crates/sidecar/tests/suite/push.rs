//! Metrics, pushed to a collector (2.12).
use crate::support::{Encoding, World};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use sidecar::{Protocol, Settings};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct Pushed {
    version: Version,
    path: String,
    kind: String,
    body: Bytes,
}

/// A collector that takes everything, and what it took.
async fn collector() -> (String, UnboundedReceiver<Pushed>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, pushed) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let tell = tell.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
                    let path = parts.uri.path().to_owned();
                    let _ = tell.send(Pushed { version: parts.version, path, kind, body });
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let body = Full::<Bytes>::default();
                    Ok::<_, Infallible>(Response::new(body.with_trailers(async { Some(Ok(trailers)) })))
                }
            });
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (url, pushed)
}

#[tokio::test]
async fn what_is_counted_is_pushed_by_grpc_and_by_http() {
    for (protocol, name) in [(Protocol::Grpc, "grpc"), (Protocol::Http, "http/protobuf")] {
        let (endpoint, mut pushed) = collector().await;
        let world = World::new().await;
        world.token("entra_id", "default", Encoding::Json).await.token();
        let variables = |asked: &str| match asked {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(name.to_owned()),
            "OTEL_METRIC_EXPORT_INTERVAL" => Some("10".to_owned()),
            "OTEL_RESOURCE_ATTRIBUTES" => Some("service.name=orders,k8s.pod.name=orders-1".to_owned()),
            _ => None,
        };
        let push = Settings::read(&variables, None).unwrap().push.unwrap();
        assert_eq!(push.protocol, protocol);
        let pushing = tokio::spawn(push.run(world.sidecar.clone()));
        let pushed = tokio::time::timeout(Duration::from_secs(30), pushed.recv()).await.unwrap().unwrap();
        pushing.abort();
        let message = match protocol {
            Protocol::Grpc => {
                let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
                assert_eq!(
                    (pushed.version, pushed.path.as_str(), pushed.kind.as_str()),
                    (Version::HTTP_2, path, "application/grpc")
                );
                let length = u32::from_be_bytes(pushed.body[1..5].try_into().unwrap());
                assert_eq!((pushed.body[0], usize::try_from(length).unwrap()), (0, pushed.body.len() - 5));
                pushed.body.slice(5..)
            }
            Protocol::Http => {
                assert_eq!((pushed.path.as_str(), pushed.kind.as_str()), ("/v1/metrics", "application/x-protobuf"));
                pushed.body
            }
        };
        let text = String::from_utf8_lossy(&message);
        for part in ["service.name", "orders-1", "texas_handler_requests", "entra_id", "http_response_secs"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("eyJ"));
    }
}

#[test]
fn collectors_are_configured_in_the_words_of_opentelemetry() {
    let read = |pairs: &[(&str, &str)]| {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&find, None).map(|settings| settings.push).map_err(|error| error.to_string())
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    assert_eq!(read(&[]).unwrap(), None);
    assert_eq!(read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]).unwrap(), None);
    let usual = read(&[endpoint]).unwrap().unwrap();
    assert_eq!((usual.protocol, usual.every), (Protocol::Grpc, Duration::from_mins(1)));
    assert_eq!(usual.resource, [("service.name".to_owned(), "deputize-sidecar".to_owned())]);
    assert!(read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).is_err());
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector")]).is_err());
}
