//! What an endpoint is: the router is made from these, and so is the reference.
//!
//! An endpoint without an entry has no route; a method that its entry does not name is refused before its handler runs; a
//! parameter or header field that its entry does not name is gone before its handler reads.
use super::refusal::{Correlation, refusal};
use crate::{Authority, page};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, HeaderName, HeaderValue,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use decision::CheckId;
use deputize_core::denial::Denial;
use oauth::{Parameter, Parameters, Place};

/// An endpoint, and all that may be known of it.
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// What it is called.
    pub title: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Its paths, and what answers there.
    pub routes: &'static [Route],
    /// The methods it takes. `HEAD` goes with `GET`.
    pub methods: &'static [&'static str],
    /// What it reads.
    pub parameters: &'static [&'static [Parameters]],
    /// Who calls it.
    pub caller: Caller,
    /// Which pages of other sites may read its answers.
    pub readers: Readers,
    /// What else is to be known: of versions, profiles and answers.
    pub notes: &'static [&'static str],
}

/// A path, and what answers there.
#[derive(Clone, Copy)]
pub struct Route {
    /// The path; `{tenant}` is a tenant's id or domain, or an alias.
    pub path: &'static str,
    /// What answers.
    pub(crate) handler: fn() -> MethodRouter<Authority>,
}

/// Who calls an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A browser: it gets pages and redirects.
    Browser,
    /// One of our own pages, in the browser it was shown to.
    OwnPage,
    /// A program: it gets JSON.
    Program,
}

/// Which pages of other sites may read answers (CORS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// None.
    None,
    /// Those of registered single-page applications.
    SinglePage,
    /// All: there is nothing in it that is anyone's.
    Any,
}

/// What pages of our own post back.
pub(super) const PAGE: Parameters = Parameters {
    when: "Hidden fields",
    each: &[
        Parameter::depends(
            "ticket",
            "What the page was shown with: it works once, for this request and in this browser.",
        ),
        Parameter::depends("request", "The parameters of the request that the page was shown for."),
    ],
};

/// What is common to all that pages of our own post to.
pub(super) const OF_OUR_PAGE: Endpoint = Endpoint {
    title: "",
    purpose: "",
    routes: &[],
    methods: &["POST"],
    parameters: &[],
    caller: Caller::OwnPage,
    readers: Readers::None,
    notes: &[],
};

/// Header fields of browsers on the endpoints that pages belong to.
pub(super) const BROWSER: Parameters = Parameters {
    when: "Header fields",
    each: &[
        Parameter::header("cookie", "The session, and what binds pages to this browser."),
        Parameter::header("origin", "Where a form was posted from: our own pages are posted from this host."),
        Parameter::header("sec-fetch-site", "The same, from newer browsers."),
    ],
};

/// The client's name for its request.
pub(super) const CORRELATION: Parameters = Parameters {
    when: "Correlation",
    each: &[
        Parameter::header(
            "client-request-id",
            "Comes back, and is `correlation_id` of errors: up to 64 plain characters.",
        ),
        Parameter::optional("client-request-id", "The same, where no header field has it.").at(Place::Either),
    ],
};

/// A bearer token of this authority.
pub(super) const BEARER: Parameter = Parameter {
    need: oauth::Need::Required,
    ..Parameter::header("authorization", "`Bearer` and an access token of this authority (RFC 6750).")
};

/// Header fields that say how a message is written or sent, not what is asked.
const TRANSPORT: [&str; 6] =
    ["accept", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"];

impl Endpoint {
    /// Every parameter.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied().flatten().flat_map(|parameters| parameters.each)
    }

    /// Whether it reads a parameter of this name in one of these places.
    pub(super) fn reads(&self, name: &str, places: &[Place]) -> bool {
        self.parameters().any(|parameter| places.contains(&parameter.place) && parameter.name == name)
    }

    fn takes(&self, method: &Method) -> bool {
        let name = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.methods.contains(&name) || (method == Method::OPTIONS && self.readers != Readers::None)
    }

    /// `Allow`.
    pub fn allow(&self) -> String {
        let preflight = (self.readers != Readers::None).then_some("OPTIONS");
        self.methods.iter().copied().chain(preflight).collect::<Vec<_>>().join(", ")
    }

    /// The routes of these endpoints, and nothing else.
    pub(super) fn router(all: impl Iterator<Item = &'static Self>, authority: &Authority) -> Router<Authority> {
        let routes = all.flat_map(|endpoint| endpoint.routes.iter().map(move |route| (endpoint, route)));
        routes.fold(Router::new(), |router, (endpoint, Route { path, handler })| {
            let state = (authority.clone(), endpoint);
            router.route(path, handler().layer(from_fn_with_state(state, admitted)))
        })
    }
}

