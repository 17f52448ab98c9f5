//! The management API: products, subscriptions, their keys and their usage, what applies to a request, and the gateway's own
//! operation, on a listener of its own.
//!
//! Nothing is answered before the guard has let the caller by, by the right that [`ENDPOINTS`] has for what is asked. Changes name
//! the version that they are of, and are durable before they are acknowledged.
mod contracts;
mod endpoints;
mod openapi;
mod operation;
mod products;
mod request;
mod subscriptions;
mod usage;

pub(crate) use endpoints::{ENDPOINTS, Endpoint, ROOT, Right};
pub use openapi::openapi;

use crate::Gateway;
use crate::body::Body;
use crate::denial::Denial;
use crate::settings::Compiled;
use crate::store::{Actor, Change, Condition, Declined, Store, Unavailable};
use decision::CheckId;
use endpoints::Action;
use guard::Principal;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use oauth::Secret;
use request::Asked;
use serde::Serialize;
use serve::{Caller, Serve, caught};
use std::sync::Arc;

/// What the process does for its administrators.
pub trait Operator: Send + Sync {
    /// Reads the configuration again; says what is wrong with it, in which case nothing changed. It may wait for the disk.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    fn reload(&self) -> Result<(), String>;

    /// Begins the end of the process: no new connections, and time for the requests that are under way.
    fn drain(&self);
}

/// The management API of one gateway.
pub struct Management {
    gateway: Arc<Gateway>,
    store: Arc<Store>,
    operator: Arc<dyn Operator>,
}

/// An answer, or why there is none.
type Answered = Result<Response<Body>, Box<Denial>>;

/// A request whose caller may make it.
struct Admitted<'a> {
    state: Arc<Compiled>,
    store: &'a Store,
    principal: Principal,
    decision_id: String,
    asked: Asked,
}

impl Management {
    /// Over this gateway's store; `None` if it has none.
    pub fn new(gateway: Arc<Gateway>, operator: Arc<dyn Operator>) -> Option<Self> {
        let store = Arc::clone(gateway.store()?);
        Some(Self { gateway, store, operator })
    }

    async fn reply(&self, request: Request<Incoming>, decision_id: &str) -> Answered {
        let (parts, body) = request.into_parts();
        let (endpoint, names) = endpoints::find(&parts.method, parts.uri.path())?;
        let state = self.gateway.state();
        // A configuration that was read again may have no `[management]` any more.
        let guard = state.management.clone().ok_or_else(|| Box::new(Denial::of(CheckId::ManagementFound)))?;
        // By the endpoint's own pattern: what is judged is what is done.
        let pattern = format!("{ROOT}{}", endpoint.path);
        let principal = guard.check_head(&parts.headers, parts.uri.query(), endpoint.method, &pattern).await;
        let principal = principal.map_err(|refused| Box::new(Denial::from(refused)))?;
        let asked = Asked::read(endpoint, names, &parts, body).await?;
        let decision_id = decision_id.to_owned();
        let admitted = Admitted { state, store: &self.store, principal, decision_id, asked };
        match endpoint.action {
            Action::Status => Ok(operation::status(&admitted, &self.gateway)),
            Action::EffectivePolicy => operation::effective(&admitted, &self.gateway),
            Action::Reload => operation::reload(&admitted, &self.operator).await,
            Action::Drain => operation::drain(&admitted, &self.operator).await,
            Action::Changes => operation::changes(&admitted),
            Action::ListProducts => products::list(&admitted),
            Action::ShowProduct => products::show(&admitted),
            Action::PutProduct => products::put(&admitted).await,
            Action::DeleteProduct => products::delete(&admitted).await,
            Action::ProductUsage => usage::of_product(&admitted),
            Action::ListSubscriptions => subscriptions::list(&admitted),
            Action::ShowSubscription => subscriptions::show(&admitted),
            Action::PutSubscription => subscriptions::put(&admitted, self.gateway.ports()).await,
            Action::PatchSubscription => subscriptions::patch(&admitted).await,
            Action::DeleteSubscription => subscriptions::delete(&admitted).await,
            Action::RegeneratePrimaryKey => subscriptions::regenerate(&admitted, self.gateway.ports(), 0).await,
            Action::RegenerateSecondaryKey => subscriptions::regenerate(&admitted, self.gateway.ports(), 1).await,
            Action::SubscriptionUsage => usage::of_subscription(&admitted),
        }
    }
}

impl Serve for Management {
    type Body = Body;

