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
