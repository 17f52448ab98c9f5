//! Vaults of the file, and the managed identities that open them.
use super::file::Source;
use super::world::{World, twice, unknown};
use super::{SettingsError, Spanned, fault, is_here};
use crate::secrets::{Asks, KeyVault, Kv, Login, Material, Origin};
use client::managed_identity::Identity;
use http::{HeaderValue, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A vault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "vault")]
pub(crate) struct VaultTable {
    /// Its name in this file.
    pub(crate) name: Spanned<String>,
    /// Seconds until what it holds is asked for again, up to a tenth less so that not all gateways ask at once.
    #[serde(default = "three_hundred")]
    pub(crate) every_seconds: u64,
    /// Where it is Azure Key Vault, or speaks as one.
    pub(crate) azure_key_vault: Option<KeyVaultTable>,
    /// Where it is HashiCorp Vault or OpenBao, and its key-value engine is version 2.
    pub(crate) hashicorp: Option<Box<KvTable>>,
}

pub(super) const fn three_hundred() -> u64 {
    300
}

/// An Azure Key Vault. Its certificates are secrets too, with their keys, whether their policies say PEM or PKCS#12.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "azure_key_vault")]
pub(crate) struct KeyVaultTable {
    /// Its address, such as `https://contoso.vault.azure.net`.
    url: Spanned<String>,
    /// What its tokens are for. By default what it says itself, which is believed if the vault's host is below that of the resource.
    resource: Option<String>,
    /// The authority that issues its tokens, by the name that the file gives it; by default the host's managed identity does.
    authority: Option<Spanned<String>>,
    /// Which managed identity; by default the one that is the host's own.
    managed_identity: Option<ManagedIdentityTable>,
}

/// A managed identity of the host: its own, where nothing is said.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "managed_identity")]
pub(crate) struct ManagedIdentityTable {
    /// The client id of one that the host was assigned.
    #[serde(rename = "client_id")]
    pub(crate) client: Option<Spanned<String>>,
    /// The object id of one.
    #[serde(rename = "object_id")]
    pub(crate) object: Option<Spanned<String>>,
    /// The resource id of one.
    #[serde(rename = "resource_id")]
    pub(crate) resource: Option<Spanned<String>>,
}

/// A managed identity that an application trusts in place of a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "federated_identity")]
pub(crate) struct FederatedIdentity {
    /// The client id of one that the host was assigned; by default its own.
    client_id: Option<Spanned<String>>,
    /// For whom its tokens are.
    #[serde(default = "exchange")]
    pub(crate) audience: String,
}

fn exchange() -> String {
    "api://AzureADTokenExchange".to_owned()
}

/// A key-value engine, version 2, of HashiCorp Vault or OpenBao.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hashicorp")]
pub(crate) struct KvTable {
    /// The vault's address, such as `https://vault.internal:8200`.
    url: Spanned<String>,
    /// Where the engine is.
    #[serde(default = "secret")]
    mount: Spanned<String>,
    /// The namespace.
    namespace: Option<Spanned<String>>,
    /// A token for the vault.
    token: Option<Spanned<Source>>,
    /// How to log in with the token of a service account in Kubernetes.
    kubernetes: Option<KubernetesTable>,
    /// How to log in with the id and the secret of a role.
    approle: Option<AppRoleTable>,
}

fn secret() -> Spanned<String> {
    Spanned::new(0..0, "secret".to_owned())
}

/// A login with a service account's token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "kubernetes_login")]
struct KubernetesTable {
    /// The role there.
    role: String,
    /// The token; by default the one of the pod.
    token: Option<Spanned<Source>>,
    /// Where the method is.
    #[serde(default = "kubernetes")]
    mount: Spanned<String>,
}

fn kubernetes() -> Spanned<String> {
    Spanned::new(0..0, "kubernetes".to_owned())
}

/// A login as a role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "approle_login")]
struct AppRoleTable {
    /// The role's id.
    role_id: Spanned<Source>,
    /// The secret that goes with it.
    secret_id: Spanned<Source>,
    /// Where the method is.
    #[serde(default = "approle")]
    mount: Spanned<String>,
}

fn approle() -> Spanned<String> {
    Spanned::new(0..0, "approle".to_owned())
}

/// A vault that was read.
#[derive(Clone)]
pub(crate) struct Vault {
    kind: Kind,
    every: i64,
    /// Everything that says which vault it is, and who asks it.
    identity: String,
}

