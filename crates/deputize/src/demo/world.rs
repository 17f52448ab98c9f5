//! What the demo's parties are called, where they are, and what they know.
use crate::data::Data;
use crate::failure::Failure;
use deputize_core::estate::Item;
use oauth::Secret;
use std::path::{Path, PathBuf};

/// A registered application.
pub(super) struct Registered {
    pub(super) app_id: String,
    /// Empty for those without one.
    pub(super) secret: Secret,
    pub(super) certificate_file: PathBuf,
}

/// A person.
pub(super) struct Person {
    pub(super) upn: String,
    pub(super) oid: String,
    pub(super) password: Secret,
}

/// A managed identity.
#[expect(clippy::struct_field_names, reason = "the words of its contract")]
pub(super) struct Identity {
    pub(super) app_id: String,
    pub(super) object_id: String,
    pub(super) resource_id: String,
}

/// Everything.
pub(super) struct World {
    pub(super) host: String,
    /// The authority's port; the APIs have the next two. None where there are no APIs.
    pub(super) port: Option<u16>,
    pub(super) tenant_id: String,
    /// Where Orders' sidecar is, if it has one.
    pub(super) sidecar: Option<String>,
    /// The other organization's.
    pub(super) fabrikam_id: String,
    pub(super) ca_file: PathBuf,
    pub(super) ca_pem: String,
    pub(super) ada: Person,
    pub(super) bob: Person,
    /// Contoso's administrator.
    pub(super) grace: Person,
    /// Of Fabrikam.
    pub(super) erin: Person,
    /// Fabrikam's administrator.
    pub(super) frank: Person,
    pub(super) orders: Registered,
    pub(super) billing: Registered,
    pub(super) reports: Registered,
    pub(super) gateway: Registered,
    pub(super) web: Registered,
    pub(super) native: Registered,
    pub(super) spa: Registered,
    pub(super) daemon: Registered,
    /// What other organizations use too: an application, its API, and the API behind that.
    pub(super) travel: Registered,
    pub(super) trips: Registered,
    pub(super) fares: Registered,
    /// What runs as the site.
    pub(super) site: Identity,
    /// What is assigned to it.
    pub(super) worker: Identity,
    /// The key and certificate that the host of both speaks with.
    pub(super) host_pem: Secret,
    /// What programs on the host know.
    pub(super) identity_header: Secret,
}

/// Where the browser comes back to.
pub(super) const CALLBACK: &str = "http://localhost:8400/callback";
/// Where Travel's users come back to.
pub(super) const TRAVEL: &str = "http://localhost:8400/travel";
/// The origin of the single-page application.
pub(super) const SPA: &str = "http://localhost:8401";

