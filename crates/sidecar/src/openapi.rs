//! The Texas-compatible API as an OpenAPI document, with the operation ids and schema names that its clients were generated from.
use crate::decode::{Field, Kind};
use serde_json::{Map, Value, json};

/// The document (OpenAPI 3.1.0).
pub fn openapi() -> Value {
    let paths: Map<String, Value> = OPERATIONS.iter().map(Operation::path).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tokens for the application beside it",
            "description": "Served on loopback by `deputize sidecar`, compatible with Texas.",
            "version": "1.0.0",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:3000" }],
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

struct Operation {
    id: &'static str,
    path: &'static str,
    summary: &'static str,
    request: &'static str,
    answer: &'static str,
    kind: Kind,
}

const OPERATIONS: [Operation; 3] = [
    Operation {
        id: "token",
        path: "/api/v1/token",
        summary: "A token for the application itself",
        request: "TokenRequest",
        answer: "TokenResponse",
        kind: Kind::Token,
    },
    Operation {
        id: "token_exchange",
        path: "/api/v1/token/exchange",
        summary: "A token on behalf of the user whose token was received",
        request: "TokenExchangeRequest",
        answer: "TokenResponse",
        kind: Kind::Exchange,
    },
    Operation {
        id: "token_introspect",
        path: "/api/v1/introspect",
        summary: "Whether a token that was received is good for this application, and what it says",
        request: "IntrospectRequest",
        answer: "IntrospectResponse",
        kind: Kind::Introspect,
    },
];

/// What is answered with an error, and when.
const REFUSALS: [(u16, &str); 8] = [
    (400, "The request cannot be read, or the provider does not do this; also the identity provider's own refusals"),
    (401, "The caller shows no credential where one is demanded; also the identity provider's own refusals"),
    (
        403,
        "The caller may not call, or the target is outside of the outbound policy; also the identity provider's own refusals",
    ),
    (408, "The identity provider waited in vain"),
    (429, "The identity provider is asked too often; `Retry-After` says when to come back"),
    (500, "The identity provider cannot be reached or its answer is of no use"),
    (502, "A gateway in front of the identity provider failed"),
    (503, "The identity provider is not available; `Retry-After` says when to come back"),
];

impl Operation {
    fn path(&self) -> (String, Value) {
        let schema = |name: &str| json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } });
        let mut responses = Map::new();
        let success = json!({ "description": "Success", "content": { "application/json": schema(self.answer) } });
        responses.insert("200".to_owned(), success);
        // Introspection always has an answer, once its request was read and its caller admitted.
        let refusals = REFUSALS.iter().filter(|(status, _)| !matches!(self.kind, Kind::Introspect) || *status <= 403);
        for (status, when) in refusals {
            let error = json!({ "description": when, "content": { "application/json": schema("ErrorResponse") } });
            responses.insert(status.to_string(), error);
        }
        let request = schema(self.request);
        let operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "requestBody": {
                "required": true,
                "content": { "application/json": request, "application/x-www-form-urlencoded": request },
            },
            "responses": responses,
        });
        (self.path.to_owned(), json!({ "post": operation }))
    }
}

fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> =
        OPERATIONS.iter().map(|operation| (operation.request.to_owned(), request(operation.kind))).collect();
    let others = [
        (
            "TokenResponse",
            json!({
                "type": "object",
                "required": ["access_token", "token_type", "expires_in"],
                "properties": {
                    "access_token": { "type": "string" },
                    "token_type": { "$ref": "#/components/schemas/TokenType" },
                    "expires_in": { "type": "integer", "minimum": 0, "description": "Whole seconds left, at the time of the answer" },
                },
            }),
        ),
        (
            "IntrospectResponse",
            json!({
                "type": "object",
                "required": ["active"],
                "properties": {
                    "active": { "type": "boolean" },
                    "error": { "type": "string", "description": "Why the token is not active" },
                },
                "additionalProperties": true,
                "description": "Beside `active`, the claims of a token that is active",
            }),
        ),
        (
            "ErrorResponse",
            json!({
                "type": "object",
                "required": ["error", "error_description"],
                "properties": {
                    "error": { "$ref": "#/components/schemas/OAuthErrorCode" },
                    "error_description": { "type": "string" },
                    "claims": { "type": "string", "description": "A claims challenge: what the user must show, as JSON" },
                    "suberror": { "type": "string" },
                    "error_codes": { "type": "array", "items": { "type": "integer" } },
                    "correlation_id": { "type": "string" },
                    "trace_id": { "type": "string" },
                    "timestamp": { "type": "string" },
                    "error_uri": { "type": "string" },
                },
                "additionalProperties": true,
                "description": "The first two, then all that the identity provider said",
            }),
        ),
        (
            "IdentityProvider",
            json!({
                "type": "string",
                "enum": ["entra_id", "tokenx", "maskinporten", "idporten", "ansattporten"],
                "description": "Further ones by configuration",
            }),
        ),
        (
            "OAuthErrorCode",
            json!({
                "anyOf": [
                    {
                        "type": "string",
                        "enum": [
                            "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
                            "unsupported_grant_type", "invalid_scope", "server_error",
                        ],
                    },
                    { "type": "string", "description": "Any other code of the identity provider; `access_denied` is the sidecar's own" },
                ],
            }),
        ),
        ("AuthorizationDetails", json!({ "type": "array", "items": { "type": "object" }, "description": "RFC 9396" })),
        ("TokenType", json!({ "type": "string", "enum": ["Bearer"] })),
    ];
    schemas.extend(others.map(|(name, schema)| (name.to_owned(), schema)));
    schemas
}

/// From what the decoder knows of a body.
fn request(kind: Kind) -> Value {
    let properties: Map<String, Value> =
        kind.fields().iter().map(|field| (field.name().to_owned(), property(*field))).collect();
    let required: Vec<&str> = kind.required().iter().map(|field| field.name()).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn property(field: Field) -> Value {
    match field {
        Field::IdentityProvider => json!({ "$ref": "#/components/schemas/IdentityProvider" }),
        Field::Target => {
            json!({ "type": "string", "description": "Scopes or audience, as the identity provider names them" })
        }
        Field::Resource => json!({ "type": ["string", "null"], "description": "RFC 8707; for Maskinporten" }),
        Field::AuthorizationDetails => json!({
            "anyOf": [
                { "$ref": "#/components/schemas/AuthorizationDetails" },
                { "type": ["string", "null"], "description": "The same as JSON in a text" },
            ],
        }),
        Field::Claims => {
            json!({ "type": ["string", "null"], "description": "The `claims` of a challenge, to answer it" })
        }
        Field::SkipCache => json!({ "type": ["boolean", "null"], "default": false }),
        Field::UserToken => json!({ "type": "string", "description": "The token that was received" }),
        Field::Token => json!({ "type": "string", "description": "The token that was received, without `Bearer `" }),
    }
}
