//! Userinfo on the wire (OpenID Connect Core section 5.3, RFC 6750).
use super::endpoint::{BEARER, Caller, Endpoint, Readers, Route};
use super::{bearer, json};
use crate::Authority;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use oauth::Parameters;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Userinfo",
    purpose: "What the user's scopes tell of them (OpenID Connect Core section 5.3).",
    routes: &[Route { path: "/{tenant}/openid/userinfo", handler: || any(userinfo) }],
    methods: &["GET", "POST"],
    parameters: &[&[Parameters { when: "", each: &[BEARER] }]],
    caller: Caller::Program,
    readers: Readers::None,
    notes: &["A refusal carries `WWW-Authenticate: Bearer` (RFC 6750)."],
}];

pub(super) async fn userinfo(State(authority): State<Authority>, request: Request) -> Response {
    let token = match bearer::token(request.headers()) {
        Ok(token) => token,
        Err(denial) => return bearer::refuse(&denial),
    };
    match deputize_core::userinfo::userinfo(&authority.ports, token).await {
        Ok(claims) => json(StatusCode::OK, &claims),
        Err(denial) => bearer::refuse(&denial),
    }
}
