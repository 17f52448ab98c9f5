//! The API of Microsoft's auth sidecar: tokens and calls for APIs that configuration names.
mod overrides;

use crate::access::{Access, Refused};
use crate::answer::{Answer, empty, text};
use crate::apis::{Api, Apis, Options, below, end_to_end};
use crate::inbound::{Admitted, Inbound};
use crate::onward::{Cargo, Errand, Outgoing, PATIENCE, shown};
use crate::problem::Problem;
use crate::provider::Provider;
use crate::settings::{Bind, EntraRoute, EntraSettings};
use crate::telemetry::{Began, Path};
use crate::texas::buffered;
use crate::whose::SessionKey;
use crate::{Settings, Sidecar};
use bytes::Bytes;
use fetch::{Fetch, Passed};
use guard::SetupError;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use oauth::challenge::Challenge;
use overrides::Overrides;
use serde_json::{Map, Value, json};
use serve::{Caller, Serve, caught};
use std::sync::Arc;
use tokio::time::timeout;

/// The largest answer of an API: it goes back as one text.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Validate,
    Token { api: &'a str, route: EntraRoute },
    Call { api: &'a str, route: EntraRoute },
}

/// The API, for one listener.
pub struct Entra {
    sidecar: Arc<Sidecar>,
    access: Access,
    inbound: Inbound,
    apis: Apis,
    overrides: Vec<EntraRoute>,
    network: Fetch,
}

impl Entra {
    /// The API of this sidecar, for the listener at `bind`. APIs are called over `network`.
    ///
    /// # Errors
    /// If nothing can be asked of users' tokens, as it is configured.
    pub fn new(
        sidecar: &Arc<Sidecar>,
        settings: &Settings,
        own: &EntraSettings,
        bind: &Bind,
        network: Fetch,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            sidecar: Arc::clone(sidecar),
            access: Access::beside_users(&settings.callers, bind),
            inbound: Inbound::new(sidecar, settings)?,
            apis: settings.apis.clone(),
            overrides: own.overrides.clone(),
            network,
        })
    }

    async fn handled(&self, request: Request<Incoming>, caller: Caller) -> Result<Answer, Problem> {
        let (parts, body) = request.into_parts();
        self.admit(&parts, caller)?;
        let Some((method, route)) = routed(parts.uri.path()) else { return Ok(empty(StatusCode::NOT_FOUND)) };
        if parts.method != method {
            let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
            answer.headers_mut().insert(ALLOW, allowed(&method));
            return Ok(answer);
        }
        match route {
            Route::Validate => {
                let admitted = self.authenticated(&parts).await?;
                let body = json!({ "protocol": "Bearer", "token": admitted.token.expose(), "claims": admitted.claims });
                Ok(told(&body))
            }
            Route::Token { api, route } => {
                let authorized = self.authorized(&parts, route).await?;
                let (api, options) = self.optioned(&parts, api, route)?;
                let errand = self.errand(&parts, Path::AuthorizationHeader, api, &options, authorized.as_ref());
                let token = errand.token(None).await?;
                let header = shown(&token)?;
                Ok(told(&keyed(&options, json!({ "authorizationHeader": header.to_str().unwrap_or_default() }))))
            }
            Route::Call { api, route } => {
                let authorized = self.authorized(&parts, route).await?;
                let (api, options) = self.optioned(&parts, api, route)?;
                let body = buffered(body).await.map_err(|malformed| Problem::bad_request(malformed.0))?;
                let errand = self.errand(&parts, Path::DownstreamApi, api, &options, authorized.as_ref());
                let outgoing = outgoing(api, &options, &parts.headers, body)?;
                let answer = answered(errand.call(&self.network, outgoing).await?).await?;
                Ok(told(&keyed(&options, answer)))
            }
        }
    }

    fn admit(&self, parts: &Parts, caller: Caller) -> Result<(), Problem> {
        if !caller.is_local() {
            let detail = "only programs of this machine may call; call the sidecar from the same pod or host";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        self.access.admit(caller, parts.uri.authority(), &parts.headers).map_err(unadmitted)
    }

    async fn authenticated(&self, parts: &Parts) -> Result<Admitted, Problem> {
        let admitted = self.inbound.admit(&parts.headers, parts.uri.query()).await;
        admitted.map_err(|problem| {
            let code = problem.body().get("code").and_then(Value::as_str).unwrap_or_default();
            // What is no token at all is a request that cannot be understood.
            if matches!(code, "token.present" | "token.form") {
                problem.with_status(StatusCode::BAD_REQUEST)
            } else {
                problem
            }
        })
    }

    /// The user's token, on the routes that want one.
    async fn authorized(&self, parts: &Parts, route: EntraRoute) -> Result<Option<Admitted>, Problem> {
        match route {
            EntraRoute::AuthorizationHeader | EntraRoute::DownstreamApi => self.authenticated(parts).await.map(Some),
            EntraRoute::AuthorizationHeaderUnauthenticated | EntraRoute::DownstreamApiUnauthenticated => Ok(None),
        }
    }

    /// How the API is called for this request: a copy, with the caller's overrides where its route has them.
    fn optioned(&self, parts: &Parts, name: &str, route: EntraRoute) -> Result<(&Api, Options), Problem> {
        let authorized = matches!(route, EntraRoute::AuthorizationHeader | EntraRoute::DownstreamApi);
        let api = self.apis.named(name);
        let api = api.ok_or_else(|| Problem::bad_request(format!("Not able to resolve '{}'.", plain(name))))?;
        let mut options = api.options.clone();
        let overrides = Overrides::read(parts.uri.query());
        if !overrides.is_empty() && !self.overrides.contains(&route) {
            let detail = format!("overrides are not allowed on this route; set `{}` to allow them", route.switch());
            return Err(Problem::bad_request(detail));
        }
        let provider = self.sidecar.providers().named(&api.provider);
        let (tenant, random) = (provider.and_then(Provider::tenant), self.sidecar.random());
        overrides.apply(&mut options, tenant, random).map_err(Problem::bad_request)?;
        if let Some(other) = options.refused_for(provider.is_some_and(Provider::is_entra), authorized) {
            return Err(Problem::bad_request(other));
        }
        if options.scopes.is_empty() {
            return Err(Problem::bad_request(format!(
                "No scopes found for the API '{}' or in optionsOverride. 'scopes' needs to be either a single value or a \
                 list of values.",
                api.name
            )));
        }
        Ok((api, options))
    }

    fn errand<'a>(
        &'a self,
        parts: &'a Parts,
        path: Path,
        api: &'a Api,
        options: &'a Options,
        user: Option<&'a Admitted>,
    ) -> Errand<'a> {
        let whose = options.whose(user.map(|admitted| &admitted.token));
        let (sidecar, inbound) = (self.sidecar.as_ref(), &self.inbound);
        Errand { sidecar, inbound, path, api, options, whose, headers: &parts.headers }
    }
}

