//! A browser as small as can be: it follows redirects, keeps cookies, and fills in the forms it is shown.
use super::world::Person;
use crate::failure::Failure;
use crate::system::SystemClock;
use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use decision::Clock;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oauth::Form;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

const LARGEST_PAGE: usize = 1 << 20;
const MOST_STEPS: usize = 12;

/// One person's browser.
pub(super) struct Browser {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    cookies: BTreeMap<String, String>,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What came back at the redirect URI, and the pages on the way.
pub(super) struct Arrived {
    pub(super) query: String,
    pub(super) pages: Vec<&'static str>,
    /// What the dialog for consent said, if there was one: its warning, what would be allowed, and what would be added.
    pub(super) dialog: Vec<String>,
}

/// A person's authenticator app.
#[derive(Default)]
pub(super) struct Device {
    /// The secret, in base32 as people type it.
    pub(super) secret: Option<String>,
    /// The last step it was asked for: a code works once.
    step: u64,
}

impl Device {
    /// An app that knows a secret already.
    pub(super) fn holding(secret: Option<String>) -> Self {
        Self { secret, step: 0 }
    }

    /// Scans what a page shows, and answers with the first code.
    fn scan(&mut self, page: &str) -> Option<String> {
        let secret = unescaped(page).split("?secret=").nth(1)?.split('&').next()?.to_owned();
        self.secret = Some(secret);
        self.code()
    }

    fn code(&mut self) -> Option<String> {
        let secret = BASE32_NOPAD.decode(self.secret.as_ref()?.as_bytes()).ok()?;
        let now = u64::try_from(SystemClock.now().0 / 30).ok()?;
        // The authority takes the next one too.
        self.step = now.max(self.step.saturating_add(1));
        Some(format!("{:06}", jose::one_time_code(&secret, self.step)))
    }
}

impl Browser {
    /// Trusts this authority's certificates and no others.
    pub(super) fn new(ca_pem: &str) -> Result<Self, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()).flatten() {
            roots.add(certificate).map_err(|error| Failure::plain(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::plain(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(https), cookies: BTreeMap::new() })
    }

    /// Sends one request.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let failed = |error: String| Failure::plain(format!("the demo's own server did not answer ({error})"));
        let answer = self.client.request(request).await.map_err(|error| failed(error.to_string()))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_PAGE).collect().await.map_err(|error| failed(error.to_string()))?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Calls an API with a token.
    pub(super) async fn call(&self, method: Method, url: &str, token: &str) -> Result<Answer, Failure> {
        let request =
            Request::builder().method(method).uri(url).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Full::default()).map_err(|error| Failure::plain(error.to_string()))?).await
    }

    /// Walks from an authorization URL to the redirect URI, through the pages for people.
    pub(super) async fn sign_in(&mut self, url: &str, back: &str, person: &Person) -> Result<Arrived, Failure> {
        self.sign_in_with(url, back, person, &mut Device::default()).await
    }

    /// The same, with a device for the second factor.
    pub(super) async fn sign_in_with(
        &mut self,
        url: &str,
        back: &str,
        person: &Person,
        device: &mut Device,
    ) -> Result<Arrived, Failure> {
        let unreadable = |_| Failure::plain("the authority sent the browser to an unreadable address");
        let mut url = Url::parse(url).map_err(unreadable)?;
        let mut posted: Option<String> = None;
        let (mut pages, mut dialog) = (Vec::new(), Vec::new());
        for _ in 0..MOST_STEPS {
            let answer = self.visit(&url, posted.take()).await?;
            if let Some(location) = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) {
                url = url.join(location).map_err(unreadable)?;
                if url.as_str().split(['?', '#']).next() == Some(back) {
                    return Ok(Arrived { query: url.query().unwrap_or_default().to_owned(), pages, dialog });
                }
                continue;
            }
            let page = String::from_utf8_lossy(&answer.body);
            let Some(form) = HtmlForm::first(&page).filter(|_| answer.status == StatusCode::OK) else {
                let said = text_of(&page);
                let at = url.path();
                return Err(Failure::plain(format!("the sign-in ended at {at} with {} ({said})", answer.status)));
            };
            let asks = |name: &str| form.names.iter().any(|known| known == name);
            let mut filled = form.hidden.iter().fold(Form::default(), |form, (name, value)| form.with(name, value));
            if asks("password") && !pages.contains(&"password") {
                pages.push("password");
                filled = filled.with("username", &person.upn).with("password", person.password.expose());
            } else if asks("step") {
                let step = form.hidden.iter().find(|(name, _)| name == "step").map(|(_, value)| value.as_str());
                let (told, code) = match step {
                    Some("enrol") => ("a second factor set up", device.scan(&page)),
                    Some("verify") => ("second factor", device.code()),
                    _ => ("recovery codes", Some(String::new())),
                };
                let Some(code) = code.filter(|_| pages.iter().filter(|page| **page == told).count() < 2) else {
                    return Err(Failure::plain(format!("the second factor was not taken: {}", text_of(&page))));
                };
                pages.push(told);
                filled = filled.with("code", &code);
            } else if asks("action") && !pages.contains(&"consent") {
                pages.push("consent");
                dialog = asked(&page);
                filled = filled.with("action", "accept");
            } else {
                return Err(Failure::plain(format!("the sign-in did not go on after: {}", pages.join(", "))));
            }
            posted = Some(filled.encode());
            url = url.join(&form.action).map_err(unreadable)?;
        }
        Err(Failure::plain("the pages go in a circle"))
    }

    async fn visit(&mut self, url: &Url, posted: Option<String>) -> Result<Answer, Failure> {
        let mut request = Request::builder().uri(url.as_str()).header(header::ACCEPT, "text/html");
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, all.join("; "));
        }
        if posted.is_some() {
            request = request
                .method(Method::POST)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, url.origin().ascii_serialization());
        }
        let body = Full::from(posted.unwrap_or_default());
        let answer = self.send(request.body(body).map_err(|error| Failure::plain(error.to_string()))?).await?;
        for cookie in answer.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.trim().to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