impl World {
    pub(super) fn new(
        host: &str,
        port: Option<u16>,
        items: &[Item],
        secrets: &Data,
        ca_file: &Path,
        ca_pem: &str,
    ) -> Result<Self, Failure> {
        let lost = |what: &str| Failure::plain(format!("the demo's estate has no {what}"));
        let secret = |file: String| Ok::<_, Failure>(Secret::new(secrets.read(&file)?.unwrap_or_default()));
        let app = |name: &str| {
            let found = items.iter().find_map(|item| match item {
                Item::Application(app) if app.display_name == name => Some(app.app_id.to_string()),
                _ => None,
            });
            let file = name.to_lowercase();
            Ok::<_, Failure>(Registered {
                app_id: found.ok_or_else(|| lost(name))?,
                secret: secret(format!("{file}.secret"))?,
                certificate_file: secrets.path(&format!("{file}.pem")),
            })
        };
        let person = |name: &str| {
            let found = items.iter().find_map(|item| match item {
                Item::User(user) if user.user_principal_name.starts_with(name) => Some(user),
                _ => None,
            });
            let user = found.ok_or_else(|| lost(name))?;
            Ok::<_, Failure>(Person {
                upn: user.user_principal_name.clone(),
                oid: user.id.to_string(),
                password: secret(format!("{name}.password"))?,
            })
        };
        let identity = |name: &str| {
            let found = items.iter().find_map(|item| match item {
                Item::Application(app) if app.display_name == name => {
                    app.managed_identity.clone().map(|it| (app.app_id, it))
                }
                _ => None,
            });
            let (app_id, identity) = found.ok_or_else(|| lost(name))?;
            let object_id = items.iter().find_map(|item| match item {
                Item::ServicePrincipal(principal) if principal.app_id == app_id => Some(principal.id.to_string()),
                _ => None,
            });
            Ok::<_, Failure>(Identity {
                app_id: app_id.to_string(),
                object_id: object_id.ok_or_else(|| lost(name))?,
                resource_id: identity.resource_id,
            })
        };
        let tenant = |domain: &str| {
            let found = items.iter().find_map(|item| match item {
                Item::Tenant(tenant) if tenant.domains.iter().any(|known| known == domain) => Some(tenant.id),
                _ => None,
            });
            found.map(|id| id.to_string()).ok_or_else(|| lost(domain))
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            tenant_id: tenant("contoso.example")?,
            sidecar: None,
            fabrikam_id: tenant("fabrikam.example")?,
            ca_file: ca_file.to_owned(),
            ca_pem: ca_pem.to_owned(),
            ada: person("ada")?,
            bob: person("bob")?,
            grace: person("grace")?,
            erin: person("erin")?,
            frank: person("frank")?,
            orders: app("Orders")?,
            billing: app("Billing")?,
            reports: app("Reports")?,
            gateway: app("Gateway")?,
            web: app("Web")?,
            native: app("Native")?,
            spa: app("Spa")?,
            daemon: app("Daemon")?,
            travel: app("Travel")?,
            trips: app("Trips")?,
            fares: app("Fares")?,
            site: identity("orders-site")?,
            worker: identity("worker")?,
            host_pem: secret("host.pem".to_owned())?,
            identity_header: secret("identity-header.secret".to_owned())?,
        })
    }

    pub(super) fn authority(&self) -> String {
        format!("{}/{}", self.host, self.tenant_id)
    }

    pub(super) fn orders_url(&self) -> String {
        self.api(1)
    }

    pub(super) fn billing_url(&self) -> String {
        self.api(2)
    }

    /// Of the gateway, where there is one.
    pub(super) fn gateway_url(&self) -> String {
        self.api(3)
    }

    fn api(&self, place: u16) -> String {
        self.port.map(|port| format!("https://localhost:{}", port + place)).unwrap_or_default()
    }

    /// An id in words, where it is one of ours.
    pub(super) fn called(&self, id: &str) -> Option<&'static str> {
        self.names().into_iter().find(|(known, _)| *known == id).map(|(_, name)| name)
    }

    /// A text with our ids in words.
    pub(super) fn in_words(&self, text: &str) -> String {
        self.names().into_iter().fold(text.to_owned(), |text, (id, name)| {
            text.replace(&format!("{name} (`{id}`)"), name).replace(&format!("`{id}`"), name).replace(id, name)
        })
    }

    fn names(&self) -> [(&str, &'static str); 13] {
        [
            (&self.gateway.app_id, "Gateway"),
            (&self.travel.app_id, "Travel"),
            (&self.trips.app_id, "Trips"),
            (&self.fares.app_id, "Fares"),
            (&self.erin.oid, "Erin"),
            (&self.tenant_id, "Contoso"),
            (&self.fabrikam_id, "Fabrikam"),
            (&self.orders.app_id, "Orders"),
            (&self.billing.app_id, "Billing"),
            (&self.web.app_id, "Web"),
            (&self.daemon.app_id, "Daemon"),
            (&self.ada.oid, "Ada"),
            (&self.bob.oid, "Bob"),
        ]
    }
}
