//! The groups of a user, for those whose tokens had no room (Graph's `getMemberObjects`).
use super::endpoint::{BEARER, Caller, Endpoint, Readers, Route};
use super::{bearer, json};
use crate::Authority;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use oauth::Parameters;
use serde_json::json as object;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    title: "Groups of a user",
    purpose: "The groups of a token's own user, where the token had no room for them and `_claim_sources` points here.",
    routes: &[Route { path: "/{tenant}/users/{user}/getMemberObjects", handler: || any(member_objects) }],
    methods: &["GET", "POST"],
    parameters: &[&[Parameters { when: "", each: &[BEARER] }]],
    caller: Caller::Program,
    readers: Readers::None,
    notes: &["Ids of all groups, nested ones too. What a body says is not read."],
}];

pub(super) async fn member_objects(
    State(authority): State<Authority>,
    Path((tenant, user)): Path<(String, String)>,
    request: Request,
) -> Response {
    // Graph's is POST with `securityEnabledOnly`; all groups here are security groups, so there is nothing to read.
    let token = match bearer::token(request.headers()) {
        Ok(token) => token,
        Err(denial) => return bearer::refuse(&denial),
    };
    match deputize_core::member_objects::member_objects(&authority.ports, &tenant, &user, token).await {
        Ok(groups) => json(StatusCode::OK, &object!({ "value": groups })),
        Err(denial) => bearer::refuse(&denial),
    }
}
