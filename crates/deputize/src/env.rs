//! `deputize env APP`: the variables that NAIS and Azure put into an application's environment, for one that is registered here.
mod credentials;
mod form;

use crate::authority::{DATA, checked_host, runtime};
use crate::data::Data;
use crate::estate::plan;
use crate::failure::Failure;
use crate::file::Text;
use crate::instance::open_store;
use crate::keys::MasterKey;
use crate::output::say;
use crate::system::StoreClock;
use credentials::Credentials;
use decision::Clock;
use deputize_core::cloud;
use deputize_core::estate::Item;
use deputize_core::model::Application;
use form::Form;
pub(crate) use form::exported;
use jose::{Algorithm, SigningKey};
use oauth::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Options of `deputize env`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The application: its name, its client id, or one of its application ID URIs
    #[arg(value_name = "APP")]
    app: String,
    /// The folder of the authority's store
    #[arg(long, value_name = "FOLDER", default_value = DATA)]
    data: PathBuf,
    /// The address of the authority, as clients use it
    #[arg(long, value_name = "URL", default_value = "https://localhost:8443")]
    host: String,
    /// The master key's file, if it is not in the data folder
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// Instead of a store: the file that `deputize demo --env` wrote, with the secrets that the demo made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "host", "master_key", "new_secret"])]
    demo: Option<PathBuf>,
    /// Registers a new secret and a new key beside those that are there, and prints them: they are shown only now
    #[arg(long)]
    new_secret: bool,
    /// Where the application's sidecar listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    sidecar: String,
    #[command(flatten)]
    form: form::Wanted,
}

/// What one application is told. Public facts, and credentials where they are known.
struct Told {
    name: String,
    client_id: String,
    tenant: String,
    host: String,
    credentials: Credentials,
    /// The variables of its sidecar.
    sidecar: Vec<(String, String)>,
}

/// `deputize env`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    crate::log::start("warn")?;
    let told = match &options.demo {
        Some(file) => of_demo(file, &options)?,
        None => of_store(&options)?,
    };
    let form = options.form.form();
    say(form.of(&told.name, &told.variables()));
    if form == Form::Shell && told.credentials.are_unknown() {
        say("# no credentials: secrets are stored as digests; `--new-secret` registers new ones");
    }
    Ok(ExitCode::SUCCESS)
}

impl Told {
    /// In the order in which they are printed.
    fn variables(&self) -> Vec<(String, Secret)> {
        let Self { client_id, tenant, host, credentials, .. } = self;
        let authority = format!("{host}/{tenant}");
        let mut all = Vec::new();
        let mut put = |name: &str, value: String| all.push((name.to_owned(), Secret::new(value)));
        put("AZURE_ENABLED", "true".to_owned());
        put("AZURE_APP_CLIENT_ID", client_id.clone());
        put("AZURE_APP_TENANT_ID", tenant.clone());
        put("AZURE_APP_WELL_KNOWN_URL", format!("{authority}/v2.0/.well-known/openid-configuration"));
        put("AZURE_OPENID_CONFIG_ISSUER", format!("{authority}/v2.0"));
        put("AZURE_OPENID_CONFIG_TOKEN_ENDPOINT", format!("{authority}/oauth2/v2.0/token"));
        put("AZURE_OPENID_CONFIG_JWKS_URI", format!("{authority}/discovery/v2.0/keys"));
        put("AZURE_CLIENT_ID", client_id.clone());
        put("AZURE_TENANT_ID", tenant.clone());
        put("AZURE_AUTHORITY_HOST", host.clone());
        for (name, value) in &self.sidecar {
            put(name, value.clone());
        }
        all.extend(credentials.variables());
        all
    }
}