#[derive(Clone)]
enum Kind {
    Key(Arc<KeyVault>),
    Kv(Arc<Kv>),
}

/// What a vault holds under a name.
pub(super) struct Holding {
    pub(super) origin: Arc<dyn Origin>,
    pub(super) every: i64,
    pub(super) identity: String,
}

impl Vault {
    /// Whether a secret is one text: its fields have no names of their own.
    pub(super) fn has_one_text(&self) -> bool {
        matches!(self.kind, Kind::Key(_))
    }

    pub(super) fn read(table: &Spanned<VaultTable>, world: &World<'_>) -> Result<Self, SettingsError> {
        let read = table.get_ref();
        let every = seconds("every", read.every_seconds, &read.name.span())?;
        let (kind, identity) = match (&read.azure_key_vault, &read.hashicorp) {
            (Some(vault), None) => vault.read(world)?,
            (None, Some(vault)) => vault.read(world)?,
            _ => {
                let hint = "add one of `azure_key_vault` and `hashicorp`";
                return Err(fault(&read.name.span(), "it is not said which kind of vault this is", hint));
            }
        };
        Ok(Self { kind, every, identity })
    }

    /// What it holds under this name; `at` is where that is asked.
    pub(super) fn holds(&self, name: &str, version: Option<&str>, at: &Range<usize>) -> Result<Holding, SettingsError> {
        let sound = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if version.is_some_and(|version| !sound(version)) {
            return Err(fault(at, "this is no version of a secret", "write it as the vault shows it, or leave it out"));
        }
        let is_path = name.split('/').all(|part| sound(part) && !part.starts_with('.'));
        let origin: Arc<dyn Origin> = match &self.kind {
            Kind::Key(vault) if is_path && !name.contains(['/', '_', '.']) => Arc::new(vault.holds(name, version)),
            Kind::Kv(vault) if is_path => Arc::new(vault.holds(name, version)),
            Kind::Key(_) => return Err(fault(at, "this is no name of a secret", "use letters, digits and `-`")),
            Kind::Kv(_) => {
                let hint = "write `gateway/database`: the path below the engine, without `data`";
                return Err(fault(at, "this is no path of a secret", hint));
            }
        };
        let identity = format!("{}\n{name}\n{}", self.identity, version.unwrap_or_default());
        Ok(Holding { origin, every: self.every, identity })
    }
}

impl KeyVaultTable {
    fn read(&self, world: &World<'_>) -> Result<(Kind, String), SettingsError> {
        let url = address(&self.url)?;
        let (asks, who) = match (&self.authority, &self.managed_identity) {
            (Some(authority), None) => {
                let client = world.authority(authority)?;
                let who = format!("{client:?}");
                (Asks::Client(client), who)
            }
            (None, identity) => {
                let identity = identity.as_ref().map(ManagedIdentityTable::identity).transpose()?;
                let identity = identity.unwrap_or(Identity::Default);
                let who = format!("{identity:?}");
                (Asks::Identity(world.host(), identity), who)
            }
            (Some(authority), Some(_)) => {
                let hint = "keep `authority`, or `managed_identity`";
                return Err(fault(&authority.span(), "two things say who asks the vault", hint));
            }
        };
        let vault = KeyVault::new(&url, self.resource.as_deref(), asks, world.network());
        let identity = format!("azure\n{url}\n{}\n{who}", self.resource.as_deref().unwrap_or_default());
        Ok((Kind::Key(Arc::new(vault)), identity))
    }
}

impl ManagedIdentityTable {
    /// Which one is meant.
    pub(crate) fn identity(&self) -> Result<Identity, SettingsError> {
        let named = [
            self.client.as_ref().map(|id| (id, Identity::ClientId as fn(String) -> Identity)),
            self.object.as_ref().map(|id| (id, Identity::ObjectId as fn(String) -> Identity)),
            self.resource.as_ref().map(|id| (id, Identity::ResourceId as fn(String) -> Identity)),
        ];
        let mut named = named.into_iter().flatten();
        let Some((id, of)) = named.next() else { return Ok(Identity::Default) };
        if let Some((second, _)) = named.next() {
            return Err(fault(&second.span(), "the managed identity is named twice", "keep one of the ids"));
        }
        if id.get_ref().trim().is_empty() {
            return Err(fault(&id.span(), "the id is empty", "leave it out where the host's own identity is meant"));
        }
        Ok(of(id.get_ref().clone()))
    }
}

