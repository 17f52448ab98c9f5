//! Azure Key Vault: secrets over its REST contract, and certificates as the secrets that they are there.
use super::{Document, Given, Held, Origin};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::managed_identity::{Identity, ManagedIdentity};
use client::{Ask, Client, Pending, Transport};
use decision::Timestamp;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use jose::pkcs12::{self, Pkcs12Error};
use oauth::Secret;
use serde::Deserialize;
use std::sync::{Arc, OnceLock};

/// The version of the contract.
const VERSION: &str = "7.4";

/// Who asks the vault.
#[derive(Clone)]
pub(crate) enum Asks {
    Identity(ManagedIdentity, Identity),
    Client(Client),
}

/// A vault.
pub(crate) struct KeyVault {
    /// Without a slash at the end.
    pub(crate) url: String,
    pub(crate) asks: Asks,
    /// What its tokens are for; where nothing is stated, what it says itself is believed if it is the vault's own domain.
    resource: OnceLock<String>,
    pub(crate) transport: Arc<dyn Transport>,
}

/// One secret of it.
pub(crate) struct VaultSecret {
    vault: Arc<KeyVault>,
    name: String,
    version: Option<String>,
}

impl Origin for VaultSecret {
    fn fetch(&self, now: Timestamp) -> Pending<'_, Result<Given, String>> {
        Box::pin(self.vault.secret(&self.name, self.version.as_deref(), now))
    }
}

#[derive(Deserialize)]
struct Bundle {
    value: Secret,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    enabled: Option<bool>,
}

/// What the vault says of an error, without what it was asked.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
}

impl KeyVault {
    pub(crate) fn new(url: &str, resource: Option<&str>, asks: Asks, transport: Arc<dyn Transport>) -> Self {
        let known = OnceLock::new();
        if let Some(resource) = resource {
            let _ = known.set(resource.trim_end_matches('/').to_owned());
        }
        Self { url: url.trim_end_matches('/').to_owned(), asks, resource: known, transport }
    }

    pub(crate) fn holds(self: &Arc<Self>, name: &str, version: Option<&str>) -> VaultSecret {
        VaultSecret { vault: Arc::clone(self), name: name.to_owned(), version: version.map(str::to_owned) }
    }

    async fn secret(&self, name: &str, version: Option<&str>, _: Timestamp) -> Result<Given, String> {
        let version = version.map_or_else(String::new, |version| format!("/{version}"));
        let address = format!("{}/secrets/{name}{version}?api-version={VERSION}", self.url);
        let mut answer = self.ask(&address, self.token(false).await?.as_ref()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            if self.resource.get().is_none() {
                let resource = challenged(answer.headers(), &self.url)?;
                let _ = self.resource.set(resource);
            }
            // The first question had no token, or one that the vault takes no more.
            answer = self.ask(&address, self.token(true).await?.as_ref()).await?;
        }
        if answer.status() != StatusCode::OK {
            let code = serde_json::from_slice::<Refusal>(answer.body()).ok().map(|refusal| refusal.error.code);
            let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            let status = answer.status().as_u16();
            return Err(format!(
                "the vault answers with status {status}{}",
                code.map_or_else(String::new, |c| format!(" ({c})"))
            ));
        }
        let bundle: Bundle = serde_json::from_slice(answer.body())
            .map_err(|_| "the vault's answer is none of Key Vault's contract".to_owned())?;
        if bundle.attributes.and_then(|attributes| attributes.enabled) == Some(false) {
            return Err("the secret is disabled".to_owned());
        }
        let value = if bundle.content_type.as_deref() == Some("application/x-pkcs12") {
            opened(bundle.value).await?
        } else {
            Held::new(bundle.value.expose().as_bytes().to_vec())
        };
        Ok(Given { document: Document::from([("value".to_owned(), value)]), ends: None })
    }

    async fn ask(&self, address: &str, token: Option<&Secret>) -> Result<http::Response<Vec<u8>>, String> {
        let mut request = http::Request::get(address).header("accept", "application/json");
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| "the token for the vault cannot be sent")?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(client::Body::default()).map_err(|_| "the vault's address is no URL")?;
        self.transport.send(request).await.map_err(|error| format!("the vault cannot be reached: {error}"))
    }

    /// A token for the vault; none while it has not said what its tokens are for.
    async fn token(&self, anew: bool) -> Result<Option<Secret>, String> {
        let Some(resource) = self.resource.get() else { return Ok(None) };
        let got = match &self.asks {
            Asks::Identity(host, identity) if anew => host.acquire_anew(identity, resource).await,
            Asks::Identity(host, identity) => host.acquire(identity, resource).await,
            Asks::Client(client) => {
                let target = format!("{resource}/.default");
                client.ask(&Ask::application(&target).fresh(anew)).await.map(|answered| answered.token)
            }
        };
        let token = got.map_err(|error| format!("there is no token for the vault: {error}"))?;
        Ok(Some(token.access_token.clone()))
    }
}

