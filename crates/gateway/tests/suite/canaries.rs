//! G-22 and T-07: whatever goes wrong, no secret and no token is in anything that the gateway says.
use crate::support::{World, get};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use telemetry::{Message, Moment, Sampling, Source as _, prometheus};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

const EVERYTHING: &str = r#"
    [[issuer]]
    name = "contoso"
    issuer = "{iss}"
    jwks_uri = "{jwks}"
    tenants = ["t1"]
    [[authority]]
    name = "contoso"
    token_endpoint = "{token}"
    client_id = "gateway"
    secret = { env = "SECRET" }
    [[upstream]]
    name = "orders"
    url = "{service}"
    [[upstream]]
    name = "gone"
    url = "http://127.0.0.1:1"

    [[api]]
    name = "orders"
    path = "/orders"
    upstream = "orders"
    [api.policies.validate_jwt]
    issuers = ["contoso"]
    audiences = ["api://orders"]
    [api.policies.subscription_key]
    [api.onward.on_behalf_of]
    authority = "contoso"
    target = "api://billing/.default"
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[api]]
    name = "ledger"
    path = "/ledger"
    upstream = "gone"
    [api.policies.subscription_key]
    [[api.policies.check_header]]
    name = "x-never"
    failed_check_httpcode = 403
    failed_check_error_message = "no"
    ignore_case = false
    value = ["right"]
    [api.onward.basic]
    username = "gateway"
    password = { env = "PASSWORD" }
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[subscription]]
    name = "s"
    all_apis = true
    primary = { env = "KEY_SALES" }
"#;

/// Keeps every line that is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<String>>);

struct Written<'a>(&'a mut String);

impl Visit for Written<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Logged {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Written(&mut self.0.lock().unwrap()));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Written(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = self.0.lock().unwrap();
        event.record(&mut Written(&mut text));
        text.push('\n');
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn g_22_no_output_holds_a_secret_or_a_token() {
    let logged = Logged::default();
    let _guard = tracing::subscriber::set_default(logged.clone());
    let telemetry = gateway::Telemetry::new(Some(Sampling::default()), &[], 3);
    let world = World::telling(EVERYTHING, telemetry).await;
    let good = world.token(&json!({}));
    let (key, cut, forged) = ("sales-0123456789", good[..good.len() - 20].to_owned(), format!("{good}x"));
    let spare = world.token(&json!({"aud": "api://billing"}));
    let mut said = String::new();
    let authorizations = [
        format!("Bearer {good}"),
        format!("Bearer {cut}"),
        format!("Bearer {forged}"),
        format!("Bearer {spare}"),
        good.clone(),
        format!("Basic {key}"),
    ];
    for target in ["/orders/7", "/ledger/7", "/orders/%2e%2e/x", "/elsewhere"] {
        for authorization in &authorizations {
            for held in [None, Some(key), Some("wrong-0123456789")] {
                let mut fields = vec![("authorization", authorization.as_str()), ("x-never", "right")];
                fields.extend(held.map(|key| ("ocp-apim-subscription-key", key)));
                let _ = write!(said, "{:?}", world.get(target, &fields).await);
                let query = format!("{target}?subscription-key={}&access_token={good}", held.unwrap_or_default());
                let _ = write!(said, "{:?}", world.get(&query, &fields[1..2]).await);
            }
        }
    }
    // What the authority and the service say comes back, and what they were told does not.
    world.service.answers("HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno");
    let whole = [("authorization", authorizations[0].as_str()), ("ocp-apim-subscription-key", key)];
    let _ = write!(said, "{:?}", world.get("/orders/7", &whole).await);
    let broken = get("/orders/7", &whole).replace("host:", "host: a\r\nhost:");
    let _ = write!(said, "{:?}", world.raw(broken).await);
    assert!(
        said.contains("200 OK") && said.contains("SubscriptionKeyInvalid") && said.contains("BackendConnectionFailure"),
        "{said}"
    );

    let lines = world.lines();
    assert!(lines.len() > 100);
    let mut spans = Message::default();
    assert!(world.gateway.write_spans(&mut spans, Moment::now()));
    let outputs = [
        ("answers", said),
        ("access log", lines.iter().map(ToString::to_string).collect()),
        ("log", logged.0.lock().unwrap().clone()),
        ("metrics", prometheus::text(&world.gateway.metrics(), world.gateway.labels())),
        ("spans", String::from_utf8_lossy(spans.octets_so_far()).into_owned()),
        ("effective", format!("{:?}", world.gateway.effective())),
    ];
    assert!(!outputs[2].1.is_empty(), "something was logged");
    let canaries = [
        "open sesame",
        "b3BlbiBzZXNhbWU",
        "the gateway's secret",
        key,
        "wrong-0123456789",
        good.rsplit('.').next().unwrap(),
        good.split('.').nth(1).unwrap(),
        spare.split('.').nth(1).unwrap(),
        "onward-token",
    ];
    for (what, text) in &outputs {
        for canary in canaries {
            assert!(!text.contains(canary), "{what}: {canary}: {text}");
        }
    }
}
