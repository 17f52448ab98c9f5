//! Operations from an OpenAPI document, and the scopes that it says they need.
use crate::support::{ORDERS, World};
use serde_json::json;
use std::path::PathBuf;

const DOCUMENT: &str = r#"
openapi: 3.1.0
info: { title: Orders, version: "1" }
components:
  securitySchemes:
    entra:
      type: oauth2
      flows: {}
    token: { type: http, scheme: bearer }
    key: { type: apiKey, in: header, name: x-key }
security:
  - entra: [Orders.Read]
paths:
  /orders:
    summary: All of them
    get: { operationId: list, responses: {} }
    post:
      operationId: create
      security: [ { entra: [Orders.Write, Orders.Read] } ]
  /orders/{id}:
    parameters: []
    get:
      operationId: read
      security: [ { entra: [Orders.Read] }, { entra: [Orders.All] } ]
    delete:
      operationId: remove
      security: [ { token: [], key: [] } ]
  /open:
    get: { operationId: open, security: [] }
    head: { operationId: peek, security: [ {}, { entra: [Orders.All] } ] }
"#;

/// A document in a file of this test's own.
struct Document(PathBuf);

impl Document {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-openapi-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// An API with this document, and more.
    fn api(&self, more: &str) -> String {
        let named =
            format!("upstream = \"orders\"\n    openapi = \"{}\"\n    [api.policies.validate_jwt]", self.0.display());
        let text = ORDERS.replace("upstream = \"orders\"\n    [api.policies.validate_jwt]", &named);
        text.split("[[api.operation]]").next().unwrap().to_owned() + more
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn what_a_document_describes_can_be_called_with_the_scopes_that_it_names_and_nothing_else() {
    let document = Document::new("all", DOCUMENT);
    let world = World::start(&document.api("")).await;
    let ask = async |method: &str, path: &str, scopes: &str| {
        let bearer = world.bearer(&json!({ "scp": scopes }));
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n{length}connection: close\r\n\r\n"
        );
        world.raw(text).await.status
    };
    for (method, path, scopes, status) in [
        ("GET", "/orders", "Orders.Read", 200),
        ("GET", "/orders", "Orders.Write", 403),
        ("POST", "/orders", "Orders.Read Orders.Write", 200),
        ("POST", "/orders", "Orders.Write", 403),
        ("GET", "/orders/7", "Orders.All", 200),
        ("GET", "/orders/7", "Orders.Read", 200),
        ("GET", "/orders/7", "Orders.Write", 403),
        ("DELETE", "/orders/7", "Anything", 200),
        ("PUT", "/orders/7", "Orders.All", 404),
        ("GET", "/orders/7/lines", "Orders.All", 404),
        ("GET", "/open", "Anything", 200),
        ("HEAD", "/open", "Anything", 200),
    ] {
        assert_eq!(ask(method, path, scopes).await, status, "{method} {path} with {scopes}");
    }
    assert_eq!(world.get("/open", &[]).await.status, 401, "a document takes no check away");
    let lines = world.lines();
    assert_eq!(lines[0]["operation"], "orders/list");
}

#[tokio::test]
async fn what_is_written_of_a_described_operation_is_added_to_it() {
    let document = Document::new("more", DOCUMENT);
    let more = r#"
    [[api.operation]]
    name = "read"
    [api.operation.policies.require]
    roles = ["Clerk"]
    [[api.operation]]
    name = "own"
    method = "GET"
    path = "/own"
"#;
    let world = World::start(&document.api(more)).await;
    let with = |claims: serde_json::Value| world.bearer(&claims);
    let read = [
        ("/orders/7", json!({"scp": "Orders.Read"}), 403),
        ("/orders/7", json!({"scp": "Orders.Read", "roles": ["Clerk"]}), 200),
        ("/orders/7", json!({"scp": "x", "roles": ["Clerk"]}), 403),
        ("/own", json!({"scp": "x"}), 200),
    ];
    for (path, claims, status) in read {
        assert_eq!(
            world.get(path, &[("authorization", &with(claims.clone()))]).await.status,
            status,
            "{path} {claims}"
        );
    }
    let [effective] = world
        .gateway
        .effective()
        .into_iter()
        .filter(|one| one.operation == "orders/read")
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let scopes: Vec<&str> = effective.policies.iter().map(|told| told.scope.as_str()).collect();
    assert_eq!(scopes, ["api orders", "document of orders", "operation orders/read"]);
}

#[tokio::test]
async fn an_operator_is_told_which_schemes_nobody_checks() {
    let document = Document::new("unchecked-schemes", DOCUMENT);
    let world = World::start(&document.api("")).await;
    let [remark] = world.gateway.remarks().try_into().unwrap();
    assert!(remark.contains("the security scheme `key` of"), "{remark}");
    let checked = Document::new("checked-schemes", &DOCUMENT.replace(", key: [] }", " }"));
    world.reload(&checked.api("")).unwrap();
    assert!(world.gateway.remarks().is_empty(), "{:?}", world.gateway.remarks());
}

#[tokio::test]
async fn json_is_read_too_and_what_is_wrong_with_a_document_is_said() {
    let json = json!({
        "openapi": "3.0.3",
        "paths": { "/a": { "get": { "operationId": "a" } } },
    });
    let document = Document::new("json", &json.to_string());
    let world = World::start(&document.api("")).await;
    assert_eq!(world.get_with_token("/a", &[]).await.status, 200);
    let replaced = |from: &str, to: &str| {
        assert!(DOCUMENT.contains(from), "{from}");
        DOCUMENT.replace(from, to)
    };
    for (name, text, more, problem) in [
        ("a", "{".to_owned(), "", "is no OpenAPI document"),
        ("b", "swagger: \"2.0\"\npaths: {}\n".to_owned(), "", "is no OpenAPI document of version 3"),
        ("c", "openapi: 3.0.0\n".to_owned(), "", "describes no operation"),
        ("d", replaced("operationId: list, ", ""), "", "`GET /orders` of"),
        (
            "e",
            replaced("/orders/{id}:", "/orders/{id}.json:"),
            "",
            "`DELETE /orders/{id}.json` of the OpenAPI document is no pattern",
        ),
        ("f", replaced("{ token: [], key: [] }", "{ other: [] }"), "", "names the security scheme `other`"),
        (
            "g",
            replaced("{ entra: [Orders.All] } ]\n    delete", "{ entra: [Orders.All, Orders.Read] } ]\n    delete"),
            "",
            "alternatives of several scopes",
        ),
        ("h", replaced("operationId: create", "operationId: list"), "", "there is an operation `list` already"),
        (
            "i",
            DOCUMENT.to_owned(),
            "[[api.operation]]\nname = \"read\"\nmethod = \"GET\"\npath = \"/x\"\n",
            "the OpenAPI document says where this operation is",
        ),
        ("j", DOCUMENT.to_owned(), "[[api.operation]]\nname = \"raed\"\n", "has no operation `raed`"),
        ("q", DOCUMENT.to_owned(), "[[api.operation]]\nname = \"x\"\nmethod = \"GET\"\n", "has no method or no path"),
        (
            "k",
            DOCUMENT.to_owned(),
            "[[api.operation]]\nname = \"x\"\nmethod = \"GET\"\npath = \"/orders/{other}\"\n",
            "another operation has this method and path",
        ),
        (
            "m",
            replaced("{ entra: [Orders.Read] }, { entra: [Orders.All] }", "{ entra: [Orders.Read] }, { key: [] }"),
            "",
            "has `key`, which asks for no token, as an alternative to scopes",
        ),
        ("n", replaced("type: oauth2", "type: OAuth2"), "", "OpenAPI has no type `OAuth2`"),
        ("o", replaced("{ token: [], key: [] }", "{ token: [Admin] }"), "", "and its type `http` has no scopes"),
        (
            "p",
            replaced("{ entra: [Orders.Read] }, { entra: [Orders.All] }", "{ entra: [Orders.Read] }, { token: [] }")
                .replace("scheme: bearer", "scheme: basic"),
            "",
            "has `token`, which asks for no token, as an alternative to scopes",
        ),
        ("l", format!("x: &a [{}]\n{DOCUMENT}", "*a,".repeat(3)), "", "is no OpenAPI document"),
    ] {
        let document = Document::new(name, &text);
        let error = world.reload(&document.api(more)).unwrap_err();
        assert!(error.problem.contains(problem), "{problem} in {}", error.problem);
        assert!(!error.at.is_empty() && !error.hint.is_empty(), "{error:?}");
    }
    let error = world.reload(&document.api("").replace("-json\"", "-none\"")).unwrap_err();
    assert!(error.problem.contains("cannot be read: there is no such file"), "{error}");
    // Without the API's own check a document's scopes have no token to look at.
    let unchecked = Document::new("unchecked", DOCUMENT);
    let text = unchecked
        .api("")
        .replace("[api.policies.validate_jwt]", "[api.policies.check_header]")
        .replace("issuers = [\"contoso\"]\n", "")
        .replace("audiences = [\"api://orders\"]\n", "")
        .replace("[api.policies.check_header]", "");
    assert!(world.reload(&text).is_err());
}
