//! The two local endpoints of managed identity: their contracts, and who they must not answer.
use crate::support::{Authority, Hands, NOON, build, issued};
use client::managed_identity::{AppService, Hosted, HostedIdentities, Imds};
use client::{Client, Endpoints};
use http::request::Parts;
use http::{Method, Request, Response};
use oauth::Secret;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) const HEADER: &str = "canary-header";

/// A host with an identity of its own and one that is assigned; each token says whose it is.
fn identities(authority: &Arc<Authority>) -> Arc<HostedIdentities> {
    let clock = Hands::at(NOON);
    let hosted = |name: &str| {
        let client = Client::builder(Endpoints::entra("https://login.example/contoso"), name).secret(Secret::new("s"));
        Hosted {
            client: build(client, authority, &clock),
            object_id: format!("{name}-object"),
            resource_id: format!("/subscriptions/1/providers/{name}"),
        }
    };
    Arc::new(HostedIdentities::new(Some(hosted("site"))).assign(hosted("worker")))
}

pub(crate) fn telling() -> Arc<Authority> {
    Authority::new(|_, form| match (form.value("client_id"), form.value("scope")) {
        (Some(client), Some("api://billing/.default")) => issued(&format!("for-{client}"), 3_600),
        (_, Some("api://down/.default")) => (0, Value::Null),
        (_, Some("api://busy/.default")) => (503, json!({"error": "temporarily_unavailable"})),
        (_, Some("api://closed/.default")) => (400, json!({"error": "unauthorized_client", "error_description": "no"})),
        _ => (400, json!({"error": "invalid_resource", "error_description": "AADSTS500011: there is none"})),
    })
}

pub(crate) fn site(authority: &Arc<Authority>) -> AppService {
    AppService::new(identities(authority), Secret::new(HEADER), ["127.0.0.1:4000", "localhost:4000"])
}

pub(crate) fn machine(authority: &Arc<Authority>) -> Imds {
    Imds::new(identities(authority), ["169.254.169.254"])
}

