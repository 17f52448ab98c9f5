//! Bad input: whatever arrives is answered in the form of its endpoint, never with a 500.
use crate::world::estate::CONTOSO;
use crate::world::{
    ASSERTION_TYPE, Answer, HOST, Params, World, but, client_credentials, encode, obo_form, redeem_form, refresh_form,
    text, token_path,
};
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use testkit::Random;

const FORM: &str = "application/x-www-form-urlencoded";

fn good() -> Params<'static> {
    client_credentials("daemon", "api://billing/.default")
}

fn path() -> String {
    token_path(&CONTOSO.to_string())
}

fn malformed(answer: &Answer, case: &str) {
    let (status, error, _, check) = answer.refused();
    assert_eq!((status, error.as_str(), check.as_str()), (400, "invalid_request", "request.well_formed"), "{case}");
}

#[tokio::test]
async fn a_16_each_parameter_may_stand_once() {
    let world = World::new().await;
    let names = [
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "scope",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "assertion",
        "requested_token_use",
        "claims",
        "client_info",
        "requested_token_type",
        "unknown",
    ];
    for name in names {
        for values in [["a", "b"], ["a", "a"], ["a", ""], ["", ""]] {
            let twice = values.map(|value| (name, value.to_owned())).to_vec();
            let mut form = good();
            form.retain(|(known, _)| *known != name);
            malformed(&world.token([form, twice].concat()).await, name);
        }
        let value = good().into_iter().find(|(known, _)| *known == name).map_or("x".to_owned(), |(_, value)| value);
        let body =
            format!("{}&%{:02x}{}={value}", encode(&but(good(), name, Some(&value))), name.as_bytes()[0], &name[1..]);
        malformed(&world.post(&path(), &[], body).await, name);
        let query = format!("{}?{name}=a&{name}=b", path());
        malformed(&world.post(&query, &[], encode(&good())).await, name);
    }
    world
        .token(
            [good(), vec![("unknown", "x".to_owned()), ("x-client-SKU", "msal".to_owned()), ("é", "ü".to_owned())]]
                .concat(),
        )
        .await
        .ok();
}

#[tokio::test]
async fn a_16_bodies_of_the_wrong_kind_size_or_encoding() {
    let world = World::new().await;
    let body = encode(&good());
    for kind in [
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencoded; charset=iso-8859-1",
        "application/x-www-form-urlencoded; charset=utf-8; boundary=x",
        "application/x-www-form-urlencoded, text/html",
        "application/x-www-form-urlencodedx",
        "",
    ] {
        malformed(&world.post(&path(), &[("content-type", kind)], body.clone()).await, kind);
    }
    let kinds =
        ["application/x-www-form-urlencoded;charset=utf-8", "Application/X-WWW-Form-URLencoded; charset=\"UTF-8\""];
    for kind in kinds {
        world.post(&path(), &[("content-type", kind)], body.clone()).await.ok();
    }
    malformed(
        &world.post(&path(), &[("content-type", FORM), ("content-type", "text/html")], body.clone()).await,
        "two",
    );
    let json = serde_json::json!({"grant_type": "client_credentials"}).to_string();
    malformed(&world.post(&path(), &[("content-type", "application/json")], json).await, "JSON");
    for tail in
        ["%00", "%0d%0aX-Y: z", "%1b[2J", "%7f", "%C2%85", "%FF", "%C0%AF", "%ED%A0%80", "%", "%4", "%zz", "\u{0}"]
    {
        for name in ["scope", "client_id", "client_secret", "x", "grant_type"] {
            let value =
                good().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value).unwrap_or_default();
            let body = format!("{}&{name}={value}{tail}", encode(&but(good(), name, None)));
            malformed(&world.post(&path(), &[], body).await, tail);
        }
        malformed(&world.post(&path(), &[], format!("{body}&na{tail}me=x")).await, "in a name");
    }
    let many: String = (0..10_000).flat_map(|n| [format!("p{n}="), "&".to_owned()]).collect();
    assert!(many.len() > 65_536);
    malformed(&world.post(&path(), &[], many[..65_000].to_owned() + "=").await, "thousands of parameters");
    for (case, body) in [
        ("10 000 parameters", many),
        ("1 MB", "x".repeat(1 << 20)),
        ("a scope of 64 kB", format!("{body}&scope={}", "a".repeat(65_536))),
        ("one byte too many", format!("{body}&x={}", "a".repeat(65_536 - body.len() - 2))),
    ] {
        let answer = world.post(&path(), &[], body).await;
        let (status, error, ..) = answer.refused();
        assert_eq!((status, error.as_str()), (413, "invalid_request"), "{case}");
    }
    let largest = format!("{body}&x={}", "a".repeat(65_536 - body.len() - 3));
    assert_eq!(largest.len(), 65_536);
    world.post(&path(), &[], largest).await.ok();
    let wide = world.token(but(good(), "scope", Some(&"api://billing/a ".repeat(2_500)))).await;
    assert_eq!(wide.refused().1, "invalid_scope");
    assert!(wide.body.len() < 8_000, "an answer of {} bytes", wide.body.len());
    let deep = format!("{{\"access_token\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let deep = [good(), vec![("claims", deep)]].concat();
    assert!(world.token(deep).await.status.as_u16() < 500);
}

