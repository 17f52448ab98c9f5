//! Who may manage the gateway, and where.
use super::file::File;
use super::world::World;
use super::{SettingsError, Spanned, fault};
use crate::management;
use decision::contract::{Contract, Disclosure, Route, Subject};
use guard::Guard;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// The management API: products, subscriptions, keys and usage, in a database. A change of `listen`, `database` or `key` counts from the
/// next start on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "management")]
pub struct ManagementTable {
    /// Where it is answered, with the certificates of the listener, such as `localhost:8444`. Without certificates, on loopback only.
    pub listen: Spanned<String>,
    /// The file of the database. It is made if it is not there.
    pub database: Spanned<PathBuf>,
    /// The file with the key that digests of subscription keys are made with; by default the database's path with `.key` after it. It is
    /// made together with the database. Keep it apart from copies of the database.
    pub key: Option<Spanned<PathBuf>>,
    /// Whose tokens are taken, by the names of issuers in this file.
    pub(crate) issuers: Vec<Spanned<String>>,
    /// Which `aud` they have.
    pub(crate) audiences: Vec<String>,
    /// The scope, and the app role, of who may read and change.
    #[serde(default = "manage")]
    pub(crate) manage: String,
    /// The scope, and the app role, of who may read.
    #[serde(default = "read")]
    pub(crate) read: String,
    /// Whether users need the scope alone: then whoever signs in to an application that has it manages the gateway. By default they need
    /// the app role of the same name too.
    #[serde(default)]
    pub(crate) any_user: bool,
}

fn manage() -> String {
    "Gateway.Manage".to_owned()
}

fn read() -> String {
    "Gateway.Read".to_owned()
}

impl ManagementTable {
    /// Where the database is and where its key is, below the folder of the file.
    pub fn files(&self, beside: &std::path::Path) -> (PathBuf, PathBuf) {
        let database = beside.join(self.database.get_ref());
        let beside_it = || {
            let mut name = database.clone().into_os_string();
            name.push(".key");
            name.into()
        };
        let key = self.key.as_ref().map_or_else(beside_it, |key| beside.join(key.get_ref()));
        (database, key)
    }
}

/// What judges who calls the management API.
pub(super) fn guard(file: &File, world: &mut World<'_>) -> Result<Option<Guard>, SettingsError> {
    let Some(table) = &file.management else { return Ok(None) };
    let (at, read) = (table.span(), table.get_ref());
    if read.issuers.is_empty() || read.audiences.is_empty() {
        let hint = "name an issuer of the file in `issuers`, and the gateway's own `audiences` there";
        return Err(fault(&at, "nobody could be told from a stranger", hint));
    }
    let names = [&read.manage, &read.read];
    if names.iter().any(|name| name.is_empty() || name.contains(char::is_whitespace)) || read.manage == read.read {
        let hint = "write two names without spaces, such as `Gateway.Manage` and `Gateway.Read`";
        return Err(fault(&at, "`manage` and `read` are not two names of scopes", hint));
    }
    let mut issuers = Vec::new();
    for name in &read.issuers {
        issuers.push(world.issuer(name)?);
    }
    let contract = Contract {
        name: Some("the gateway's management API".to_owned()),
        audiences: read.audiences.clone(),
        issuers,
        clients: None,
        routes: management::ENDPOINTS.iter().map(|endpoint| route(read, endpoint)).collect(),
        skew: 60,
        max_token_bytes: 16 << 10,
        max_lifetime: None,
        fail_static: 60,
        authorized_by_list: false,
        disclosure: Disclosure::Caller,
        authorization_uri: None,
    };
    world.guard(contract, None, &at).map(Some)
}

fn route(table: &ManagementTable, endpoint: &management::Endpoint) -> Route {
    // Who lacks both is told to get the first.
    let names = match endpoint.right {
        management::Right::Read => vec![table.read.clone(), table.manage.clone()],
        management::Right::Manage => vec![table.manage.clone()],
    };
    Route {
        method: endpoint.method.to_owned(),
        path: format!("{}{}", management::ROOT, endpoint.path),
        scopes: names.clone(),
        roles: if table.any_user { Vec::new() } else { names.clone() },
        app_roles: names,
        subject: Some(Subject::Either),
        ..Route::default()
    }
}