/// A certificate and its key as the vault gives them where it was not asked for PEM: PKCS#12 under no password, in base64.
async fn opened(value: Secret) -> Result<Held, String> {
    let read = move || {
        let document = STANDARD.decode(value.expose()).map(Held::new).map_err(|_| "it is not in base64".to_owned())?;
        let text = pkcs12::read(&document, "").map_err(told)?.pem();
        Ok(Held::new(text.as_bytes().to_vec()))
    };
    // Its passwords are made slow to guess.
    let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err("it could not be opened".to_owned()));
    read.map_err(|reason: String| format!("the certificate is of no use: of PKCS#12, {reason}"))
}

/// Why a document is of no use, and what would make it so.
fn told(error: Pkcs12Error) -> String {
    match error {
        Pkcs12Error::Keys(0) => {
            "it holds no private key; let the certificate's policy in the vault make its key exportable".to_owned()
        }
        other => other.to_string(),
    }
}

/// What the vault says its tokens are for. It is believed where the vault is below that host: a vault of somebody else's could
/// otherwise have itself sent tokens for anything.
fn challenged(headers: &HeaderMap, vault: &str) -> Result<String, String> {
    let challenge = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let stated = challenge.filter_map(|text| text.strip_prefix("Bearer ")).find_map(|parameters| {
        let value = |name: &str| {
            parameters
                .split(',')
                .find_map(|one| one.trim().strip_prefix(name)?.strip_prefix('=').map(|v| v.trim_matches('"')))
        };
        value("resource")
            .or_else(|| value("scope"))
            .map(|text| text.trim_end_matches("/.default").trim_end_matches('/'))
    });
    let resource = stated.ok_or("the vault does not say what its tokens are for; state `resource`")?;
    let host = |text: &str| text.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_ascii_lowercase()));
    let is_https = resource.starts_with("https://");
    match (host(resource), host(vault)) {
        (Some(of), Some(vault)) if is_https && !of.is_empty() && vault.ends_with(&format!(".{of}")) => {
            Ok(resource.to_owned())
        }
        _ => Err("the vault asks for a token that is for somebody else: its host is not below that of the resource it names; state `resource` if that is meant".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn told(challenge: &str, vault: &str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        challenged(&headers, vault)
    }

    #[test]
    fn a_vault_is_sent_tokens_for_its_own_domain_only() {
        let vault = "https://corp.vault.azure.net";
        for (challenge, expected) in [
            (
                r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net""#,
                Some("https://vault.azure.net"),
            ),
            (r#"Bearer resource="https://vault.azure.net/""#, Some("https://vault.azure.net")),
            (r#"Bearer scope="https://vault.azure.net/.default""#, Some("https://vault.azure.net")),
            (r#"Bearer resource="https://graph.microsoft.com""#, None),
            (r#"Bearer resource="https://management.azure.com/""#, None),
            (r#"Bearer resource="https://vault.azure.net.evil.example""#, None),
            (r#"Bearer resource="https://lt.azure.net""#, None),
            (r#"Bearer resource="https://corp.vault.azure.net""#, None),
            (r#"Bearer resource="http://vault.azure.net""#, None),
            (r#"Bearer resource="https://""#, None),
            (r#"Bearer resource="""#, None),
            (r#"Bearer resource="https:///x""#, None),
            (r#"Basic resource="https://vault.azure.net""#, None),
            ("Bearer", None),
        ] {
            assert_eq!(told(challenge, vault).ok().as_deref(), expected, "{challenge}");
        }
        let resource = r#"Bearer resource="https://vault.azure.net""#;
        for other in ["https://evil.example", "https://evilvault.azure.net", "https://vault.azure.net"] {
            assert!(told(resource, other).is_err(), "{other}");
        }
    }

    /// A host with an identity and a vault, both of which answer what they are told to.
    struct Both {
        says: Mutex<Vec<(u16, &'static str)>>,
        /// The addresses that were asked, and the credential where it is the vault's.
        asked: Mutex<Vec<(String, Option<HeaderValue>)>>,
        tokens: AtomicUsize,
    }

    impl Transport for Both {
        fn send(&self, request: http::Request<client::Body>) -> client::Sending<'_> {
            let is_vault = request.uri().host() == Some("corp.vault.example");
            let (status, body) = if is_vault {
                let asked = (request.uri().to_string(), request.headers().get(AUTHORIZATION).cloned());
                self.asked.lock().unwrap().push(asked);
                let (status, body) = self.says.lock().unwrap().remove(0);
                (status, body.to_owned())
            } else {
                let token = self.tokens.fetch_add(1, Ordering::Relaxed);
                (
                    200,
                    format!(
                        r#"{{"access_token": "t{token}", "expires_on": "9999", "resource": "x", "token_type": "Bearer"}}"#
                    ),
                )
            };
            let mut answer = http::Response::new(body.into_bytes());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let challenge = r#"Bearer resource="https://vault.example""#;
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            Box::pin(async { Ok(answer) })
        }
    }

    /// What comes of answers of the vault, with the questions that it took.
    async fn asked(
        resource: Option<&str>,
        says: &[(u16, &'static str)],
    ) -> (Result<String, String>, Vec<(String, Option<HeaderValue>)>) {
        let both =
            Arc::new(Both { says: Mutex::new(says.to_vec()), asked: Mutex::default(), tokens: AtomicUsize::new(0) });
        let transport = Arc::clone(&both) as Arc<dyn Transport>;
        let clock = Arc::new(testkit::SetClock::at(Timestamp(1_000)));
        let host = ManagedIdentity::site("http://127.0.0.1/msi", Secret::new("header"), Arc::clone(&transport), clock);
        let vault =
            KeyVault::new("https://corp.vault.example/", resource, Asks::Identity(host, Identity::Default), transport);
        let given = Arc::new(vault).holds("name", Some("v7")).fetch(Timestamp(1_000)).await;
        let value = given.map(|mut given| String::from_utf8(given.document.remove("value").unwrap().to_vec()).unwrap());
        let asked = std::mem::take(&mut *both.asked.lock().unwrap());
        (value, asked)
    }

    const GOOD: (u16, &str) = (200, r#"{"value": "open sesame"}"#);

    #[tokio::test]
    async fn a_vault_is_told_a_token_that_it_takes() {
        let bearer = |token: &str| Some(HeaderValue::try_from(format!("Bearer {token}")).unwrap());
        for (resource, says, told) in [
            (Some("https://vault.example/"), &[GOOD][..], vec![bearer("t0")]),
            // It says what its tokens are for.
            (None, &[(401, ""), GOOD], vec![None, bearer("t0")]),
            // The one that was kept is taken no more.
            (Some("https://vault.example"), &[(401, ""), GOOD], vec![bearer("t0"), bearer("t1")]),
        ] {
            let (value, asked) = asked(resource, says).await;
            assert_eq!(value.as_deref(), Ok("open sesame"), "{says:?}");
            assert_eq!(asked.iter().map(|(_, token)| token.clone()).collect::<Vec<_>>(), told, "{says:?}");
            for (address, token) in asked {
                assert_eq!(address, "https://corp.vault.example/secrets/name/v7?api-version=7.4");
                assert!(token.is_none_or(|token| token.is_sensitive()), "no log shows it");
            }
        }
    }

    #[tokio::test]
    async fn t_07_what_a_vault_refuses_is_told_by_its_status_and_code_alone() {
        for (says, expected) in [
            (
                &[(404, r#"{"error": {"code": "SecretNotFound", "message": "open sesame"}}"#)][..],
                "the vault answers with status 404 (SecretNotFound)",
            ),
            (&[(500, r#"{"value": "open sesame"}"#)], "the vault answers with status 500"),
            (&[(403, r#"{"error": {"code": "open sesame\n", "message": ""}}"#)], "the vault answers with status 403"),
            (&[(401, ""), (401, "")], "the vault answers with status 401"),
            (&[(200, "open sesame")], "the vault's answer is none of Key Vault's contract"),
            (&[(200, r#"{"value": "x", "attributes": {"enabled": false}}"#)], "the secret is disabled"),
            (
                &[(200, r#"{"value": "open sesame", "contentType": "application/x-pkcs12"}"#)],
                "the certificate is of no use: of PKCS#12, it is not in base64",
            ),
        ] {
            let (value, _) = asked(Some("https://vault.example"), says).await;
            assert_eq!(value.as_ref().map_err(String::as_str), Err(expected), "{says:?}");
        }
        let keyless = super::told(Pkcs12Error::Keys(0));
        assert!(keyless.contains("let the certificate's policy in the vault make its key exportable"), "{keyless}");
    }
}