/// A request as an SDK sends it, with these headers in place of its own.
fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(target);
    for (name, value) in headers.iter().filter(|(_, value)| *value != "-") {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn at_site(query: &str) -> Parts {
    request(&format!("/msi/token?{query}"), &[("host", "127.0.0.1:4000"), ("x-identity-header", HEADER)])
}

fn at_machine(query: &str) -> Parts {
    request(&format!("/metadata/identity/oauth2/token?{query}"), &[("host", "169.254.169.254"), ("metadata", "true")])
}

fn body(response: &Response<Vec<u8>>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
    serde_json::from_slice(response.body()).unwrap()
}

const SITE: &str = "api-version=2019-08-01&resource=api://billing";
const MACHINE: &str = "api-version=2018-02-01&resource=api://billing";

#[tokio::test]
async fn a_site_and_a_machine_answer_in_the_form_of_their_contracts() {
    let authority = telling();
    let answer = site(&authority).answer(&at_site(SITE)).await;
    assert_eq!(answer.status(), 200);
    let end = (NOON + 3_600).to_string();
    let expected = json!({
        "access_token": "for-site", "client_id": "site", "expires_on": end, "resource": "api://billing",
        "token_type": "Bearer",
    });
    assert_eq!(body(&answer), expected);
    let answer = machine(&authority).answer(&at_machine(MACHINE)).await;
    let expected = json!({
        "access_token": "for-site", "client_id": "site", "expires_in": "3600", "expires_on": end, "ext_expires_in": "3600",
        "not_before": NOON.to_string(), "refresh_token": "", "resource": "api://billing", "token_type": "Bearer",
    });
    assert_eq!((answer.status().as_u16(), body(&answer)), (200, expected));
}

#[tokio::test]
async fn an_identity_is_named_in_any_of_three_ways_and_its_token_is_kept() {
    let authority = telling();
    let (site, machine) = (site(&authority), machine(&authority));
    let worker = [
        "client_id=worker",
        "client_id=WORKER",
        "object_id=worker-object",
        "mi_res_id=/subscriptions/1/providers/worker",
    ];
    for named in worker {
        assert_eq!(
            body(&site.answer(&at_site(&format!("{SITE}&{named}"))).await)["access_token"],
            "for-worker",
            "{named}"
        );
    }
    for named in ["client_id=worker", "object_id=worker-object", "msi_res_id=/subscriptions/1/providers/worker"] {
        let answer = machine.answer(&at_machine(&format!("{MACHINE}&{named}"))).await;
        assert_eq!(body(&answer)["access_token"], "for-worker", "{named}");
    }
    assert_eq!(authority.calls(), 2, "once for the site, once for the machine");
    for named in ["client_id=nobody", "object_id=worker", "client_id=worker-object", "client_id="] {
        let answer = site.answer(&at_site(&format!("{SITE}&{named}"))).await;
        assert_eq!(answer.status(), 400, "{named}");
        assert_eq!(body(&answer)["statusCode"], 400);
        let answer = machine.answer(&at_machine(&format!("{MACHINE}&{named}"))).await;
        assert_eq!(
            (answer.status().as_u16(), body(&answer)["error"].clone()),
            (400, json!("invalid_request")),
            "{named}"
        );
    }
}

#[tokio::test]
async fn who_does_not_know_the_sites_header_is_refused_before_anything_is_asked() {
    let authority = telling();
    let site = site(&authority);
    let target = format!("/msi/token?{SITE}");
    for value in ["-", "", "canary", "canary-heade", "canary-headerx", "canary-header ", "CANARY-HEADER"] {
        let answer = site.answer(&request(&target, &[("host", "127.0.0.1:4000"), ("x-identity-header", value)])).await;
        assert_eq!(answer.status(), 401, "{value:?}");
        assert!(!String::from_utf8_lossy(answer.body()).contains(HEADER));
    }
    let twice = [("host", "127.0.0.1:4000"), ("x-identity-header", HEADER), ("x-identity-header", HEADER)];
    assert_eq!(site.answer(&request(&target, &twice)).await.status(), 401);
    let in_url = request(&format!("{target}&x-identity-header={HEADER}"), &[("host", "127.0.0.1:4000")]);
    assert_eq!(site.answer(&in_url).await.status(), 401);
}

#[tokio::test]
async fn a_machines_metadata_needs_the_header_that_nobody_sends_by_accident() {
    let authority = telling();
    let machine = machine(&authority);
    let target = format!("/metadata/identity/oauth2/token?{MACHINE}");
    for value in ["-", "", "false", "1", "yes", "true, true"] {
        let answer = machine.answer(&request(&target, &[("host", "169.254.169.254"), ("metadata", value)])).await;
        assert_eq!(
            (answer.status().as_u16(), body(&answer)["error"].clone()),
            (400, json!("bad_request_102")),
            "{value:?}"
        );
    }
    for value in ["true", "True"] {
        let answer = machine.answer(&request(&target, &[("host", "169.254.169.254"), ("metadata", value)])).await;
        assert_eq!(answer.status(), 200, "{value}");
    }
    let elsewhere =
        request("/metadata/instance?api-version=2018-02-01", &[("host", "169.254.169.254"), ("metadata", "true")]);
    assert_eq!(machine.answer(&elsewhere).await.status(), 404);
}

#[tokio::test]
async fn requests_through_proxies_and_pages_are_refused_by_both() {
    let authority = telling();
    let (site, machine) = (site(&authority), machine(&authority));
    for (name, value) in [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", ""),
        ("x-forwarded-host", "a"),
        ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 proxy"),
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
        ("host", "127.0.0.1:4001"),
        ("host", "127.0.0.1"),
        ("host", ""),
        ("host", "-"),
    ] {
        for (parts, is_site) in [(at_site(SITE), true), (at_machine(MACHINE), false)] {
            let mut parts = parts;
            parts.headers.remove(name);
            if value != "-" {
                parts.headers.insert(name, value.parse().unwrap());
            }
            let answer = if is_site { site.answer(&parts).await } else { machine.answer(&parts).await };
            assert_eq!(answer.status(), 400, "{name}: {value} at a site: {is_site}");
        }
    }
    for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::HEAD] {
        let (mut one, mut other) = (at_site(SITE), at_machine(MACHINE));
        (one.method, other.method) = (method.clone(), method);
        assert_eq!(
            (site.answer(&one).await.status(), machine.answer(&other).await.status()),
            (http::StatusCode::METHOD_NOT_ALLOWED, http::StatusCode::METHOD_NOT_ALLOWED)
        );
    }
    let mut two = at_site(SITE);
    two.headers.append("host", "127.0.0.1:4000".parse().unwrap());
    assert_eq!(site.answer(&two).await.status(), 400, "two names");
    assert_eq!(authority.calls(), 0);
}

