//! The table of endpoints, from which the router and the reference are made: what it says is so.
use crate::world::estate::{CONTOSO, app, redirect, secret};
use crate::world::{Answer, CHALLENGE, HOST, World};
use axum::body::Body;
use axum::http::Request;
use deputize_authority::{Caller, Endpoint, endpoints};
use deputize_core::grant;
use oauth::{Form, Need, Parameter, Place};
use std::collections::BTreeSet;
use std::path::Path;

fn path(route: &str) -> String {
    let tenant = route.replace("{tenant}", &CONTOSO.to_string());
    tenant
        .replace("{user}", "00000000-0000-0000-0000-000000000001")
        .replace("{place}", "consents")
        .replace("{name}", "x")
}

#[tokio::test]
async fn every_method_that_is_not_in_the_table_is_refused_and_no_other() {
    let world = World::new().await;
    for endpoint in endpoints() {
        for route in endpoint.routes {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"] {
                let request = Request::builder().method(method).uri(path(route.path)).body(Body::empty());
                let answer = world.send(request.unwrap()).await;
                let allow = endpoint.allow();
                let allowed = allow.split(", ").any(|it| it == method || (it == "GET" && method == "HEAD"));
                let case = format!("{method} {}: {}", route.path, answer.status);
                assert_eq!(answer.status == 405, !allowed, "{case}");
                assert!(allowed || answer.header("allow") == allow, "{case}");
            }
        }
    }
}

/// A value with which a request gets past the question whether the parameter is there.
fn value(parameter: &Parameter) -> String {
    match parameter.name {
        "client_id" => app("web").to_string(),
        "client_secret" => secret("web"),
        "redirect_uri" => redirect("web").to_owned(),
        "response_type" => "code".to_owned(),
        "requested_token_use" => "on_behalf_of".to_owned(),
        "authorization_endpoint" => format!("{HOST}/{CONTOSO}/oauth2/v2.0/authorize"),
        "scope" => "api://orders/access_as_user".to_owned(),
        // The value that the table names first.
        name if name.ends_with("_token_type") || name == "subject_token_type" => {
            parameter.behaviour.split('`').nth(1).unwrap_or_default().to_owned()
        }
        _ => "x".to_owned(),
    }
}

/// Sends the endpoint's parameters of these forms, but one.
async fn asked(world: &World, endpoint: &Endpoint, form: &Form, without: Option<&str>) -> Answer {
    let form = form.iter().filter(|(name, _)| Some(*name) != without);
    let form = form.fold(Form::default(), |form, (name, value)| form.with(name, value)).encode();
    let route = path(endpoint.routes[0].path);
    if endpoint.methods.contains(&"GET") {
        world.get(&format!("{route}?{form}")).await
    } else {
        world.post(&route, &[], form).await
    }
}

#[tokio::test]
async fn what_is_always_needed_is_missed_by_name() {
    let world = World::new().await;
    let mut missed = 0;
    for endpoint in endpoints() {
        // At the token endpoint, each grant has its own.
        let grants: Vec<(Option<&str>, &[Parameter])> = match endpoint.title {
            "Token" => grant::ALL.iter().map(|grant| (Some(grant.grant_type.as_str()), grant.parameters)).collect(),
            _ => vec![(None, &[])],
        };
        for (grant, own) in grants {
            let common =
                endpoint.parameters.iter().copied().flatten().filter(|it| grant.is_none() || !it.when.starts_with('`'));
            let common = common.filter(|it| !it.when.contains("grant_type=")).flat_map(|it| it.each).chain(own);
            let needed: Vec<&Parameter> = common
                .filter(|it| it.place != Place::Header)
                .filter(|it| {
                    it.need == Need::Required || matches!(it.name, "client_id" | "client_secret" | "device_code")
                })
                .collect();
            let form = needed.iter().fold(Form::default(), |form, it| match it.name {
                "grant_type" => form.with("grant_type", grant.unwrap()),
                name => form.with(name, &value(it)),
            });
            let form = if endpoint.title == "Authorization" {
                form.with("code_challenge", CHALLENGE).with("code_challenge_method", "S256")
            } else {
                form
            };
            let told = |answer: &Answer| format!("{} {}", answer.header("location").replace("%60", "`"), answer.text());
            let whole = told(&asked(&world, endpoint, &form, None).await);
            // Our own pages post the request that they were shown for, and may lack what that one needs.
            let own = endpoint.caller == Caller::OwnPage;
            assert!(
                own || !whole.contains("900144"),
                "{} {grant:?} needs more than the table says: {whole}",
                endpoint.title
            );
            for name in needed.iter().filter(|it| it.need == Need::Required).map(|it| it.name) {
                let answer = asked(&world, endpoint, &form, Some(name)).await;
                let text = told(&answer);
                assert!(
                    answer.status.as_u16() >= 300 && text.contains(name),
                    "{} {grant:?} without {name}: {text}",
                    endpoint.title
                );
                missed += 1;
            }
        }
    }
    assert!(missed >= 17, "{missed}");
}