#[tokio::test]
async fn pages_say_which_methods_they_are_for() {
    let world = World::new().await;
    for (path, method, allowed) in [
        ("sign-in", "GET", "POST"),
        ("consent", "GET", "POST"),
        ("sign-out", "HEAD", "POST"),
        ("oauth2/v2.0/authorize", "PUT", "GET, POST"),
        ("oauth2/v2.0/logout", "DELETE", "GET, POST"),
    ] {
        let request = Request::builder().method(method).uri(format!("/{CONTOSO}/{path}"));
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allowed), "{path}");
    }
}

#[tokio::test]
async fn a_16_only_post_is_for_the_token_endpoint() {
    let world = World::new().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"] {
        let request = Request::builder().method(method).uri(format!("{}?{}", path(), encode(&good())));
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST, OPTIONS"), "{method}");
        assert!(method == "HEAD" || answer.refused().1 == "invalid_request");
    }
    for (query, status) in [("scope=a", 200), ("client_id=evil", 200), ("grant_type=client_credentials", 400)] {
        let answer = world.post(&format!("{}?{query}", path()), &[], encode(&good())).await;
        assert_eq!(answer.status, status, "{query}: what stands in the URL is not read");
    }
}

#[tokio::test]
async fn every_refusal_has_the_whole_shape_and_tells_whose_request_it_was() {
    let world = World::new().await;
    let id = "7f2b1c9e-1111-4222-8333-444455556666";
    let forms: Vec<(Params<'_>, &str)> = vec![
        (good(), ""),
        (but(good(), "grant_type", None), "request.parameter_present"),
        (but(good(), "grant_type", Some("password")), "request.grant_supported"),
        (but(good(), "grant_type", Some("urn:ietf:params:oauth:grant-type:saml2-bearer")), "request.grant_supported"),
        (but(good(), "grant_type", Some("device_code")), "request.parameter_present"),
        (but(good(), "client_id", None), "request.parameter_present"),
        (but(good(), "client_id", Some("x")), "client.known"),
        (but(good(), "client_secret", Some("canary-wrong")), "client.secret_correct"),
        (but(good(), "scope", None), "scope.present"),
        (but(good(), "scope", Some("openid")), "scope.valid"),
        (but(good(), "scope", Some("api://billing/Invoices.Export")), "scope.valid"),
        (but(good(), "scope", Some("api://billing/.default api://archive/.default")), "scope.valid"),
        (but(good(), "scope", Some("api://nowhere/.default")), "resource.known"),
        (but(but(good(), "scope", None), "resource", Some("api://billing")), "request.resource_parameter"),
        (redeem_form("web", "1.canary-code"), "code.valid"),
        (refresh_form("web", "1.canary-refresh", None), "refresh.valid"),
        (obo_form("orders", "x.y.z", "api://billing/Invoices.Read"), "assertion.form"),
        (
            [good(), vec![("client_assertion", "x".to_owned()), ("client_assertion_type", ASSERTION_TYPE.to_owned())]]
                .concat(),
            "client.credential_single",
        ),
    ];
    for (form, check) in forms {
        let answer = world.post(&path(), &[("client-request-id", id)], encode(&form)).await;
        assert_eq!(answer.header("client-request-id"), id, "{check}");
        assert_eq!(answer.header("x-ms-clitelem"), "1,0,0,,");
        assert_eq!(answer.header("x-ms-ests-server"), "deputize");
        if check.is_empty() {
            answer.ok();
            continue;
        }
        assert_eq!(answer.check(), check, "{}", answer.text());
        assert_eq!(text(&answer.json(), "correlation_id"), id);
    }
    for answer in [
        world.post(&path(), &[("client-request-id", id)], "a=1&a=2").await,
        world.post(&path(), &[("client-request-id", id), ("content-type", "text/plain")], "").await,
        world.post(&format!("{}?client-request-id={id}", path()), &[], "a=1&a=2").await,
        world.post(&format!("{}?client-request-id={id}&code=x", path()), &[], "").await,
    ] {
        assert_eq!((answer.header("client-request-id"), text(&answer.json(), "correlation_id")), (id, id.to_owned()));
        answer.refused();
    }
    for odd in ["x\u{e9}", "<script>", "a b", "", &"x".repeat(65), "a%0d%0ab", "\"", "`"] {
        let answer = world.post(&path(), &[("client-request-id", odd)], "grant_type=x").await;
        let (given, body) = (answer.header("client-request-id"), answer.json());
        assert!(given.is_empty() && body["correlation_id"] == body["trace_id"], "{odd}: {body}");
        answer.refused();
    }
    let native = world.refresh("strict", "1.canary", None).await.json();
    assert!(
        native["error_codes"].is_null() && text(&native, "error_description").starts_with("refresh.valid: "),
        "{native}"
    );
}

