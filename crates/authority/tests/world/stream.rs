//! A subscriber to the stream of cut-offs.
use super::estate::{CONTOSO, principal};
use super::{World, claims, client_credentials, text};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use deputize_core::built_in;
use deputize_core::model::{Assignee, RoleAssignment};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::time::Duration;
use store::Object;
use tower::ServiceExt as _;

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Event {
    /// The claims of a security event token.
    pub(crate) fn claims(&self) -> Value {
        claims(&self.data)
    }
}

pub(crate) struct Stream {
    body: Body,
    text: String,
}

/// The role to read cut-offs, for an application of Contoso.
pub(crate) fn reader(name: &str) -> Object {
    Object::Assignment(RoleAssignment {
        tenant: CONTOSO,
        assignee: Assignee::ServicePrincipal(principal(name)),
        resource_id: built_in::PRINCIPAL,
        app_role_id: built_in::EVENTS_READ_ID,
    })
}

impl World {
    /// A token of `name` for the authority itself.
    pub(crate) async fn events_token(&self, name: &str) -> String {
        let form = client_credentials(name, "api://deputize/.default");
        text(&self.token(form).await.ok(), "access_token")
    }

    /// Opens the stream of Contoso with a token, after a place.
    pub(crate) async fn listen(&self, token: &str, after: Option<u64>) -> Result<Stream, (StatusCode, String)> {
        let mut request = Request::get(format!("/{CONTOSO}/events")).header("authorization", format!("Bearer {token}"));
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::OK {
            assert_eq!(parts.headers["content-type"], "text/event-stream");
            assert_eq!(parts.headers["cache-control"], "no-store");
            return Ok(Stream { body, text: String::new() });
        }
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        Err((parts.status, body["check"].as_str().unwrap_or_default().to_owned()))
    }
}

impl Stream {
    /// The next event; nothing once the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (read(event), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.expect("it is silent");
            let bytes = frame?.ok()?.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The cut-offs until everything was told, and the place that was told.
    pub(crate) async fn told(&mut self) -> (Vec<Event>, u64) {
        let mut told = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == "current" {
                return (told, event.id.parse().unwrap());
            }
            told.push(event);
        }
    }

    /// The cut-offs that come next, heartbeats aside.
    pub(crate) async fn cut_offs(&mut self) -> Vec<Event> {
        loop {
            let (told, _) = self.told().await;
            if !told.is_empty() {
                return told;
            }
        }
    }
}

fn read(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "event" => event.kind = value,
            "id" => event.id = value,
            "data" => event.data = value,
            other => panic!("{other}"),
        }
    }
    event
}
