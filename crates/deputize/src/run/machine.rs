//! The machine that the command runs on, as far as it can tell: it has the estate's managed identities, and a metadata service
//! that gives tokens for them.
//!
//! The machine proves itself with a key of this run. That is added to the identities in the store, and again when somebody
//! applies an estate meanwhile: the estate does not know it.
use super::environment::Environment;
use crate::demo::certificate;
use crate::estate::plan;
use crate::failure::Failure;
use crate::managed_identity::{APP_SERVICE, router};
use crate::system;
use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use client::managed_identity::{
    AppService, Hosted, HostedIdentities, Identity, Imds, ManagedToken, SourceError, TokenSource,
};
use client::{Allow, Client, Endpoints, Fetch, Pending};
use decision::{Clock, Timestamp};
use deputize_core::estate::Item;
use deputize_core::id::ObjectId;
use deputize_core::model::{Application, KeyCredential};
use deputize_core::workload::ManagedIdentityKind;
use jose::{Algorithm, SigningKey};
use oauth::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use store::Store;

/// How long the run's key may serve.
const LIFE: i64 = 90 * 86_400;

/// The metadata service of one run.
pub(super) struct Machine {
    source: Arc<Lent>,
    header: Secret,
}

impl Machine {
    /// A machine with all managed identities of these items. It asks the authority at `host` as any client would.
    pub(super) async fn new(
        items: &[Item],
        host: &str,
        ca_pem: &str,
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let header = Secret::new(URL_SAFE_NO_PAD.encode(system::unpredictable::<24>()));
        let all: Vec<&Application> = items.iter().filter_map(managed).collect();
        if all.is_empty() {
            let source = Lent {
                identities: HostedIdentities::default(),
                key: None,
                store: Arc::clone(store),
                clock: Arc::clone(clock),
            };
            return Ok(Self { source: Arc::new(source), header });
        }
        let unusable =
            |error: &dyn std::fmt::Display| Failure::plain(format!("no machine can be stood in for: {error}"));
        let pem = tokio::task::spawn_blocking(|| certificate("machine")).await.map_err(|error| unusable(&error))??;
        let fetch = Fetch::builder().ca_pem(ca_pem.as_bytes()).map_err(|error| unusable(&error))?;
        let fetch = Arc::new(fetch.allow(Allow::INSIDE).build().map_err(|error| unusable(&error))?);
        let (mut system, mut assigned) = (None, Vec::new());
        for app in all {
            let Some(identity) = &app.managed_identity else { continue };
            let key = SigningKey::from_pem(Algorithm::PS256, &pem).map_err(|error| unusable(&error))?;
            let client =
                Client::builder(Endpoints::entra(&format!("{host}/{}", app.home_tenant)), app.app_id.to_string())
                    .certificate(key, &pem)
                    .map_err(|error| unusable(&error))?
                    .build(fetch.clone(), Arc::clone(clock), Arc::new(system::random));
            let hosted = Hosted { client, object_id: principal(items, app), resource_id: identity.resource_id.clone() };
            // A machine has one identity of its own at most.
            if identity.kind == ManagedIdentityKind::SystemAssigned && system.is_none() {
                system = Some(hosted);
            } else {
                assigned.push(hosted);
            }
        }
        let identities = assigned.into_iter().fold(HostedIdentities::new(system), HostedIdentities::assign);
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(&error))?;
        let source =
            Lent { identities, key: Some(STANDARD.encode(der)), store: Arc::clone(store), clock: Arc::clone(clock) };
        source.lend().await.map_err(|error| unusable(&error))?;
        Ok(Self { source: Arc::new(source), header })
    }

    /// Both contracts, for requests that name these hosts.
    pub(super) fn router(&self, hosts: &[String]) -> Router {
        let source: Arc<dyn TokenSource> = Arc::<Lent>::clone(&self.source);
        let site = AppService::new(Arc::clone(&source), self.header.clone(), hosts.iter().cloned());
        router(site, Imds::new(source, hosts.iter().cloned()))
    }

    /// What makes libraries ask as they do on App Service.
    pub(super) fn app_service(&self, address: &str) -> Environment {
        let header = ("IDENTITY_HEADER".to_owned(), self.header.expose().to_owned());
        Environment::from([("IDENTITY_ENDPOINT".to_owned(), format!("{address}{APP_SERVICE}")), header])
    }
}

/// Identities that the machine may speak for as long as they have its key.
struct Lent {
    identities: HostedIdentities,
    /// The certificate, in base64.
    key: Option<String>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl TokenSource for Lent {
    fn token<'a>(
        &'a self,
        identity: &'a Identity,
        resource: &'a str,
    ) -> Pending<'a, Result<ManagedToken, SourceError>> {
        Box::pin(async move {
            match self.identities.token(identity, resource).await {
                // An estate that was applied meanwhile took the key away.
                Err(SourceError::Refused(_)) if self.lend().await? => self.identities.token(identity, resource).await,
                told => told,
            }
        })
    }
}

impl Lent {
    /// Adds the key to the identities that do not have it, and says whether there were any.
    async fn lend(&self) -> Result<bool, SourceError> {
        let unavailable = |_: Failure| SourceError::Unavailable("the store does not answer".to_owned());
        let Some(key) = &self.key else { return Ok(false) };
        let now = self.clock.now();
        let held = plan::held(&self.store).map_err(unavailable)?;
        let without =
            held.iter().filter_map(managed).filter(|app| app.key_credentials.iter().all(|known| known.key != *key));
        let lent: Vec<Item> = without
            .cloned()
            .map(|mut app| {
                app.key_credentials.push(credential(key, now));
                Item::Application(app)
            })
            .collect();
        if lent.is_empty() {
            return Ok(false);
        }
        plan::put(&self.store, lent, now, "lend the machine's key").await.map_err(unavailable)?;
        Ok(true)
    }
}

fn credential(key: &str, now: Timestamp) -> KeyCredential {
    KeyCredential {
        key_id: ObjectId(system::random_id()),
        display_name: "deputize run".to_owned(),
        key: key.to_owned(),
        start_date_time: now.plus(-3_600),
        end_date_time: now.plus(LIFE),
    }
}

fn managed(item: &Item) -> Option<&Application> {
    match item {
        Item::Application(app) if app.managed_identity.is_some() => Some(app),
        _ => None,
    }
}

fn principal(items: &[Item], app: &Application) -> String {
    let found = items.iter().find_map(|item| match item {
        Item::ServicePrincipal(principal) if principal.app_id == app.app_id => Some(principal.id.to_string()),
        _ => None,
    });
    found.unwrap_or_default()
}
