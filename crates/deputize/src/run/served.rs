//! The estate that a run serves: somebody's own, or the demo's.
use super::environment::Environment;
use super::machine::Machine;
use crate::data::Data;
use crate::demo;
use crate::estate::plan;
use crate::failure::Failure;
use crate::file::Text;
use crate::instance::{Instance, open_store};
use crate::keys::MasterKey;
use crate::output::printable;
use deputize_core::estate::Item;
use std::io::Write;
use std::path::Path;

/// An authority over an estate.
pub(super) struct Served {
    instance: Instance,
    items: Vec<Item>,
    /// Secrets that were made, for whom, and what they are.
    made: Vec<(String, String)>,
    is_demo: bool,
    host: String,
}

impl Served {
    /// Applies the estate to the data folder and opens an authority over it.
    pub(super) async fn open(data: &Data, estate: Option<&Path>, host: &str) -> Result<Self, Failure> {
        let (text, base) = if let Some(file) = estate {
            (Text::read(file)?, file.parent().unwrap_or(Path::new("")).to_owned())
        } else {
            let secrets = data.folder(DEMO)?;
            (demo::estate(&secrets).await?, secrets.path(""))
        };
        let master = MasterKey::load(data, None)?;
        let store = open_store(data, &master)?;
        tokio::spawn(store.watch());
        let instance = Instance::open(store, &master, host, ::authority::Federation::default()).await?;
        let held = plan::held(&instance.store)?;
        let now = instance.clock.now();
        let plan = plan::plan(&text, &base, &held, &master, now, false)?;
        if !plan.difference.steps.is_empty() {
            plan.apply(&instance.store, now).await?;
        }
        let made = plan.secrets.iter().map(|new| (new.application.clone(), new.secret.expose().to_owned())).collect();
        Ok(Self { instance, items: plan.items, made, is_demo: estate.is_none(), host: host.to_owned() })
    }

    /// Its endpoints.
    pub(super) fn router(&self) -> axum::Router {
        self.instance.authority.router()
    }

    /// The machine that has the estate's managed identities, once the authority is served.
    pub(super) async fn machine(&self, ca_pem: &str) -> Result<Machine, Failure> {
        Machine::new(&self.items, &self.host, ca_pem, &self.instance.store, &self.instance.clock).await
    }

    /// Where a program finds the demo's ids and secrets.
    pub(super) fn variables(&self, data: &Data, ca_file: &Path, ca_pem: &str) -> Result<Environment, Failure> {
        if !self.is_demo {
            return Ok(Environment::new());
        }
        let secrets = data.folder(DEMO)?;
        let known = demo::environment(&self.host, &self.items, &secrets, ca_file, ca_pem)?;
        let file = secrets.path("env.json");
        crate::data::replace(&file, &known)?;
        Ok(Environment::from([("DEPUTIZE_DEMO_ENV".to_owned(), file.display().to_string())]))
    }

    /// Says on standard error what is served: standard output is the command's.
    pub(super) fn announce(&self, cloud: &str) {
        let mut out = std::io::stderr().lock();
        let mut say = |line: String| drop(writeln!(out, "{}", printable(&line)));
        say(format!(
            "deputize run: {cloud} is answered by a local authority, inside this command only; it is not Microsoft's"
        ));
        for item in &self.items {
            match item {
                Item::Tenant(tenant) => {
                    say(format!("  tenant  {}  {}  {}", tenant.id, tenant.display_name, tenant.domains.join(", ")));
                }
                Item::Application(app) if app.managed_identity.is_some() => {
                    say(format!("  managed identity  {}  {}", app.app_id, app.display_name));
                }
                Item::Application(app) => {
                    say(format!("  app     {}  {}  {}", app.app_id, app.display_name, app.identifier_uris.join(", ")));
                }
                Item::User(user) => say(format!("  user    {}  {}", user.id, user.user_principal_name)),
                _ => {}
            }
        }
        for (application, secret) in &self.made {
            say(format!("  secret of {application}, shown only now: {secret}"));
        }
        if self.is_demo {
            say("  secrets and passwords, in clear: the file that DEPUTIZE_DEMO_ENV names".to_owned());
        }
    }
}

/// The demo's folder in a data folder.
const DEMO: &str = "demo";