#[tokio::test]
async fn aadsts_pages_explain_the_codes_that_refusals_name() {
    let world = World::new().await;
    for check in decision::CheckId::ALL {
        let Some(code) = check.entry().aadsts else { continue };
        let answer = world.get(&format!("/error?code={code}")).await;
        assert!(answer.page() && answer.status == 200 && answer.text().contains(&code.to_string()), "{code}");
    }
    for query in [
        "",
        "?code=",
        "?code=1",
        "?code=-1",
        "?code=99999999999999999999",
        "?code=%3Cscript%3E",
        "?code=90002&code=90002",
        "?code=%FF",
    ] {
        let answer = world.get(&format!("/error{query}")).await;
        assert_eq!(answer.status, 404, "{query}");
        assert!(!answer.text().contains("<script>"));
    }
}

/// Words that get further than noise does.
const WORDS: [&str; 40] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "scope",
    "code",
    "assertion",
    "refresh_token",
    "claims",
    "redirect_uri",
    "response_type",
    "response_mode",
    "prompt",
    "max_age",
    "state",
    "ticket",
    "request",
    "username",
    "password",
    "id_token_hint",
    "authorization_code",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "on_behalf_of",
    "requested_token_use",
    "openid",
    "api://billing/.default",
    "api://billing/Invoices.Read",
    "/.default",
    "https://app.example/callback",
    "form_post",
    "%00",
    "%ff",
    "+",
    "=",
    "&",
    ";",
    "\u{202e}",
    "{\"access_token\":{}}",
    "eyJhbGciOiJSUzI1NiJ9.e30.AA",
];

fn noise(random: &mut Random, words: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(30) {
        match random.below(8) {
            0 => bytes.extend(random.next().to_le_bytes()),
            1 => bytes.push(b'='),
            2 => bytes.push(b'&'),
            _ => bytes.extend(random.pick(words).unwrap().as_bytes()),
        }
        if random.below(2) == 0 {
            bytes.push(*random.pick(b"=&/%:?").unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn no_input_causes_a_500() {
    let world = World::new().await;
    let source = include_str!("../../src/edge/mod.rs");
    let mut routes: Vec<&str> = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    routes.extend(["/{tenant}/oauth2/v2.0/token"; 12]);
    let mut words: Vec<String> = WORDS.map(str::to_owned).to_vec();
    words.extend([CONTOSO.to_string(), HOST.to_owned(), world.orders_token().await]);
    words.extend(good().into_iter().map(|(_, value)| value));
    let random = &mut Random::seeded(0xa16);
    let tenants =
        [CONTOSO.to_string(), "common".to_owned(), "contoso.example".to_owned(), "%ff".to_owned(), "x%00y".to_owned()];
    for round in 0..6_000 {
        let route = random.pick(&routes).unwrap();
        let mut path = route.replace("{tenant}", random.pick(&tenants).unwrap()).replace("{name}", "x");
        if random.below(2) == 0 {
            let query = noise(random, &words);
            path.push('?');
            path.extend(query.iter().filter(|b| b.is_ascii_graphic() && **b != b'#').map(|b| char::from(*b)));
        }
        let method = *random.pick(&["GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "PUT"]).unwrap();
        let mut request = Request::builder().method(method).uri(&path);
        for name in
            ["authorization", "cookie", "origin", "content-type", "client-request-id", "accept", "sec-fetch-site"]
        {
            let value = match random.below(4) {
                0 => noise(random, &words),
                1 if name == "authorization" => [b"Bearer ".to_vec(), noise(random, &words)].concat(),
                1 if name == "cookie" => [b"__Host-deputize-session=".to_vec(), noise(random, &words)].concat(),
                1 | 2 if name == "content-type" => FORM.as_bytes().to_vec(),
                _ => continue,
            };
            let value =
                HeaderValue::from_bytes(&value.into_iter().filter(|b| *b >= 32 && *b != 127).collect::<Vec<_>>());
            request = request.header(name, value.unwrap());
        }
        let body = if random.below(3) == 0 {
            let mut form = good();
            for _ in 0..random.below(5) {
                let name = WORDS[random.below(20)];
                let value = String::from_utf8_lossy(&noise(random, &words)).into_owned();
                form = but(form, name, Some(&value));
            }
            encode(&form).into_bytes()
        } else {
            noise(random, &words)
        };
        let Ok(request) = request.body(Body::from(body)) else { continue };
        let answer = world.send(request).await;
        assert!(
            !answer.status.is_server_error(),
            "round {round}: {method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        answer.page();
        if route.ends_with("/token")
            && answer.status != 200
            && answer.status != 204
            && method != "HEAD"
            && !path.contains("%ff")
        {
            answer.refused();
        }
    }
    assert!(world.store.audit_verify(None).is_ok());
}