#[tokio::test]
async fn a_bearer_token_is_missed_where_one_is_needed() {
    let world = World::new().await;
    for endpoint in endpoints() {
        let needed = endpoint.parameters().any(|it| it.name == "authorization" && it.need == Need::Required);
        let answer = world.get(&path(endpoint.routes[0].path)).await;
        assert_eq!(answer.header("www-authenticate").starts_with("Bearer"), needed, "{}", endpoint.title);
    }
}

#[test]
fn every_grant_is_in_the_table_of_the_token_endpoint() {
    let token = endpoints().find(|endpoint| endpoint.title == "Token").unwrap();
    for grant in grant::ALL {
        let listed =
            |it: &&oauth::Parameters| it.when.contains(grant.grant_type.as_str()) && it.each == grant.parameters;
        assert!(token.parameters.iter().copied().flatten().any(|it| listed(&it)), "{}", grant.grant_type);
    }
}

/// Every source file below a folder.
fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            sources(&file, into);
        } else if file.extension().is_some_and(|it| it == "rs") {
            into.push((file.display().to_string(), std::fs::read_to_string(&file).unwrap()));
        }
    }
}

#[test]
fn what_is_declared_is_read_and_forms_are_decoded_in_one_place() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    sources(&here.join("src"), &mut all);
    sources(&here.join("../core/src"), &mut all);
    sources(&here.join("../pages/src"), &mut all);
    let is_read = |name: &str| {
        // By its name, in a call: not where it is declared, which is `Parameter::…("name"`.
        let read = [
            ".value(\"",
            ".values(\"",
            ".mentions(\"",
            "value(\"",
            "presented(\"",
            "digest(\"",
            ".get(\"",
            "get_all(\"",
            "required(form, \"",
        ];
        let constant = format!("\"{name}\"");
        all.iter().any(|(_, text)| {
            read.iter().any(|call| text.contains(&format!("{call}{name}\"")))
                || text.contains(&format!(": &str = {constant}"))
                || text.contains(&format!("required(request.form, {constant}"))
                || text.contains(&format!("required(form, if form.mentions({constant}"))
        })
    };
    let known_by_type: BTreeSet<&str> = ["authorization", "cookie", "origin"].into();
    for name in endpoints().flat_map(Endpoint::parameters).map(|it| it.name).filter(|it| !known_by_type.contains(it)) {
        assert!(is_read(name), "`{name}` is declared, and nothing reads it");
    }
    for (file, text) in all.iter().filter(|(file, _)| file.contains("/edge/") && !file.ends_with("/form.rs")) {
        assert!(!text.contains("uri().query()"), "{file} reads a query without its endpoint");
        assert!(
            !text.contains("into_body()") || text.contains("mod tests"),
            "{file} reads a body without its endpoint"
        );
        assert!(
            !text.contains(".route(\"") || file.ends_with("/endpoint.rs"),
            "{file} has a route without an endpoint"
        );
    }
}
