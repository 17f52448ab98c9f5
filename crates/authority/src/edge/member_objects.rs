//! The groups of a user, for those whose tokens had no room (Graph's `getMemberObjects`).
use super::{bearer, json, method_not_allowed};
use crate::Authority;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::json as object;

pub(super) async fn member_objects(
    State(authority): State<Authority>,
    Path((tenant, user)): Path<(String, String)>,
    request: Request,
) -> Response {
    // Graph's is POST with `securityEnabledOnly`; all groups here are security groups, so there is nothing to read.
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let body = object!({"error": "invalid_request", "error_description": "use GET or POST"});
        return method_not_allowed("GET, POST", json(StatusCode::METHOD_NOT_ALLOWED, &body));
    }
    let token = match bearer::token(request.headers()) {
        Ok(token) => token,
        Err(denial) => return bearer::refuse(&denial),
    };
    match deputize_core::member_objects::member_objects(&authority.ports, &tenant, &user, token).await {
        Ok(groups) => json(StatusCode::OK, &object!({ "value": groups })),
        Err(denial) => bearer::refuse(&denial),
    }
}
