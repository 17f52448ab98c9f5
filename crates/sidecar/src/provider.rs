//! Providers as a running sidecar has them: an immutable table, each with its keys and its client, both got when first needed.
use crate::cut_offs::CutOffs;
use crate::decode::{Names, ProviderId};
use crate::settings::{ExchangeGrant, Grants, ProviderSettings};
use decision::Timestamp;
use fetch::{IssuerKeys, KeySource, Lifetimes, Location};
use jose::Algorithm;
use std::sync::Arc;

/// Seconds after which keys may have changed again, once they did.
const AFTER_CHANGE: i64 = 5;

/// One identity provider.
pub struct Provider {
    settings: ProviderSettings,
    keys: Arc<IssuerKeys>,
    client: Option<client::Client>,
    cut_offs: Option<Arc<CutOffs>>,
}

impl Provider {
    /// Its name in requests and answers.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it serves.
    pub fn is_enabled(&self) -> bool {
        self.settings.enabled
    }

    /// What tokens it gives.
    pub fn grants(&self) -> Grants {
        self.settings.grants
    }

    /// Whether it is asked as Entra is, whose targets have two spellings.
    pub(crate) fn is_entra(&self) -> bool {
        self.settings.grants.exchange == Some(ExchangeGrant::OnBehalfOf)
    }

    /// What gets its tokens; `None` for one that only introspects, and for one that is not enabled.
    pub fn client(&self) -> Option<&client::Client> {
        self.client.as_ref()
    }

    /// Its cut-offs, where it tells of them.
    pub(crate) fn cut_offs(&self) -> Option<&Arc<CutOffs>> {
        self.cut_offs.as_ref()
    }

    /// Its keys.
    pub fn keys(&self) -> &Arc<IssuerKeys> {
        &self.keys
    }

    /// What keeps it from serving: without keys no token is active, without an endpoint none is got.
    pub(crate) fn fault(&self, now: Timestamp) -> Option<String> {
        if self.keys.current(now).is_none() {
            let fault = self.keys.status().fault.map(|fault| fault.to_string());
            return Some(fault.unwrap_or_else(|| "its keys are not fetched yet".to_owned()));
        }
        let unknown = self.client.as_ref().is_some_and(|client| client.endpoints().token.is_empty());
        unknown.then(|| "its token endpoint is not learnt yet".to_owned())
    }

    /// Fetches what is not known yet, once.
    pub(crate) async fn load(&self, now: Timestamp) {
        if self.keys.current(now).is_none() {
            self.keys.refresh(now).await;
        }
        if let Some(client) = &self.client {
            // What went wrong is logged where it did.
            let _ = client.learn().await;
        }
    }

