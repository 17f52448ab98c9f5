//! HashiCorp Vault (and OpenBao): the key-value engine, version 2.
use super::command::texts;
use super::{Given, Material, Origin};
use client::{Body, Pending, Transport};
use decision::Timestamp;
use http::{HeaderValue, Method, StatusCode};
use oauth::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How the gateway gets its token there.
pub(crate) enum Login {
    /// It has one.
    Token(Material),
    /// A service account's token, for a role.
    Kubernetes { mount: String, role: String, jwt: Material },
    /// A role's id, and the secret that goes with it.
    AppRole { mount: String, role_id: Material, secret_id: Material },
}

/// A vault, and where its key-value engine is.
pub(crate) struct Kv {
    /// Without a slash at the end.
    pub(crate) url: String,
    pub(crate) mount: String,
    pub(crate) namespace: Option<HeaderValue>,
    pub(crate) login: Login,
    pub(crate) transport: Arc<dyn Transport>,
    /// The token of a login, and when a new one is got.
    pub(crate) logged_in: Mutex<Option<(Secret, Timestamp)>>,
}

/// One secret of it.
pub(crate) struct KvSecret {
    kv: Arc<Kv>,
    path: String,
    version: Option<String>,
}

impl Origin for KvSecret {
    fn fetch(&self, now: Timestamp) -> Pending<'_, Result<Given, String>> {
        Box::pin(self.kv.secret(&self.path, self.version.as_deref(), now))
    }
}

#[derive(Deserialize)]
struct Read {
    data: Option<ReadData>,
}

#[derive(Deserialize)]
struct ReadData {
    data: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Secret,
    lease_duration: i64,
}

impl Kv {
    pub(crate) fn holds(self: &Arc<Self>, path: &str, version: Option<&str>) -> KvSecret {
        KvSecret { kv: Arc::clone(self), path: path.to_owned(), version: version.map(str::to_owned) }
    }

    async fn secret(&self, path: &str, version: Option<&str>, now: Timestamp) -> Result<Given, String> {
        let version = version.map_or_else(String::new, |version| format!("?version={version}"));
        let address = format!("{}/v1/{}/data/{path}{version}", self.url, self.mount);
        let mut answer = self.send(Method::GET, &address, None, Some(&self.token(now, false).await?)).await?;
        if answer.status() == StatusCode::FORBIDDEN && !matches!(self.login, Login::Token(_)) {
            // The token may have been revoked, or ended with its lease.
            answer = self.send(Method::GET, &address, None, Some(&self.token(now, true).await?)).await?;
        }
        if answer.status() != StatusCode::OK {
            return Err(format!("the vault answers with status {}", answer.status().as_u16()));
        }
        let read: Read = serde_json::from_slice(answer.body())
            .map_err(|_| "the vault's answer is none of the key-value engine's, version 2".to_owned())?;
        let parts = read.data.and_then(|data| data.data).ok_or("the secret is deleted")?;
        Ok(Given { document: texts(parts), ends: None })
    }

    async fn token(&self, now: Timestamp, anew: bool) -> Result<Secret, String> {
        let (address, form) = match &self.login {
            Login::Token(material) => return text(material).await,
            Login::Kubernetes { mount, role, jwt } => {
                (mount, json!({ "role": role, "jwt": text(jwt).await?.expose() }))
            }
            Login::AppRole { mount, role_id, secret_id } => {
                let (role, secret) = (text(role_id).await?, text(secret_id).await?);
                (mount, json!({ "role_id": role.expose(), "secret_id": secret.expose() }))
            }
        };
        let known = || self.logged_in.lock().unwrap_or_else(PoisonError::into_inner);
        if !anew
            && let Some((token, until)) = &*known()
            && now < *until
        {
            return Ok(token.clone());
        }
        let address = format!("{}/v1/auth/{address}/login", self.url);
        let answer = self.send(Method::POST, &address, Some(form), None).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the vault refuses the login with status {}", answer.status().as_u16()));
        }
        let LoggedIn { auth } = serde_json::from_slice(answer.body())
            .map_err(|_| "the vault's answer to the login has no token".to_owned())?;
        // A lease of nothing is a token without an end.
        let lease = if auth.lease_duration == 0 { 3_600 } else { auth.lease_duration };
        *known() = Some((auth.client_token.clone(), now.plus(lease - lease / 10)));
        Ok(auth.client_token)
    }

    async fn send(
        &self,
        method: Method,
        address: &str,
        form: Option<Value>,
        token: Option<&Secret>,
    ) -> Result<http::Response<Vec<u8>>, String> {
        let mut request = http::Request::builder().method(method).uri(address).header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace.clone());
        }
        if let Some(token) = token {
            let mut value =
                HeaderValue::try_from(token.expose()).map_err(|_| "the token for the vault cannot be sent")?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        let body = form.map_or_else(Body::default, |form| Body::new(form.to_string().into_bytes()));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|_| "the vault's address is no URL")?;
        self.transport.send(request).await.map_err(|error| format!("the vault cannot be reached: {error}"))
    }
}