impl Serve for Entra {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Answer {
        let began = Began::now();
        let path = match routed(request.uri().path()) {
            // For the platform, which asks from outside.
            None if request.uri().path() == "/healthz" => return healthy(request.method()),
            None => Path::Other,
            Some((_, Route::Validate)) => Path::Validate,
            Some((_, Route::Token { .. })) => Path::AuthorizationHeader,
            Some((_, Route::Call { .. })) => Path::DownstreamApi,
        };
        let answer = match timeout(PATIENCE * 3, caught(self.handled(request, caller))).await {
            Ok(Some(Ok(answer))) => answer,
            // Whatever an authority refuses is a 401 here, with all that it said.
            Ok(Some(Err(problem))) if problem.is_authoritys() => problem.with_status(StatusCode::UNAUTHORIZED).answer(),
            Ok(Some(Err(problem))) => problem.answer(),
            Ok(None) => Problem::internal().answer(),
            Err(_) => Problem::unavailable("the request took too long", None).answer(),
        };
        if answer.status().is_client_error() || answer.status().is_server_error() {
            self.sidecar.telemetry().error(path, usize::MAX, "Problem");
        }
        self.sidecar.telemetry().answered(path, answer.status().as_u16(), began);
        answer
    }
}

/// What a refusal of who may call is called, here and at our own API.
pub(crate) fn unadmitted(refused: Refused) -> Problem {
    let status = match refused {
        Refused::Credential => StatusCode::UNAUTHORIZED,
        Refused::Host | Refused::Page | Refused::User => StatusCode::FORBIDDEN,
    };
    let text = match refused {
        Refused::Credential => {
            "the caller shows no credential, or a wrong one; send the configured token as `X-Caller-Authorization: Bearer`"
        }
        other => other.text(),
    };
    let problem = Problem::new(status, text);
    // RFC 9110 section 15.5.2.
    let shown = Challenge::bearer().with("realm", "caller");
    if refused == Refused::Credential { problem.challenges(&[shown]) } else { problem }
}