    /// Its issuer, where it is stated; else its metadata says it.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.settings.issuer.as_deref()
    }

    /// Whether this is its issuer, as stated or as its metadata has it.
    pub(crate) fn is_issuer(&self, issuer: &str) -> bool {
        match self.issuer() {
            Some(stated) => stated == issuer,
            None => self.keys.loaded().is_some_and(|keys| keys.metadata.as_ref().is_some_and(|m| m.issuer == issuer)),
        }
    }

    /// Its issuer, as stated or as the address of its metadata has it.
    pub(crate) fn known_issuer(&self) -> Option<String> {
        self.settings.known_issuer()
    }

    /// Its metadata document, where nothing is stated.
    pub(crate) fn discovery(&self) -> Option<&str> {
        self.settings.discovery.as_deref()
    }

    /// The tenant that it is asked for: what Entra's addresses have behind the host.
    pub(crate) fn tenant(&self) -> Option<&str> {
        let address = self.settings.issuer.as_deref().or(self.settings.discovery.as_deref())?;
        address.split('/').nth(3).filter(|tenant| !tenant.is_empty())
    }

    /// This application there.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.settings.client_id.as_deref()
    }

    pub(crate) fn tenants(&self) -> &[String] {
        &self.settings.tenants
    }

    pub(crate) fn audience(&self) -> Option<&str> {
        self.settings.audience.as_deref()
    }

    fn new(
        settings: ProviderSettings,
        client: Option<client::Client>,
        cut_offs: Option<Arc<CutOffs>>,
        transport: Arc<dyn fetch::Transport>,
        key_seconds: Option<i64>,
    ) -> Self {
        // Texas keeps keys for an hour, and so can this (`DEPUTIZE_KEY_SET_SECONDS=3600`). Unless it is told, a key that its issuer
        // withdrew is refused within a minute, as at all that judges tokens here: not every issuer tells of it, and an unknown name
        // is asked about at once either way.
        let usual = Lifetimes::default();
        let lifetimes = Lifetimes { after_change: AFTER_CHANGE, soft: key_seconds.unwrap_or(usual.soft), ..usual };
        let location = match (&settings.jwks_uri, &settings.discovery) {
            // What is stated wins, once there is an issuer to compare with.
            (Some(url), discovery) if settings.issuer.is_some() || discovery.is_none() => Location::Jwks(url.clone()),
            (_, Some(url)) => Location::Announced(url.clone()),
            _ => Location::Jwks(String::new()),
        };
        let source = KeySource {
            issuer: settings.issuer.clone().unwrap_or_else(|| settings.name.clone()),
            location,
            default_algorithm: Some(Algorithm::RS256),
            foreign_keys_host: true,
        };
        Self { keys: IssuerKeys::fetched(source, transport, lifetimes), client, cut_offs, settings }
    }
}

/// Every provider. Shared by reference; nothing in it changes but what is fetched.
pub struct Providers {
    all: Vec<Provider>,
    names: Names,
}

impl Providers {
    /// The table; `clients` get the providers' tokens, each in the place of its provider, as `cut_offs` are.
    pub(crate) fn new(
        settings: Vec<ProviderSettings>,
        clients: Vec<Option<client::Client>>,
        cut_offs: Vec<Option<Arc<CutOffs>>>,
        transport: &Arc<dyn fetch::Transport>,
        key_seconds: Option<i64>,
    ) -> Self {
        let mut known: Vec<(String, ProviderId)> =
            settings.iter().enumerate().map(|(place, provider)| (provider.name.clone(), ProviderId(place))).collect();
        // The name that Texas once had for it, and that clients still send.
        if let Some((_, entra)) = known.iter().find(|(name, _)| name == "entra_id") {
            known.insert(0, ("azuread".to_owned(), *entra));
        }
        let listed = known
            .iter()
            .filter(|(name, id)| name != "ansattporten" || settings.get(id.0).is_some_and(|provider| provider.enabled));
        let listed: Vec<String> = listed.map(|(name, _)| name.clone()).collect();
        let names = Names::new(known, listed.iter().map(String::as_str));
        let parts = settings.into_iter().zip(clients).zip(cut_offs);
        let all = parts.map(|((settings, client), cut_offs)| {
            Provider::new(settings, client, cut_offs, Arc::clone(transport), key_seconds)
        });
        Self { all: all.collect(), names }
    }

    /// With the keys that others know already, of providers that are in the same place.
    pub(crate) fn with_keys_of(mut self, before: &Self) -> Self {
        let place = |provider: &Provider| {
            let told = &provider.settings;
            (told.enabled, told.issuer.clone(), told.discovery.clone(), told.jwks_uri.clone())
        };
        for provider in &mut self.all {
            if let Some(known) = before.named(provider.name()).filter(|known| place(known) == place(provider)) {
                provider.keys = Arc::clone(&known.keys);
            }
        }
        self
    }

    /// Every provider, those that are not enabled too.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.all.iter()
    }

    /// By its name.
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.name() == name)
    }

    /// Its place in the table.
    pub(crate) fn place(&self, name: &str) -> Option<ProviderId> {
        self.all.iter().position(|provider| provider.name() == name).map(ProviderId)
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn at(&self, id: ProviderId) -> Option<&Provider> {
        self.all.get(id.0)
    }
}