/// A secret that opens the vault, as it is now.
async fn text(material: &Material) -> Result<Secret, String> {
    let (material, name) = (material.clone(), material.to_string());
    let held = tokio::task::spawn_blocking(move || material.held()).await;
    let held = held.map_err(|_| format!("{name} cannot be read"))??;
    Material::text(&held.ok_or_else(|| format!("{name} is not there yet"))?)
        .map_err(|reason| format!("{name}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A vault that answers what it is told to, and keeps the paths and tokens that it was asked with.
    #[derive(Default)]
    struct Told {
        says: Mutex<Vec<(u16, &'static str)>>,
        asked: Mutex<Vec<String>>,
    }

    impl Transport for Told {
        fn send(&self, request: http::Request<Body>) -> client::Sending<'_> {
            let token = request.headers().get("x-vault-token");
            assert!(token.is_none_or(HeaderValue::is_sensitive), "no log shows it");
            let token = token.and_then(|token| token.to_str().ok()).unwrap_or("-");
            self.asked.lock().unwrap().push(format!("{} {token}", request.uri().path()));
            let (status, body) = self.says.lock().unwrap().remove(0);
            let mut answer = http::Response::new(body.as_bytes().to_vec());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            Box::pin(async { Ok(answer) })
        }
    }

    const GOOD: (u16, &str) = (200, r#"{"data": {"data": {"password": "open sesame"}}}"#);
    const DENIED: (u16, &str) = (403, r#"{"errors": ["permission denied"]}"#);

    fn vault(login: Login) -> (Arc<Kv>, Arc<Told>) {
        let told = Arc::new(Told::default());
        let transport = Arc::clone(&told) as Arc<dyn Transport>;
        let url = "https://vault.example".to_owned();
        let kv = Kv { url, mount: "secret".to_owned(), namespace: None, login, transport, logged_in: Mutex::default() };
        (Arc::new(kv), told)
    }

    /// A file with a secret in it.
    fn file(of: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("deputize-gateway-kv-{of}-{}", std::process::id()));
        std::fs::write(&file, of).unwrap();
        file
    }

    impl Told {
        /// What comes at a moment of these answers, and what was asked.
        async fn comes_of(
            &self,
            kv: &Arc<Kv>,
            now: i64,
            says: &[(u16, &'static str)],
        ) -> (Result<(), String>, Vec<String>) {
            *self.says.lock().unwrap() = says.to_vec();
            let given = kv.holds("orders", None).fetch(Timestamp(now)).await;
            (given.map(drop), std::mem::take(&mut *self.asked.lock().unwrap()))
        }
    }

    #[tokio::test]
    async fn a_login_is_used_until_nine_tenths_of_its_lease_are_over_or_it_is_refused() {
        let jwt = file("jwt");
        let jwt = || Material::files([jwt.clone()]);
        let login = "/v1/auth/kubernetes/login -";
        let read = |token: &str| format!("/v1/secret/data/orders {token}");
        let of = |token: &'static str| (200, token);
        let one = of(r#"{"auth": {"client_token": "one", "lease_duration": 100}}"#);
        let two = of(r#"{"auth": {"client_token": "two", "lease_duration": 0}}"#);
        let (kv, told) =
            vault(Login::Kubernetes { mount: "kubernetes".to_owned(), role: "gateway".to_owned(), jwt: jwt() });
        let ok = |asked: &[&str]| (Ok(()), asked.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(told.comes_of(&kv, 1_000, &[one, GOOD]).await, ok(&[login, &read("one")]));
        assert_eq!(told.comes_of(&kv, 1_089, &[GOOD]).await, ok(&[&read("one")]));
        assert_eq!(told.comes_of(&kv, 1_090, &[two, GOOD]).await, ok(&[login, &read("two")]));
        // A lease of nothing has no end, and is looked after once in an hour.
        assert_eq!(told.comes_of(&kv, 4_329, &[GOOD]).await, ok(&[&read("two")]));
        assert_eq!(told.comes_of(&kv, 4_329, &[DENIED, one, GOOD]).await, ok(&[&read("two"), login, &read("one")]));
        let (error, asked) = told.comes_of(&kv, 9_000, &[(400, one.1)]).await;
        assert_eq!(error, Err("the vault refuses the login with status 400".to_owned()));
        assert_eq!(asked, [login]);
        std::fs::remove_file(file("jwt")).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_secret_is_none_whatever_is_in_it_and_a_token_of_its_own_is_shown_once() {
        let (kv, told) = vault(Login::Token(Material::files([file("token")])));
        for (says, expected) in [
            (DENIED, "the vault answers with status 403"),
            ((404, GOOD.1), "the vault answers with status 404"),
            ((200, "{}"), "the secret is deleted"),
            ((200, "open sesame"), "the vault's answer is none of the key-value engine's, version 2"),
        ] {
            let (error, asked) = told.comes_of(&kv, 1_000, &[says]).await;
            assert_eq!(error, Err(expected.to_owned()));
            assert_eq!(asked, ["/v1/secret/data/orders token"]);
        }
        std::fs::remove_file(file("token")).unwrap();
    }
}