impl FederatedIdentity {
    pub(crate) fn identity(&self) -> Result<Identity, SettingsError> {
        ManagedIdentityTable { client: self.client_id.clone(), ..ManagedIdentityTable::default() }.identity()
    }
}

impl KvTable {
    fn read(&self, world: &World<'_>) -> Result<(Kind, String), SettingsError> {
        let url = address(&self.url)?;
        let at = self.url.span();
        let namespace = self.namespace.as_ref().map(|name| {
            let value = HeaderValue::try_from(name.get_ref());
            value.map_err(|_| fault(&name.span(), "this is no namespace", "write it as the vault shows it"))
        });
        let login = match (&self.token, &self.kubernetes, &self.approle) {
            (Some(token), None, None) => Login::Token(world.opens(token)?),
            (None, Some(table), None) => Login::Kubernetes {
                mount: mount(&table.mount)?,
                role: table.role.clone(),
                jwt: match &table.token {
                    Some(token) => world.opens(token)?,
                    None => Material::files(["/var/run/secrets/kubernetes.io/serviceaccount/token".into()]),
                },
            },
            (None, None, Some(table)) => Login::AppRole {
                mount: mount(&table.mount)?,
                role_id: world.opens(&table.role_id)?,
                secret_id: world.opens(&table.secret_id)?,
            },
            _ => {
                let hint = "add one of `token`, `kubernetes` and `approle`";
                return Err(fault(&at, "it is not said how the gateway gets into the vault", hint));
            }
        };
        let who = match &login {
            Login::Token(token) => format!("token\n{token}"),
            Login::Kubernetes { mount, role, jwt } => format!("kubernetes\n{mount}\n{role}\n{jwt}"),
            Login::AppRole { mount, role_id, secret_id } => format!("approle\n{mount}\n{role_id}\n{secret_id}"),
        };
        let (mount, namespace) = (mount(&self.mount)?, namespace.transpose()?);
        let identity = format!("hashicorp\n{url}\n{mount}\n{namespace:?}\n{who}");
        let kv = Kv { url, mount, namespace, login, transport: world.network(), logged_in: Mutex::default() };
        Ok((Kind::Kv(Arc::new(kv)), identity))
    }
}

fn mount(text: &Spanned<String>) -> Result<String, SettingsError> {
    let sound =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let name = text.get_ref().trim_matches('/');
    if name.split('/').all(sound) {
        return Ok(name.to_owned());
    }
    Err(fault(&text.span(), "this is no mount of the vault's", "write it as the vault lists it, such as `secret`"))
}

/// Secrets go over TLS, or do not leave this machine.
fn address(text: &Spanned<String>) -> Result<String, SettingsError> {
    let wrong = |problem: &str| fault(&text.span(), problem, "write `https://contoso.vault.azure.net`");
    let uri: Uri = text.get_ref().parse().map_err(|_| wrong("this is no address of a vault"))?;
    let host = uri.host().ok_or_else(|| wrong("the address names no host"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_here(host.trim_matches(['[', ']'])) => {}
        _ => return Err(wrong("a vault is asked over TLS, or on this machine")),
    }
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("the address has a query, or a name"));
    }
    Ok(text.get_ref().trim_end_matches('/').to_owned())
}

pub(super) fn seconds(name: &str, seconds: u64, at: &Range<usize>) -> Result<i64, SettingsError> {
    let sound = i64::try_from(seconds).ok().filter(|seconds| (1..=86_400).contains(seconds));
    sound.ok_or_else(|| fault(at, format!("`{name}_seconds` is out of range"), "write 1 to 86400"))
}

impl World<'_> {
    /// Reads the file's vaults.
    pub(super) fn read_vaults(&mut self, tables: &[Spanned<VaultTable>]) -> Result<(), SettingsError> {
        for table in tables {
            let vault = Vault::read(table, self)?;
            let name = &table.get_ref().name;
            if self.vaults.insert(name.get_ref().clone(), vault).is_some() {
                return Err(twice("a vault", name));
            }
        }
        Ok(())
    }

    pub(super) fn vault(&self, name: &str, at: &Range<usize>) -> Result<&Vault, SettingsError> {
        let named = Spanned::new(at.clone(), name.to_owned());
        self.vaults.get(name).ok_or_else(|| unknown("vault", &named, self.vaults.keys()))
    }
}