/// The first form of a page, as far as our own pages go.
struct HtmlForm {
    action: String,
    hidden: Vec<(String, String)>,
    names: Vec<String>,
}

impl HtmlForm {
    fn first(page: &str) -> Option<Self> {
        let begin = page.find("<form")?;
        let rest = page.get(begin..)?;
        let whole = rest.get(..rest.find("</form")?)?;
        let mut tags = whole.split('<').skip(1).filter_map(|tag| tag.split('>').next());
        let action = attribute(tags.next()?, "action").unwrap_or_default();
        let (mut hidden, mut names) = (Vec::new(), Vec::new());
        for tag in tags.filter(|tag| tag.starts_with("input") || tag.starts_with("button")) {
            let Some(name) = attribute(tag, "name") else { continue };
            if attribute(tag, "type").as_deref() == Some("hidden") {
                hidden.push((name.clone(), attribute(tag, "value").unwrap_or_default()));
            }
            names.push(name);
        }
        Some(Self { action, hidden, names })
    }
}

/// What a reader sees, shortened.
fn text_of(page: &str) -> String {
    let body = page.split("<body").nth(1).unwrap_or(page);
    words(body).chars().take(400).collect()
}

/// The text of a piece of a page, with one space between words.
fn words(html: &str) -> String {
    let texts = std::iter::once(html.split('<').next().unwrap_or_default());
    let texts = texts.chain(html.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| text));
    unescaped(&texts.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What a dialog for consent asks: headings and what stands under them, in the order of the page.
fn asked(page: &str) -> Vec<String> {
    let from = page.split_once("</h1>").map_or("", |(_, rest)| rest);
    let until = from.split("<form").next().unwrap_or(from);
    let ends = ["</h2>", "</li>", "</p>"];
    let mut blocks = vec![until];
    for end in ends {
        blocks = blocks.into_iter().flat_map(|block| block.split(end)).collect();
    }
    blocks.into_iter().map(words).filter(|text| !text.is_empty()).collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let begin = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag.get(begin..)?.split('"').next()?;
    Some(unescaped(value))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (entity, after) = after.split_once(';').unwrap_or((after, ""));
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            _ => {
                let digits = entity.trim_start_matches('#');
                let number = match digits.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => digits.parse().ok(),
                };
                number.and_then(char::from_u32).unwrap_or('\u{fffd}')
            }
        });
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_read_in_order() {
        let page = r#"<h1>Allow X?</h1><p class="account"><bdi>Ada</bdi><span>a@b</span></p>
<section><h2>At <bdi>Y</bdi>, it
may:</h2><ul><li><bdi>See &amp; do</bdi></li></ul></section><p>Added to Z: <b>X</b>.</p><form><p>Not this</p></form>"#;
        assert_eq!(asked(page), ["Adaa@b", "At Y, it may:", "See & do", "Added to Z: X."]);
    }

    #[test]
    fn a_form_is_read_with_its_hidden_fields() {
        let page = r#"<h1>x</h1><form method="post" action="/t/sign-in?a=1&#38;b=2"><input type="hidden" name="request" value="x=&quot;&#x27;&amp;"><input name="password" type="password"><button name="action" value="accept">A</button></form>"#;
        let form = HtmlForm::first(page).unwrap();
        assert_eq!(form.action, "/t/sign-in?a=1&b=2");
        assert_eq!(form.hidden, [("request".to_owned(), "x=\"'&".to_owned())]);
        assert_eq!(form.names, ["request", "password", "action"]);
    }
}
