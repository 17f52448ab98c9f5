//! A browser, as far as sign-in is concerned: it keeps cookies, says what its requests are, and goes where it is sent.
use crate::support::{Answered, World};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oauth::Form;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use testkit::Next;

/// Sign-in by one provider, and an API for whoever signed in.
pub(crate) const SIGN_IN: &str = r#"
    [[authority]]
    name = "contoso"
    metadata = "{metadata}"
    client_id = "web"
    secret = { env = "SECRET" }

    [sign_in]
    origins = ["https://api.example"]
    keys = [{ env = "SIGN_IN_KEY" }]
    redirect_uris = ["https://shop.example/welcome"]
    [[sign_in.provider]]
    name = "aad"
    authority = "contoso"
    scopes = ["offline_access"]

    [[upstream]]
    name = "orders"
    url = "{service}"

    [[api]]
    name = "open"
    path = "/open"
    upstream = "orders"
    public = true
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"

    [[api]]
    name = "orders"
    path = "/"
    upstream = "orders"
    [api.policies.sign_in]
    [[api.operation]]
    name = "all"
    method = "*"
    path = "/*"
"#;

/// A person opens a page.
pub(crate) const NAVIGATES: &[(&str, &str)] = &[
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
    ("accept", "text/html"),
];
/// A page of the site asks.
pub(crate) const FETCHES: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];

#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) jar: BTreeMap<String, String>,
}

/// A sign-in that is under way, as the provider sees it.
pub(crate) struct Begun {
    pub(crate) asked: Form,
    pub(crate) to: String,
}

impl Begun {
    pub(crate) fn value(&self, name: &str) -> &str {
        self.asked.value(name).unwrap_or_default()
    }
}

impl Browser {
    pub(crate) async fn get(&mut self, world: &World, target: &str, fields: &[(&str, &str)]) -> Answered {
        self.ask(world, "GET", target, fields, "").await
    }

    pub(crate) async fn ask(
        &mut self,
        world: &World,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: api.example\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !self.jar.is_empty() {
            let all: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.extend(["cookie: ", &all.join("; "), "\r\n"]);
        }
        let answer = world.raw(format!("{text}\r\n{body}")).await;
        self.keep(&answer);
        answer
    }

    pub(crate) fn keep(&mut self, answer: &Answered) {
        for cookie in answer.field("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Opens the sign-in, and is sent to the provider.
    pub(crate) async fn begin(&mut self, world: &World, target: &str) -> Begun {
        let answer = self.get(world, target, NAVIGATES).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        let to = answer.field("location").concat();
        let (to, query) = to.split_once('?').unwrap();
        Begun { asked: Form::decode(query.as_bytes()).unwrap(), to: to.to_owned() }
    }

    /// Comes back from it.
    pub(crate) async fn back(&mut self, world: &World, begun: &Begun) -> Answered {
        let answer = Form::default().with("code", "the-code").with("state", begun.value("state"));
        self.get(world, &format!("/.auth/login/aad/callback?{}", answer.encode()), NAVIGATES).await
    }

    /// Signs Ada in, with these claims and members over the usual ones of the ID token and the answer.
    pub(crate) async fn signs_in(&mut self, world: &World, claims: &Value, more: &Value) -> Answered {
        let begun = self.begin(world, "/.auth/login/aad?post_login_redirect_uri=/x").await;
        answers(world, &begun, claims, more);
        self.back(world, &begun).await
    }
}

/// A browser in which Ada is signed in.
pub(crate) async fn ada(world: &World) -> Browser {
    let mut browser = Browser::default();
    let answer = browser.signs_in(world, &json!({}), &json!({})).await;
    assert_eq!((answer.status, answer.field("location").concat().as_str()), (302, "/x"), "{answer:?}");
    browser
}

/// The ID token of a sign-in, with these claims over the usual ones.
pub(crate) fn id_token(world: &World, begun: &Begun, claims: &Value) -> String {
    let mut all = json!({
        "aud": "web", "nonce": begun.value("nonce"), "sub": "s-ada", "oid": "o-ada", "tid": "t1", "name": "Ada",
        "preferred_username": "ada@contoso.example", "roles": ["Reader", "Writer"], "ver": "2.0",
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    world.issuer.token(&all)
}

/// What the provider answers next when the code is redeemed.
pub(crate) fn answers(world: &World, begun: &Begun, claims: &Value, more: &Value) {
    let mut body = json!({
        "token_type": "Bearer", "expires_in": 3_600, "access_token": "an-access-token", "refresh_token": "a-refresh-token",
        "id_token": id_token(world, begun, claims),
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    world.issuer.next(Next::answer(200, body.to_string()));
}

/// S256 (RFC 7636).
pub(crate) fn challenge_of(verifier: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// The principal that a service was told of.
pub(crate) fn principal(seen: &crate::support::Seen) -> Value {
    let told = seen.field("x-ms-client-principal");
    assert_eq!(told.len(), 1, "{seen:?}");
    serde_json::from_slice(&STANDARD.decode(told[0]).unwrap()).unwrap()
}

/// The values of a claim of it.
pub(crate) fn values<'a>(principal: &'a Value, typ: &str) -> Vec<&'a str> {
    let claims = principal["claims"].as_array().unwrap().iter();
    claims.filter(|claim| claim["typ"] == typ).map(|claim| claim["val"].as_str().unwrap()).collect()
}
