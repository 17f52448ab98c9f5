//! The directory API on the wire: Microsoft Graph's paths, bodies and errors (`/{tenant}/v1.0/…`).
//!
//! Callers send a bearer token and nothing else counts: no cookie is looked at, and no other origin is let in, so that a page
//! cannot make a browser call it for its user (M-03).
use super::endpoint::{BEARER, Caller, Endpoint, Readers, Route};
use super::refusal::Correlation;
use super::{form, json};
use crate::Authority;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use decision::CheckId;
use deputize_core::denial::Denial;
use deputize_core::directory_api::{self, Answer};
use deputize_core::issuance;
use oauth::challenge::{Challenge, encode_claims};
use oauth::{Parameter, Parameters, Place};
use serde_json::json as object;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Directory",
    purpose: "Registrations, service principals, users and consents, with Microsoft Graph's paths and shapes.",
    routes: &[Route { path: "/{tenant}/v1.0/{*path}", handler: || any(directory_api) }],
    methods: &["GET", "POST", "PATCH", "DELETE"],
    parameters: &[&[
        Parameters {
            when: "Header fields",
            each: &[
                BEARER,
                Parameter::header("client-request-id", "Comes back, and stands in errors: up to 64 plain characters."),
            ],
        },
        Parameters {
            when: "Lists",
            each: &[
                Parameter::optional("$top", "How many objects a part has: 1 to 999, by default 100.").at(Place::Query),
                Parameter::optional("$skiptoken", "Where a part begins: follow `@odata.nextLink`.").at(Place::Query),
            ],
        },
    ]],
    caller: Caller::Program,
    readers: Readers::None,
    notes: &[
        "Which addresses there are, and who may call them, stands in [directory](directory.md).",
        "The token is one for `api://deputize`. A body is one JSON object, within 64 KiB.",
        "Other options that begin with `$` are refused, but for `$select` and `$count`, which change nothing.",
    ],
}];

pub(super) async fn directory_api(
    State(authority): State<Authority>,
    Path((tenant, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    let correlation = Correlation::of(request.headers());
    let decision = issuance::random_uuid(&authority.ports).to_string();
    let mut response = match answered(&authority, &tenant, &path, &decision, request).await {
        Ok(Answer { status, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            body.map_or_else(|| status.into_response(), |body| json(status, &body))
        }
        Err(denial) => refuse(&authority, &denial, &decision, &correlation),
    };
    correlation.echo(&mut response);
    if let Ok(id) = HeaderValue::from_str(&decision) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

async fn answered(
    authority: &Authority,
    tenant: &str,
    path: &str,
    decision: &str,
    request: Request,
) -> Result<Answer, Denial> {
    let ports = &authority.ports;
    let token = super::bearer::token(request.headers())?;
    let asked = directory_api::Request { tenant, method: request.method().as_str(), path, token, decision };
    let call = directory_api::begin(ports, asked).await?;
    // An option that would narrow a list and is not known here is refused, not forgotten.
    let query = form::whole_query(&request)
        .map_err(|error| Denial::new(CheckId::DirectoryQuery, "query options, each once", error.to_string()))?;
    let body = form::sent_json(request).await?;
    call.answer(ports, &query, &body).await
}

/// The status of a refusal, and Graph's word for it. Whatever is wrong with a token, or with what stands behind it, is a
/// matter of authentication, whatever it would be called at the token endpoint.
fn word(denial: &Denial) -> (StatusCode, &'static str) {
    match denial.id() {
        CheckId::DirectoryRoute | CheckId::DirectoryObject => (StatusCode::NOT_FOUND, "Request_ResourceNotFound"),
        CheckId::DirectoryMethod => (StatusCode::METHOD_NOT_ALLOWED, "Request_BadRequest"),
        CheckId::DirectoryMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Request_UnsupportedMediaType"),
        CheckId::DirectorySize => (StatusCode::PAYLOAD_TOO_LARGE, "Request_EntityTooLarge"),
        CheckId::DirectoryBody | CheckId::DirectoryQuery | CheckId::DirectorySound => {
            (StatusCode::BAD_REQUEST, "Request_BadRequest")
        }
        CheckId::DirectoryContended => (StatusCode::CONFLICT, "Directory_ConcurrencyViolation"),
        CheckId::DirectoryUnique => (StatusCode::CONFLICT, "Request_MultipleObjectsWithSameKeyValue"),
        CheckId::ScopeSufficient
        | CheckId::RoleSufficient
        | CheckId::UserRequired
        | CheckId::ClientAssigned
        | CheckId::ConsentGranted
        | CheckId::ConsentAdmin
        | CheckId::ResourceDeclared
        | CheckId::DirectoryStanding
        | CheckId::DirectoryPrivileged
        | CheckId::DirectoryProperty => (StatusCode::FORBIDDEN, "Authorization_RequestDenied"),
        CheckId::StoreAvailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        _ => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
    }
}

/// Graph's error, with the check that failed beside its own ids.
fn refuse(authority: &Authority, denial: &Denial, decision: &str, correlation: &Correlation) -> Response {
    let (status, code) = word(denial);
    let check = &denial.check;
    let body = object!({"error": {
        "code": code,
        "message": denial.sentence(),
        "innerError": {
            "date": authority.ports.now().to_string().trim_end_matches('Z'),
            "request-id": decision,
            "client-request-id": correlation.plain().unwrap_or(decision),
            "check": check.id,
            "expected": check.expected,
            "actual": check.actual,
            "fixer": check.fixer,
            "fix": check.fix,
        },
    }});
    let mut response = json(status, &body);
    if denial.id() == CheckId::DirectoryMethod
        && let Ok(allowed) = HeaderValue::from_str(&check.expected)
    {
        response.headers_mut().insert(ALLOW, allowed);
    }
    let challenge = match (status, &denial.claims) {
        (StatusCode::UNAUTHORIZED, Some(claims)) => Some(
            Challenge::bearer()
                .with("error", "insufficient_claims")
                .with("claims", encode_claims(claims))
                .with("error_description", denial.sentence()),
        ),
        (StatusCode::UNAUTHORIZED, None) if denial.id() == CheckId::TokenPresent => Some(Challenge::bearer()),
        (StatusCode::UNAUTHORIZED, None) => {
            Some(Challenge::bearer().with("error", "invalid_token").with("error_description", denial.sentence()))
        }
        (StatusCode::FORBIDDEN, _) => {
            Some(Challenge::bearer().with("error", "insufficient_scope").with("error_description", denial.sentence()))
        }
        _ => None,
    };
    if let Some(value) = challenge.and_then(|challenge| HeaderValue::from_str(&challenge.to_string()).ok()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}