    /// A defect fails its request and no other.
    async fn answer(&self, request: Request<Incoming>, _: Caller) -> Response<Body> {
        let decision_id = self.gateway.ports().ids.next();
        let method = request.method().clone();
        let answered = caught(self.reply(request, &decision_id)).await.unwrap_or_else(|| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Box::new(
                Denial::of(CheckId::ManagementRequest).status(status).message("an internal error; it was logged"),
            ))
        });
        let is_head = method == Method::HEAD;
        let answer = answered.unwrap_or_else(|mut denial| {
            let id = denial.decision_id.take().unwrap_or(decision_id);
            tracing::info!(
                check = denial.check.entry().id,
                decision.id = id,
                http.request.method = method.as_str(),
                "a management request was refused"
            );
            denial.response(&id)
        });
        if is_head { headless(answer) } else { answer }
    }
}

impl Admitted<'_> {
    /// Who asks.
    fn actor(&self) -> Actor {
        let principal = &self.principal;
        Actor {
            tenant: principal.tid().map(str::to_owned),
            subject: principal.oid().unwrap_or_else(|| principal.sub()).to_owned(),
            client: principal.app().to_owned(),
            decision_id: self.decision_id.clone(),
        }
    }

    /// Makes a change of what a name stands for.
    async fn change(&self, change: Change, condition: Condition, keys: Vec<Secret>) -> Result<i64, Box<Denial>> {
        let made = self.store.change(change, condition, keys, self.actor()).await;
        made.map_err(|declined| {
            let conflict = |text: &'static str| Denial::of(CheckId::ManagementConflict).message(text);
            Box::new(match declined {
                Declined::Absent => Denial::of(CheckId::ManagementFound),
                Declined::Exists if self.asked.creates_only() => Denial::of(CheckId::ManagementCondition),
                Declined::Exists => Denial::of(CheckId::ManagementCondition)
                    .status(StatusCode::PRECONDITION_REQUIRED)
                    .message("there is one of this name; send its `ETag` in `If-Match` to replace it"),
                Declined::Stale => Denial::of(CheckId::ManagementCondition),
                Declined::InUse => conflict("subscriptions are to this product; delete them first, or move them"),
                Declined::NoProduct => conflict("the product was deleted meanwhile; name another in `scope`"),
                Declined::Full => conflict("there are as many as there can be; delete some first"),
                Declined::Unavailable => Denial::of(CheckId::ManagementStore).retry_after(5),
            })
        })
    }
}

impl From<Unavailable> for Box<Denial> {
    fn from(_: Unavailable) -> Self {
        Self::new(Denial::of(CheckId::ManagementStore).retry_after(5))
    }
}

/// What the request has is not what the API has.
fn wrong(message: impl Into<String>) -> Box<Denial> {
    Box::new(Denial::of(CheckId::ManagementRequest).message(message.into()))
}

/// What it names is not there.
fn absent(what: &str, name: &str) -> Box<Denial> {
    Box::new(Denial::of(CheckId::ManagementFound).message(format!("there is no {what} `{name}`")))
}

fn conflict(message: impl Into<String>) -> Box<Denial> {
    Box::new(Denial::of(CheckId::ManagementConflict).message(message.into()))
}

/// JSON that nobody keeps: it may carry keys.
fn json(status: StatusCode, body: &impl Serialize, version: Option<i64>) -> Response<Body> {
    let mut response = Response::new(Body::text(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    common(headers, version);
    response
}

/// What `GET` is answered, without its body.
fn headless(answer: Response<Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.extend(body.size_hint().exact().map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
    Response::from_parts(parts, Body::text(""))
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::text(""));
    *response.status_mut() = status;
    common(response.headers_mut(), None);
    response
}

fn common(headers: &mut HeaderMap, version: Option<i64>) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(version) = version {
        headers.extend(HeaderValue::try_from(format!("\"{version}\"")).ok().map(|value| (header::ETAG, value)));
    }
}

/// A page of a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    value: Vec<T>,
    /// How many there are in all.
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

/// The part of a list that is asked for.
fn page<T: Serialize>(asked: &Asked, all: Vec<T>, path: &str) -> Answered {
    let (top, skip) = (asked.number("$top", 100, 1, 1_000)?, asked.number("$skip", 0, 0, 1_000_000)?);
    let count = all.len();
    let value: Vec<T> = all.into_iter().skip(skip).take(top).collect();
    let next = skip + value.len();
    let next_link = (next < count).then(|| format!("{ROOT}{path}?$top={top}&$skip={next}"));
    Ok(json(StatusCode::OK, &Page { value, count, next_link }, None))
}