#[tokio::test]
async fn malformed_queries_are_refused_and_told_why() {
    let authority = telling();
    let (site, machine) = (site(&authority), machine(&authority));
    let long = format!("api-version=V&resource=api://{}", "x".repeat(3_000));
    for query in [
        "",
        "resource=api://billing",
        "api-version=2017-09-01&resource=api://billing",
        "api-version=V",
        "api-version=V&resource=",
        "api-version=V&resource=api://billing&resource=api://vault",
        "api-version=V&api-version=V&resource=api://billing",
        "api-version=V&resource=api://a%20b",
        "api-version=V&resource=%00",
        "api-version=V&resource=%ff",
        "api-version=V&resource=api://billing&client_id=worker&object_id=worker-object",
        "api-version=V&resource=api://billing&mi_res_id=a&msi_res_id=b",
        &long,
    ] {
        let answer = site.answer(&at_site(&query.replace("=V", "=2019-08-01"))).await;
        assert_eq!(answer.status(), 400, "{query}");
        assert!(!body(&answer)["message"].as_str().unwrap().is_empty());
        let answer = machine.answer(&at_machine(&query.replace("=V", "=2018-02-01"))).await;
        assert_eq!(
            (answer.status().as_u16(), body(&answer)["error"].clone()),
            (400, json!("invalid_request")),
            "{query}"
        );
    }
    assert_eq!(authority.calls(), 0, "nothing of it reached the authority");
}

#[tokio::test]
async fn the_authoritys_refusals_come_through_and_its_absence_is_worth_another_try() {
    let authority = telling();
    let (site, machine) = (site(&authority), machine(&authority));
    for (resource, status, error) in [
        ("api://nothing", 400, "invalid_resource"),
        ("api://closed", 400, "unauthorized_client"),
        ("api://down", 503, "unknown"),
        ("api://busy", 503, "unknown"),
    ] {
        let answer = site.answer(&at_site(&format!("api-version=2019-08-01&resource={resource}"))).await;
        assert_eq!(answer.status(), status, "{resource}");
        let answer = machine.answer(&at_machine(&format!("api-version=2018-02-01&resource={resource}"))).await;
        assert_eq!((answer.status().as_u16(), body(&answer)["error"].clone()), (status, json!(error)), "{resource}");
    }
}

#[tokio::test]
async fn a_host_without_an_identity_of_its_own_answers_with_the_only_one_assigned() {
    let authority = telling();
    let clock = Hands::at(NOON);
    let hosted = |name: &str| {
        let client = Client::builder(Endpoints::entra("https://login.example/contoso"), name).secret(Secret::new("s"));
        Hosted { client: build(client, &authority, &clock), object_id: "o".into(), resource_id: "r".into() }
    };
    let one = HostedIdentities::new(None).assign(hosted("worker"));
    let ask = async |identities| {
        let imds = Imds::new(Arc::new(identities), ["169.254.169.254"]);
        imds.answer(&at_machine(MACHINE)).await.status().as_u16()
    };
    assert_eq!(ask(one.clone()).await, 200);
    assert_eq!(ask(one.assign(hosted("second"))).await, 400, "which of the two?");
    assert_eq!(ask(HostedIdentities::new(None)).await, 400);
}
