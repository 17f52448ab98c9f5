//! The token endpoint on the wire.
use super::endpoint::{CORRELATION, Caller, Endpoint, Readers, Route};
use super::form::{BodyError, posted_under, whole_query};
use super::refusal::{Correlation, refusal, with_id};
use super::{json, wait};
use crate::{Authority, ClientAddress};
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decision::CheckId;
use deputize_core::client_auth::Basic;
use deputize_core::denial::Denial;
use deputize_core::endpoint::EndpointVersion;
use deputize_core::token_endpoint::{self, TokenRequest};
use deputize_core::trace::TraceId;
use deputize_core::{introspection, revocation};
use oauth::{Form, Parameter, Parameters, Secret, TokenResponseV1};

/// Parameters that carry secrets: in a URL they end up in logs and histories.
const NEVER_IN_URLS: [&str; 9] = [
    "client_secret",
    "client_assertion",
    "assertion",
    "code",
    "code_verifier",
    "refresh_token",
    "password",
    "grant_type",
    "token",
];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        title: "Token",
        purpose: "Tokens for a grant: a code, a refresh token, the client itself, a user's token (On-Behalf-Of), a device.",
        routes: &[
            Route { path: "/{tenant}/oauth2/v2.0/token", handler: || any(token) },
            Route { path: "/{tenant}/oauth2/token", handler: || any(v1) },
        ],
        methods: &["POST"],
        parameters: &[token_endpoint::PARAMETERS, &[CORRELATION, TRACE]],
        caller: Caller::Program,
        readers: Readers::SinglePage,
        notes: &[
            "Under `common` and `organizations` the tenant is that of what is presented: the code, the refresh token, the \
             device code, `tid` of the assertion. Client credentials need the tenant itself.",
            "A client that is wrong about its credential, or asks, too often is answered with 429, and `Retry-After` says how \
             long; nobody else is.",
            "v1.0 answers with numbers as strings and with `expires_on`, `not_before` and `resource`; On-Behalf-Of and \
             sign-ins get a refresh token unasked.",
            "Secrets in the URL are refused, and should be replaced: they are in logs.",
            "Errors have Entra's form (`entra` profile of the client) or that of RFC 6749 with check ids (`native`). 401 \
             stands for `invalid_client`; `WWW-Authenticate` goes with it where HTTP Basic was used.",
        ],
    },
    Endpoint {
        title: "Introspection",
        purpose: "Whether a token is good now, told to the API that it is for (RFC 7662).",
        routes: &[Route { path: "/{tenant}/oauth2/v2.0/introspect", handler: || any(introspect) }],
        methods: &["POST"],
        parameters: &[introspection::PARAMETERS, &[CORRELATION, TRACE]],
        caller: Caller::Program,
        readers: Readers::SinglePage,
        notes: &["Public clients may not ask. What may not be told is `{\"active\": false}`."],
    },
    Endpoint {
        title: "Revocation",
        purpose: "A client gives back what it was issued (RFC 7009).",
        routes: &[Route { path: "/{tenant}/oauth2/v2.0/revoke", handler: || any(revoke) }],
        methods: &["POST"],
        parameters: &[revocation::PARAMETERS, &[CORRELATION]],
        caller: Caller::Program,
        readers: Readers::SinglePage,
        notes: &["A token that is not the caller's, or is none, is answered with 200 and nothing happens."],
    },
];

/// The trace that a request is part of.
const TRACE: Parameters = Parameters {
    when: "Trace",
    each: &[Parameter::header(
        "traceparent",
        "W3C Trace Context: by its trace-id an API is known that received a user's token and asks as itself. One that is \
         malformed, or not alone, means none.",
    )],
};

pub(super) async fn token(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    served(&authority, EndpointVersion::V2, &tenant, request, Asked::Token).await
}

pub(super) async fn v1(State(authority): State<Authority>, Path(tenant): Path<String>, request: Request) -> Response {
    served(&authority, EndpointVersion::V1, &tenant, request, Asked::Token).await
}

/// Introspection (RFC 7662): the same clients, authenticated in the same ways.
pub(super) async fn introspect(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    served(&authority, EndpointVersion::V2, &tenant, request, Asked::Introspect).await
}

/// Revocation (RFC 7009).
pub(super) async fn revoke(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    served(&authority, EndpointVersion::V2, &tenant, request, Asked::Revoke).await
}

/// What an authenticated client asks for.
#[derive(Clone, Copy)]
enum Asked {
    Token,
    Introspect,
    Revoke,
}

