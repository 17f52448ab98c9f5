//! Pages of other origins: which may call from a browser, and read what comes back (CORS).
use axum::extract::{Request, State};
use axum::middleware::{FromFnLayer, Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};
use std::pin::Pin;
use std::sync::Arc;

type Origins = Arc<[String]>;
type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Layer = FromFnLayer<fn(State<Origins>, Request, Next) -> Answer, Origins, (State<Origins>, Request)>;

/// Lets pages of these origins call, with a token and without cookies.
pub(crate) fn answer(origins: &[String]) -> Layer {
    from_fn_with_state(Origins::from(origins), |State(origins), request, next| Box::pin(cross(origins, request, next)))
}

async fn cross(origins: Origins, request: Request, next: Next) -> Response {
    let asked = request.headers().get(ORIGIN).cloned();
    let known = asked.filter(|asked| origins.iter().any(|origin| asked == origin.as_str()));
    let preflight = known.is_some() && request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    let Some(origin) = known else { return response };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // A challenge is for the page: it says what to ask the user for.
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("www-authenticate"));
    if preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}
