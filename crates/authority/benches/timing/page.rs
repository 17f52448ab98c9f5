//! The sign-in page as a browser has it: opened once, posted many times.
use super::world::CALLBACK;
use super::{CLIENT, TENANT};
use axum::Router;
use axum::body::Body;
use deputize_authority::Authority;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use oauth::Form;
use std::error::Error;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// An open page: where it is posted, with which cookie and hidden fields.
pub(crate) struct SignInPage {
    router: Router,
    cookie: String,
    hidden: Form,
}

impl SignInPage {
    pub(crate) fn open(runtime: &Runtime, authority: &Authority) -> Result<Self, Box<dyn Error>> {
        let router = authority.router();
        let query = Form::default()
            .with("client_id", &CLIENT.to_string())
            .with("response_type", "code")
            .with("redirect_uri", CALLBACK)
            .with("scope", "openid")
            .with("code_challenge", &"x".repeat(43))
            .with("code_challenge_method", "S256")
            .encode();
        let request = Request::get(format!("/{TENANT}/oauth2/v2.0/authorize?{query}")).body(Body::empty())?;
        let response = runtime.block_on(router.clone().oneshot(request))?;
        let cookie = response.headers().get(header::SET_COOKIE).ok_or("no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let html = runtime.block_on(response.into_body().collect())?.to_bytes();
        let html = std::str::from_utf8(&html)?;
        let value = |name: &str| {
            let (_, rest) = html.split_once(&format!("name=\"{name}\" value=\""))?;
            // What a page escapes of a query is its ampersands.
            Some(rest.split_once('"')?.0.replace("&#38;", "&").replace("&amp;", "&"))
        };
        let hidden = ["request", "ticket"].into_iter().try_fold(Form::default(), |form, name| {
            value(name).map(|value| form.with(name, &value)).ok_or_else(|| format!("no `{name}` in {html}"))
        })?;
        Ok(Self { router, cookie, hidden })
    }

    /// What is posted for this name.
    pub(crate) fn filled(&self, username: &str) -> String {
        self.hidden.clone().with("username", username).with("password", "wrong").encode()
    }

    /// Posts it. Whether the page is shown again, whole.
    pub(crate) fn is_refused(&self, runtime: &Runtime, form: &str) -> bool {
        let request = Request::post(format!("/{TENANT}/sign-in"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, "null")
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &self.cookie)
            .body(Body::from(form.to_owned()));
        let Ok(request) = request else { return false };
        runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let again = response.status() == StatusCode::OK;
            let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            again && body.is_ok_and(|page| page.windows(8).any(|text| text == b"is wrong"))
        })
    }
}
