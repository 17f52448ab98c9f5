//! What platforms ask: whether the process lives, whether its providers are there, and what it counted. Each on a listener of
//! its own, so that the API has nothing but the API.
use crate::Sidecar;
use crate::access::Access;
use crate::answer::{Answer, empty, json, posts_only, text};
use crate::settings::{Bind, Callers};
use crate::telemetry::family;
use ::telemetry::prometheus;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use serve::{Caller, Serve};
use std::sync::Arc;

/// `/healthz` and `/readyz`.
pub struct Probe(Arc<Sidecar>);

impl Probe {
    /// Tells of this sidecar.
    pub fn new(sidecar: Arc<Sidecar>) -> Self {
        Self(sidecar)
    }

    /// 200 where every provider's keys and endpoints are known, else 503 with what is wrong with which.
    fn readiness(&self) -> Answer {
        let now = self.0.clock().now();
        let providers = self.0.providers().iter().filter(|provider| provider.is_enabled());
        let faults: Vec<_> = providers
            .filter_map(|provider| {
                let fault = provider.fault(now)?;
                Some(json!({ "provider": provider.name(), "fault": fault }))
            })
            .collect();
        if faults.is_empty() {
            return text(StatusCode::OK, "text/plain; charset=utf-8", "ready");
        }
        json(StatusCode::SERVICE_UNAVAILABLE, json!(faults).to_string())
    }
}

impl Serve for Probe {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/" | "/healthz") => text(StatusCode::OK, "text/plain; charset=utf-8", "ok"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.readiness(),
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

/// `POST /flush`, for an operator who wants every token to be got anew.
pub struct Admin {
    sidecar: Arc<Sidecar>,
    access: Access,
}

impl Admin {
    /// Of this sidecar, for the listener at `bind`.
    pub fn new(sidecar: Arc<Sidecar>, callers: &Callers, bind: &Bind) -> Self {
        Self { sidecar, access: Access::new(callers, bind) }
    }
}

impl Serve for Admin {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Answer {
        if let Err(refused) = self.access.admit(caller, request.uri().authority(), request.headers()) {
            return refused.answer();
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/flush") => {
                self.sidecar.flush();
                tracing::info!("every token was forgotten, as an operator asked");
                empty(StatusCode::NO_CONTENT)
            }
            (_, "/flush") => posts_only(),
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

/// `/metrics`, for Prometheus to pull.
pub struct Metrics(Arc<Sidecar>);

impl Metrics {
    /// Of this sidecar.
    pub fn new(sidecar: Arc<Sidecar>) -> Self {
        Self(sidecar)
    }
}

impl Serve for Metrics {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => text(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                prometheus::text(&family::all(&self.0), self.0.constant()),
            ),
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}
