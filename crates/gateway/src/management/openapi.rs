//! The management API as an OpenAPI document, for portals and for generators of clients.
use super::contracts::{
    EffectivePolicy, Key, ProductBody, ProductGiven, StatusGiven, SubscriptionBody, SubscriptionChange,
    SubscriptionGiven, SubscriptionKeys, UsageGiven,
};
use super::endpoints::{ENDPOINTS, Endpoint, ROOT, Right, Shape};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The document (OpenAPI 3.1.0).
///
/// ```
/// let document = deputize_gateway_openapi();
/// # fn deputize_gateway_openapi() -> serde_json::Value { gateway::openapi() }
/// assert!(document["paths"]["/management/v1/subscriptions/{name}"]["patch"].is_object());
/// ```
pub fn openapi() -> Value {
    let mut schemas = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    schemas.meta_schema = None;
    let mut generator = schemas.into_generator();
    let mut paths = Map::new();
    for endpoint in &ENDPOINTS {
        let path = paths.entry(format!("{ROOT}{}", endpoint.path)).or_insert_with(|| Value::Object(Map::new()));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.method.to_ascii_lowercase(), operation(endpoint, &mut generator));
        }
    }
    let mut components: Map<String, Value> = generator.take_definitions(true);
    components.insert("Error".to_owned(), error());
    components.insert("Change".to_owned(), change());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Management of `deputize gateway`",
            "description": "Products, subscriptions, their keys and usage; what applies to requests; the gateway's own operation. \
                Served where `[management]` of the configuration says. Times are in UTC; what the API does not have is refused.",
            "version": "1.0.0",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "https://localhost:8444" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description":
                "A token of one of the issuers and for one of the audiences of `[management]`. `Gateway.Manage` may everything, \
                 `Gateway.Read` reads: an app role of an application, or a scope and an app role of a user." } },
        },
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters = Vec::new();
    let creates = endpoint.method == "PUT";
    if endpoint.path.contains("{name}") {
        parameters.push(json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    for (name, text) in endpoint.parameters {
        parameters.push(json!({ "name": name, "in": "query", "description": text, "schema": { "type": "string" } }));
    }
    if endpoint.conditional {
        let text = if creates {
            "The `ETag` of the version that is replaced; left out where there is none yet"
        } else {
            "The `ETag` of the version that is changed, or `*`"
        };
        parameters
            .push(json!({ "name": "If-Match", "in": "header", "description": text, "schema": { "type": "string" } }));
    }
    let success = match shape(endpoint.gives, schemas) {
        Some(schema) => json!({ "description": "Done", "content": { "application/json": { "schema": schema } } }),
        None => json!({ "description": "Done" }),
    };
    let refusal = json!({
        "description": "It was refused, and nothing of it was done; `check` says why",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    let mut responses = Map::new();
    responses.insert(endpoint.status.to_string(), success);
    if creates {
        let made = match endpoint.takes {
            Shape::Subscription => shape(Shape::SubscriptionKeys, schemas),
            _ => shape(endpoint.gives, schemas),
        };
        let made = json!({ "description": "Made", "content": { "application/json": { "schema": made } } });
        responses.insert("201".to_owned(), made);
    }
    responses.insert("default".to_owned(), refusal);
    let name = format!("{:?}", endpoint.action);
    let id: String = name.chars().take(1).flat_map(char::to_lowercase).chain(name.chars().skip(1)).collect();
    let right = match endpoint.right {
        Right::Read => "read",
        Right::Manage => "manage",
    };
    let mut operation = json!({
        "operationId": id, "summary": endpoint.summary, "x-right": right, "responses": responses,
    });
    if let Some(operation) = operation.as_object_mut() {
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(schema) = shape(endpoint.takes, schemas) {
            let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
            operation.insert("requestBody".to_owned(), body);
        }
    }
    operation
}

fn shape(shape: Shape, schemas: &mut SchemaGenerator) -> Option<Value> {
    let list = |items: Value| {
        json!({
            "type": "object",
            "required": ["value", "count"],
            "properties": {
                "value": { "type": "array", "items": items },
                "count": { "type": "integer", "description": "How many there are in all" },
                "nextLink": { "type": "string", "description": "Where the next ones are" },
            },
        })
    };
    let value = |items: Value| json!({ "type": "object", "required": ["value"], "properties": { "value": { "type": "array", "items": items } } });
    Some(match shape {
        Shape::Nothing => return None,
        Shape::Product => schemas.subschema_for::<ProductBody>().to_value(),
        Shape::ProductGiven => schemas.subschema_for::<ProductGiven>().to_value(),
        Shape::ProductList => list(schemas.subschema_for::<ProductGiven>().to_value()),
        Shape::Subscription => schemas.subschema_for::<SubscriptionBody>().to_value(),
        Shape::SubscriptionChange => schemas.subschema_for::<SubscriptionChange>().to_value(),
        Shape::SubscriptionGiven => schemas.subschema_for::<SubscriptionGiven>().to_value(),
        Shape::SubscriptionList => list(schemas.subschema_for::<SubscriptionGiven>().to_value()),
        Shape::SubscriptionKeys => schemas.subschema_for::<SubscriptionKeys>().to_value(),
        Shape::Key => schemas.subschema_for::<Key>().to_value(),
        Shape::Usage => schemas.subschema_for::<UsageGiven>().to_value(),
        Shape::EffectivePolicies => value(schemas.subschema_for::<EffectivePolicy>().to_value()),
        Shape::ChangeList => value(json!({ "$ref": "#/components/schemas/Change" })),
        Shape::Status => schemas.subschema_for::<StatusGiven>().to_value(),
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["statusCode", "message", "check", "decision_id"],
        "properties": {
            "statusCode": { "type": "integer" },
            "message": { "type": "string", "description": "What to change" },
            "reason": { "type": "string" },
            "check": { "type": "string", "description": "The check that failed, by its id in the reference of checks" },
            "decision_id": { "type": "string", "description": "By which the gateway's log has more" },
        },
    })
}

fn change() -> Value {
    json!({
        "type": "object",
        "required": ["sequence", "at", "action", "kind", "name", "subject", "client", "decisionId"],
        "properties": {
            "sequence": { "type": "integer" },
            "at": { "type": "string", "format": "date-time" },
            "action": { "type": "string" },
            "kind": { "type": "string", "enum": ["product", "subscription", "gateway"] },
            "name": { "type": "string" },
            "object": { "type": "object", "description": "What it was from then on, without keys" },
            "tenant": { "type": "string" },
            "subject": { "type": "string", "description": "Who did it: `oid`, or `sub`" },
            "client": { "type": "string", "description": "With which application: `azp`" },
            "decisionId": { "type": "string" },
        },
    })
}
