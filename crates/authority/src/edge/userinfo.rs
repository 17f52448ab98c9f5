//! Userinfo on the wire (OpenID Connect Core section 5.3, RFC 6750).
use super::{bearer, json, method_not_allowed};
use crate::Authority;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;

pub(super) async fn userinfo(State(authority): State<Authority>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let body = serde_json::json!({"error": "invalid_request", "error_description": "use GET or POST"});
        return method_not_allowed("GET, POST", json(StatusCode::METHOD_NOT_ALLOWED, &body));
    }
    let token = match bearer::token(request.headers()) {
        Ok(token) => token,
        Err(denial) => return bearer::refuse(&denial),
    };
    match deputize_core::userinfo::userinfo(&authority.ports, token).await {
        Ok(claims) => json(StatusCode::OK, &claims),
        Err(denial) => bearer::refuse(&denial),
    }
}