fn routed(path: &str) -> Option<(Method, Route<'_>)> {
    if path == "/Validate" {
        return Some((Method::GET, Route::Validate));
    }
    let (kind, api) = path.strip_prefix('/')?.split_once('/')?;
    if api.is_empty() || api.contains('/') {
        return None;
    }
    match kind {
        "AuthorizationHeader" => Some((Method::GET, Route::Token { api, route: EntraRoute::AuthorizationHeader })),
        "AuthorizationHeaderUnauthenticated" => {
            Some((Method::GET, Route::Token { api, route: EntraRoute::AuthorizationHeaderUnauthenticated }))
        }
        "DownstreamApi" => Some((Method::POST, Route::Call { api, route: EntraRoute::DownstreamApi })),
        "DownstreamApiUnauthenticated" => {
            Some((Method::POST, Route::Call { api, route: EntraRoute::DownstreamApiUnauthenticated }))
        }
        _ => None,
    }
}

fn healthy(method: &Method) -> Answer {
    match *method {
        Method::GET | Method::HEAD => text(StatusCode::OK, "text/plain; charset=utf-8", "Healthy"),
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn allowed(method: &Method) -> HeaderValue {
    HeaderValue::from_str(method.as_str()).unwrap_or(HeaderValue::from_static("GET"))
}

fn plain(name: &str) -> String {
    name.chars().take(80).collect()
}

/// With the key that was allocated, which is told this once.
fn keyed(options: &Options, mut body: Value) -> Value {
    if let (Some(SessionKey::Allocated(key)), Value::Object(members)) = (&options.session, &mut body) {
        members.insert("longRunningWebApiSessionKey".to_owned(), key.expose().into());
    }
    body
}

/// A success, as Microsoft's sidecar heads it.
fn told(body: &Value) -> Answer {
    let mut answer = crate::answer::json(StatusCode::OK, body.to_string());
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}

fn outgoing(api: &Api, options: &Options, inbound: &HeaderMap, body: Bytes) -> Result<Outgoing, Problem> {
    let missing = || Problem::bad_request(format!("the API '{}' has no `BaseUrl`; configure it", api.name));
    let base = api.url.as_ref().ok_or_else(missing)?;
    let (path, own) = match options.relative_path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (options.relative_path.as_str(), None),
    };
    let mut added = url::form_urlencoded::Serializer::new(String::new());
    let added = added.extend_pairs(&options.query).finish();
    let query =
        [own.unwrap_or_default(), added].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
    let url = below(base, path, Some(&query)).map_err(|why| Problem::bad_request(format!("`RelativePath`: {why}")))?;
    let mut headers = options.headers.clone();
    let kind = options.content_type.as_ref().or_else(|| inbound.get(CONTENT_TYPE)).filter(|_| !body.is_empty());
    for (name, value) in [(CONTENT_TYPE, kind), (ACCEPT, options.accept.as_ref())] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = inbound.get(name) {
            headers.insert(name, value.clone());
        }
    }
    let method = options.method.clone().unwrap_or(Method::GET);
    Ok(Outgoing { method, url, headers, cargo: Cargo::Whole(body) })
}

/// The API's answer as one object: a redirect too, which is the caller's to follow or not.
async fn answered(answer: Response<Passed>) -> Result<Value, Problem> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|_| {
        let detail = "the API's answer broke off, or is larger than 16 MiB; call it through `/call`, which streams";
        Problem::new(StatusCode::BAD_GATEWAY, detail)
    })?;
    let body = body.to_bytes();
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in &end_to_end(&parts.headers) {
        if *name != SET_COOKIE
            && let Value::Array(values) = headers.entry(name.as_str()).or_insert(json!([]))
        {
            values.push(String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    let content = (!body.is_empty()).then(|| String::from_utf8_lossy(&body));
    Ok(json!({ "statusCode": parts.status.as_u16(), "headers": headers, "content": content }))
}