/// Takes away every header field that the endpoint does not declare, and tells those who read forms which endpoint it is.
fn forget(endpoint: &'static Endpoint, request: &mut Request) {
    let undeclared =
        |name: &HeaderName| !TRANSPORT.contains(&name.as_str()) && !endpoint.reads(name.as_str(), &[Place::Header]);
    let gone: Vec<HeaderName> = request.headers().keys().filter(|name| undeclared(name)).cloned().collect();
    for name in gone {
        request.headers_mut().remove(name);
    }
    request.extensions_mut().insert(endpoint);
}

async fn admitted(
    State((authority, endpoint)): State<(Authority, &'static Endpoint)>,
    mut request: Request,
    next: Next,
) -> Response {
    let correlation = Correlation::of(request.headers());
    forget(endpoint, &mut request);
    let any = endpoint.readers == Readers::Any;
    let mut response = if !endpoint.takes(request.method()) {
        refused(&authority, endpoint, &correlation)
    } else if any && request.method() == Method::OPTIONS {
        preflight()
    } else {
        next.run(request).await
    };
    if any {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn refused(authority: &Authority, endpoint: &Endpoint, correlation: &Correlation) -> Response {
    let allow = endpoint.allow();
    let denial = Denial::new(CheckId::RequestWellFormed, format!("one of the methods {allow}"), "another one")
        .fix("send the request with another method");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = if endpoint.caller == Caller::Program {
        refusal(authority, status, &denial, correlation)
    } else {
        page::error(status.as_u16(), &denial, None, None)
    };
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// Public documents may be read by any page, and errors about them: no credentials are involved. Browsers ask first only
/// if a page adds header fields of its own.
fn preflight() -> Response {
    let headers =
        [(ACCESS_CONTROL_ALLOW_METHODS, "GET"), (ACCESS_CONTROL_ALLOW_HEADERS, "*"), (ACCESS_CONTROL_MAX_AGE, "3600")];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::form::{posted, query};
    use super::{Caller, Endpoint, Readers, Route};
    use axum::body::Body;
    use axum::extract::Request;
    use axum::middleware::Next;
    use axum::response::Response;
    use axum::routing::any;
    use http_body_util::BodyExt as _;
    use oauth::{Form, Parameter, Parameters, Place};
    use tower::ServiceExt as _;

    static ENDPOINT: Endpoint = Endpoint {
        title: "Echo",
        purpose: "",
        routes: &[Route { path: "/echo", handler: || any(everything) }],
        methods: &["GET", "POST"],
        parameters: &[&[Parameters {
            when: "",
            each: &[
                Parameter::optional("a", ""),
                Parameter::optional("q", "").at(Place::Query),
                Parameter::optional("e", "").at(Place::Either),
                Parameter::header("x-known", ""),
            ],
        }]],
        caller: Caller::Program,
        readers: Readers::None,
        notes: &[],
    };

    /// Tells all that it can read.
    async fn everything(request: Request) -> String {
        let mut seen: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
        let names = |form: Form| form.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        seen.extend(names(query(&request).unwrap()));
        seen.extend(posted(request).await.map(names).unwrap_or_default());
        seen.join(" ")
    }

    fn request(method: &str) -> Request {
        Request::builder()
            .method(method)
            .uri("/echo?a=1&q=1&e=1&z=1")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-known", "1")
            .header("x-unknown", "1")
            .header("cookie", "1")
            .body(Body::from("a=1&q=1&e=1&z=1"))
            .unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn through(endpoint: &'static Endpoint, request: Request) -> Response {
        let mark = move |mut request: Request, next: Next| {
            super::forget(endpoint, &mut request);
            next.run(request)
        };
        let router = axum::Router::new().route("/echo", any(everything)).layer(axum::middleware::from_fn(mark));
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_handler_can_read_what_its_endpoint_declares_and_nothing_else() {
        assert_eq!(text(through(&ENDPOINT, request("POST")).await).await, "content-type x-known q e a e");
    }

    #[tokio::test]
    async fn without_an_endpoint_no_form_can_be_read() {
        assert_eq!(everything(request("POST")).await, "content-type x-known x-unknown cookie");
    }

    #[test]
    fn head_goes_with_get_and_options_with_readers() {
        let takes = |endpoint: &Endpoint, method: &str| endpoint.takes(&method.parse().unwrap());
        assert!(takes(&ENDPOINT, "HEAD") && !takes(&ENDPOINT, "OPTIONS") && !takes(&ENDPOINT, "PUT"));
        let open = Endpoint { readers: Readers::Any, methods: &["POST"], ..ENDPOINT };
        assert!(takes(&open, "OPTIONS") && !takes(&open, "HEAD"));
        assert_eq!(open.allow(), "POST, OPTIONS");
    }
}