fn sidecar_at(address: &str) -> Result<Vec<(String, String)>, Failure> {
    let port = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let named = |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.[]:".contains(c));
    if !port.is_some_and(|(host, _)| named(host)) {
        return Err(Failure::new("`--sidecar` is no address with a port", "write it like `127.0.0.1:3000`"));
    }
    let variables = crate::beside::variables(address);
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// From the store, and into it where something new is wanted.
fn of_store(options: &Options) -> Result<Told, Failure> {
    let host = if cloud::of(&options.host).is_some() {
        // As `deputize run` answers.
        options.host.clone()
    } else {
        checked_host(&options.host).map_err(|hint| Failure::new("`--host` is no address", hint))?
    };
    let sidecar = sidecar_at(&options.sidecar)?;
    if !options.data.join("store.db").exists() {
        let error = format!("`{}` holds no store", options.data.display());
        return Err(Failure::new(
            error,
            "say with `--data` which folder the authority has, or with `--demo` which file",
        ));
    }
    let data = Data::open(&options.data)?;
    let master = MasterKey::load(&data, options.master_key.as_deref())?;
    let store = open_store(&data, &master)?;
    let held = plan::held(&store)?;
    let app = found(&held, &options.app)?;
    let credentials = if options.new_secret {
        let now = StoreClock(Arc::clone(&store)).now();
        runtime()?.block_on(credentials::register(&store, &master, app, now))?
    } else {
        Credentials::default()
    };
    Ok(Told {
        name: app.display_name.clone(),
        client_id: app.app_id.to_string(),
        tenant: app.home_tenant.to_string(),
        host,
        credentials,
        sidecar,
    })
}

/// The one application that is called so. Ids and URIs come before names.
fn found<'a>(held: &'a [Item], called: &str) -> Result<&'a Application, Failure> {
    let apps: Vec<&Application> = held
        .iter()
        .filter_map(|item| match item {
            Item::Application(app) => Some(app),
            _ => None,
        })
        .collect();
    let exact = |app: &&&Application| {
        app.app_id.to_string().eq_ignore_ascii_case(called)
            || app.identifier_uris.iter().any(|uri| uri.eq_ignore_ascii_case(called))
    };
    if let Some(app) = apps.iter().find(exact) {
        return Ok(app);
    }
    let mut named = apps.iter().filter(|app| app.display_name.eq_ignore_ascii_case(called));
    match (named.next(), named.next()) {
        (Some(app), None) => Ok(app),
        (Some(_), Some(_)) => {
            let error = format!("several applications are called `{called}`");
            Err(Failure::new(error, "say the client id of the one that is meant"))
        }
        (None, _) => {
            let mut names: Vec<&str> = apps.iter().map(|app| app.display_name.as_str()).collect();
            names.sort_unstable();
            names.truncate(20);
            let hint = if names.is_empty() {
                "there are none yet".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            Err(Failure::new(format!("no application is called `{called}`"), hint))
        }
    }
}

/// From what a demo wrote for programs that join in.
fn of_demo(file: &Path, options: &Options) -> Result<Told, Failure> {
    let read: Value = serde_json::from_str(&Text::read(file)?.content).unwrap_or_default();
    let lost = || {
        let error = format!("`{}` is not what `deputize demo --env` writes", file.display());
        Failure::new(error, "give the file of a running demo")
    };
    let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let groups = ["/apis", "/clients", "/many_tenants"];
    let apps = groups.iter().filter_map(|group| read.pointer(group)?.as_object()).flatten();
    let apps: Vec<(&String, &Value)> = apps.filter(|(_, app)| text(app, "/app_id").is_some()).collect();
    let known = apps.iter().find(|(name, app)| {
        let is = |pointer: &str| text(app, pointer).is_some_and(|own| own.eq_ignore_ascii_case(&options.app));
        name.eq_ignore_ascii_case(&options.app) || is("/app_id") || is("/identifier_uri")
    });
    let Some((name, app)) = known else {
        let names: Vec<&str> = apps.iter().map(|(name, _)| name.as_str()).collect();
        let hint = if names.is_empty() {
            "give the file of a running demo".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err(Failure::new(format!("no application of the demo is called `{}`", options.app), hint));
    };
    let secret = text(app, "/client_secret").filter(|secret| !secret.is_empty()).map(Secret::new);
    let key = match text(app, "/certificate_file").filter(|file| Path::new(file).exists()) {
        Some(file) => Some(private_key(&Text::read(Path::new(&file))?.content)?),
        None => None,
    };
    let ran = read.pointer("/sidecar").and_then(Value::as_object).filter(|_| name.as_str() == "orders");
    Ok(Told {
        name: (*name).clone(),
        client_id: text(app, "/app_id").ok_or_else(lost)?,
        tenant: text(&read, "/tenant/id").ok_or_else(lost)?,
        host: text(&read, "/authority_host").ok_or_else(lost)?,
        credentials: Credentials::new(secret, key.as_ref())?,
        sidecar: match ran {
            Some(ran) => ran.iter().filter_map(|(name, at)| Some((name.clone(), at.as_str()?.to_owned()))).collect(),
            None => sidecar_at(&options.sidecar)?,
        },
    })
}

/// A private key and its certificate, in PEM: the key is named by the certificate, as platforms name those that they hand over.
pub(crate) fn private_key(pem: &str) -> Result<SigningKey, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::plain(format!("the key cannot be used: {error}"));
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(&error))?;
    let key = SigningKey::from_pem(Algorithm::RS256, pem).map_err(|error| unusable(&error))?;
    key.with_certificate(certificate.to_vec()).map_err(|error| unusable(&error))
}
