//! A browser without scripts: it keeps cookies, reads forms and posts them.
use super::estate::{CONTOSO, app, password, redirect, upn};
use super::{Answer, CHALLENGE, Params, World, encode};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use deputize_authority::ClientAddress;
use oauth::Form;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
    /// Where it is.
    pub(crate) address: Option<IpAddr>,
}

/// A form of a page.
#[derive(Clone, Debug)]
pub(crate) struct PageForm {
    pub(crate) action: String,
    pub(crate) hidden: Vec<(String, String)>,
}

/// An authorization request of `client`, with PKCE.
pub(crate) fn request(client: &str, scope: &str) -> Params<'static> {
    vec![
        ("client_id", app(client).to_string()),
        ("response_type", "code".to_owned()),
        ("redirect_uri", redirect(client).to_owned()),
        ("scope", scope.to_owned()),
        ("state", "the state".to_owned()),
        ("nonce", "the nonce".to_owned()),
        ("code_challenge", CHALLENGE.to_owned()),
        ("code_challenge_method", "S256".to_owned()),
    ]
}

pub(crate) fn authorize_path(params: &Params<'_>) -> String {
    format!("/{CONTOSO}/oauth2/v2.0/authorize?{}", encode(params))
}

impl Browser {
    async fn send(&mut self, world: &World, request: axum::http::request::Builder, body: Body) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        let request = match self.address {
            Some(address) => request.extension(ClientAddress(address)),
            None => request,
        };
        let answer = world.send(request.body(body).unwrap()).await;
        for header in answer.headers.get_all("set-cookie") {
            let header = header.to_str().unwrap();
            // Else browsers would not take them (RFC 6265bis section 5.6).
            for attribute in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                assert!(header.contains(attribute), "{header}");
            }
            let (name, value) = header.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
            self.cookies.retain(|_, value| !value.is_empty());
        }
        answer
    }

    pub(crate) async fn get(&mut self, world: &World, path: &str) -> Answer {
        self.send(world, Request::builder().uri(path), Body::empty()).await
    }

    /// Posts a form as browsers do.
    pub(crate) async fn post(&mut self, world: &World, path: &str, body: String) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", "null")
            .header("sec-fetch-site", "same-origin");
        self.send(world, request, Body::from(body)).await
    }

    pub(crate) async fn submit(&mut self, world: &World, form: &PageForm, typed: &[(&str, &str)]) -> Answer {
        self.post(world, &form.action, form.body(typed)).await
    }

    pub(crate) async fn authorize(&mut self, world: &World, params: &Params<'_>) -> Answer {
        self.get(world, &authorize_path(params)).await
    }

    /// Signs in where a page asks for it.
    pub(crate) async fn sign_in(&mut self, world: &World, page: Answer, user: &str) -> Answer {
        let form = page.form();
        assert!(form.action.ends_with("/sign-in"), "{}", page.text());
        self.submit(world, &form, &[("username", &upn(user)), ("password", &password(user))]).await
    }

    /// Goes through the pages until the client has its answer.
    pub(crate) async fn complete(&mut self, world: &World, params: &Params<'_>, user: &str) -> Form {
        let mut answer = self.authorize(world, params).await;
        if answer.status == StatusCode::OK && answer.form().action.ends_with("/sign-in") {
            answer = self.sign_in(world, answer, user).await;
        }
        if answer.status == StatusCode::OK && answer.form().action.ends_with("/consent") {
            answer = self.submit(world, &answer.form(), &[("action", "accept")]).await;
        }
        answer.redirected().1
    }

    pub(crate) async fn code(&mut self, world: &World, client: &str, user: &str, scope: &str) -> String {
        let answer = self.complete(world, &request(client, scope), user).await;
        answer.value("code").unwrap_or_else(|| panic!("{:?}", answer.value("error_description"))).to_owned()
    }
}

impl PageForm {
    pub(crate) fn body(&self, typed: &[(&str, &str)]) -> String {
        let form = self.hidden.iter().fold(Form::default(), |form, (name, value)| form.with(name, value));
        typed.iter().fold(form, |form, (name, value)| form.with(name, value)).encode()
    }

    /// The same with another value of a hidden field.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut form = self.clone();
        form.hidden.iter_mut().filter(|(known, _)| known == name).for_each(|(_, old)| value.clone_into(old));
        form
    }

    pub(crate) fn hidden(&self, name: &str) -> &str {
        self.hidden.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap()
    }
}

impl Answer {
    /// The form of a page.
    pub(crate) fn form(&self) -> PageForm {
        let html = self.text();
        let tags = |start: &str| -> Vec<String> {
            html.split(start).skip(1).map(|rest| rest.split('>').next().unwrap_or_default().to_owned()).collect()
        };
        let action = tags("<form ").first().and_then(|tag| attribute(tag, "action"));
        let inputs = tags("<input ");
        let hidden = inputs.iter().filter(|tag| tag.contains("type=\"hidden\""));
        PageForm {
            action: action.unwrap_or_else(|| panic!("no form: {} {html}", self.status)),
            hidden: hidden.map(|tag| (attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap())).collect(),
        }
    }

    /// Where a redirect leads, and the parameters that go along, in query or fragment.
    pub(crate) fn redirected(&self) -> (String, Form) {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        let location = self.header("location");
        let at = location.find(['?', '#']).unwrap_or(location.len());
        let (uri, rest) = location.split_at(at);
        (uri.to_owned(), Form::decode(rest.get(1..).unwrap_or_default().as_bytes()).unwrap())
    }

    /// Whether it is a page of our own, with every header that keeps it ours.
    pub(crate) fn page(&self) -> bool {
        if !self.header("content-type").starts_with("text/html") {
            return false;
        }
        let policy = self.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(policy.contains("base-uri 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(self.header("x-frame-options"), "DENY");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert_eq!(self.header("referrer-policy"), "no-referrer");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(self.header("strict-transport-security").starts_with("max-age="));
        assert!(!self.headers.contains_key("access-control-allow-origin"), "pages have no CORS");
        true
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
    let mut text = value.to_owned();
    for (entity, plain) in [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")] {
        text = text.replace(entity, plain);
    }
    Some(text)
}