async fn served(
    authority: &Authority,
    version: EndpointVersion,
    tenant: &str,
    request: Request,
    asked: Asked,
) -> Response {
    // Several, or one that is no text, is still an origin: left out, it would pass for a request without one.
    let origins =
        request.headers().get_all(ORIGIN).iter().map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned());
    let origin = origins.reduce(|first, next| format!("{first}, {next}"));
    if request.method() == Method::OPTIONS {
        return preflight(authority, origin.as_deref());
    }
    let (in_url, address) = (whole_query(&request), ClientAddress::of(&request));
    let mut correlation = Correlation::of_query(&request);
    let (head, body) = request.into_parts();
    let answered = async {
        let in_url = in_url.map_err(BodyError::Form).map_err(Early::Body)?;
        let form = posted_under(&head, body).await.map_err(Early::Body)?;
        if let Some(name) = NEVER_IN_URLS.iter().find(|name| in_url.mentions(name)) {
            let denial =
                Denial::new(CheckId::RequestWellFormed, format!("`{name}` in the body"), "it stands in the URL");
            return Err(Early::Denied(
                denial.fix("send the parameters in the body; what stood in the URL is in logs: replace it"),
            ));
        }
        let basic = basic(&head.headers).map_err(Early::Denied)?;
        correlation = std::mem::take(&mut correlation).or(&form);
        let request = TokenRequest {
            version,
            tenant,
            form: &form,
            basic: basic.as_ref(),
            origin: origin.as_deref(),
            correlation: correlation.plain(),
            address,
            trace: trace(&head.headers),
        };
        let ports = &authority.ports;
        let answered = match asked {
            Asked::Token => token_endpoint::answer(ports, request).await.map(|answered| {
                let body = match &answered.v1 {
                    Some(v1) => json(StatusCode::OK, &TokenResponseV1::new(&answered.response, v1)),
                    None => json(StatusCode::OK, &answered.response),
                };
                (answered.decision, body)
            }),
            Asked::Introspect => introspection::answer(ports, request)
                .await
                .map(|(decision, told)| (decision, json(StatusCode::OK, &told))),
            // RFC 7009 section 2.2: the body means nothing.
            Asked::Revoke => revocation::answer(ports, request)
                .await
                .map(|decision| (decision, json(StatusCode::OK, &serde_json::json!({})))),
        };
        answered.map_err(|refusal| Early::Refused(Box::new(refusal), basic.is_some()))
    }
    .await;
    let mut response = match answered {
        Ok((decision, mut response)) => {
            with_id(&mut response, &decision);
            response
        }
        Err(early) => early.response(authority, &correlation),
    };
    correlation.echo(&mut response);
    let headers = response.headers_mut();
    headers.insert("x-ms-ests-server", HeaderValue::from_static("deputize"));
    headers.insert("x-ms-clitelem", HeaderValue::from_static("1,0,0,,"));
    if let Some(origin) =
        origin.filter(|origin| is_spa_origin(authority, origin)).and_then(|o| HeaderValue::from_str(&o).ok())
    {
        headers.insert("access-control-allow-origin", origin);
        headers.insert("vary", HeaderValue::from_static("origin"));
    }
    response
}

/// The trace that the request is part of. Of several nobody knows which (W3C Trace Context section 3.2).
fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let mut values = headers.get_all("traceparent").iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    TraceId::of(only.to_str().ok()?)
}

/// Ends of a request.
enum Early {
    /// The body could not be taken.
    Body(BodyError),
    /// Refused before the rules were asked.
    Denied(Denial),
    /// Refused by the rules; whether HTTP Basic was used.
    Refused(Box<token_endpoint::Refusal>, bool),
}

impl Early {
    fn response(self, authority: &Authority, correlation: &Correlation) -> Response {
        let (status, denial) = match self {
            Self::Refused(refusal, basic) => {
                let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
                let mut response = json(status, &refusal.body);
                wait(&mut response, refusal.retry_after);
                // RFC 6749 section 5.2: a client that used the header is answered with the scheme.
                if status == StatusCode::UNAUTHORIZED && basic {
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
                }
                with_id(&mut response, refusal.body.trace_id.as_deref().unwrap_or_default());
                return response;
            }
            Self::Body(error) => (error.status(), error.denial()),
            Self::Denied(denial) => (StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::BAD_REQUEST), denial),
        };
        refusal(authority, status, &denial, correlation)
    }
}

/// HTTP Basic, with form-encoded parts (RFC 6749 section 2.3.1). Other schemes are not for this endpoint.
fn basic(headers: &HeaderMap) -> Result<Option<Basic>, Denial> {
    let wrong = || {
        Denial::new(
            CheckId::ClientSecretCorrect,
            "`Authorization: Basic` with `client id:secret` in base64, each form-encoded",
            "another value",
        )
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Denial::new(CheckId::ClientCredentialSingle, "one `Authorization` header", "several"));
    }
    let (scheme, credentials) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let decoded =
        STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
    let (id, secret) = decoded.split_once(':').ok_or_else(wrong)?;
    let part = |text: &str| {
        let form = Form::decode(format!("x={}", text.replace('&', "%26")).as_bytes()).ok()?;
        Some(form.value("x").unwrap_or_default().to_owned())
    };
    let (client_id, secret) = (part(id).ok_or_else(wrong)?, part(secret).ok_or_else(wrong)?);
    Ok(Some(Basic { client_id, secret: Secret::new(secret) }))
}

fn is_spa_origin(authority: &Authority, origin: &str) -> bool {
    authority.ports.directory.snapshot().spa_origin(origin)
}

fn preflight(authority: &Authority, origin: Option<&str>) -> Response {
    let allowed =
        origin.filter(|origin| is_spa_origin(authority, origin)).and_then(|origin| HeaderValue::from_str(origin).ok());
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert("access-control-allow-origin", origin);
        headers.insert("access-control-allow-methods", HeaderValue::from_static("POST"));
        headers.insert("access-control-allow-headers", HeaderValue::from_static("content-type, client-request-id"));
        headers.insert("access-control-max-age", HeaderValue::from_static("3600"));
        headers.insert("vary", HeaderValue::from_static("origin"));
    }
    response
}
