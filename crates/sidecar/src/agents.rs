//! Agent identities (Entra): applications without a credential of their own. Their blueprint, which is the sidecar's own
//! application, vouches for each, and each then asks for itself.
use crate::decode::ProviderId;
use crate::settings::ProviderSettings;
use client::{
    Ask, AssertionSource, Client, Endpoints, Error, GrantProfile, Pending, Random, Sessions, TokenCache, Transport,
    Upstream,
};
use decision::Clock;
use oauth::Secret;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// What an agent's assertion is for.
pub(crate) const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
/// Agents that are remembered.
const AGENTS: usize = 256;

/// The agents of this sidecar's applications.
pub(crate) struct Agents {
    known: Cache<(usize, String), Client>,
    /// Where each provider is.
    providers: Vec<(Endpoints, Option<String>)>,
    ports: Ports,
}

/// What their clients are made with.
pub(crate) struct Ports {
    pub(crate) upstream: Upstream,
    pub(crate) network: Arc<dyn Transport>,
    pub(crate) cache: Arc<TokenCache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) sessions: Sessions,
}

impl Agents {
    pub(crate) fn new(providers: &[ProviderSettings], ports: Ports) -> Self {
        let place = |provider: &ProviderSettings| (provider.endpoints(), provider.discovery.clone());
        Self { known: Cache::new(AGENTS), providers: providers.iter().map(place).collect(), ports }
    }

    /// What asks for this agent's tokens; `blueprint` is what asks for the application's.
    pub(crate) fn of(&self, id: ProviderId, blueprint: &Client, agent: &str) -> Option<Client> {
        let key = (id.0, agent.to_ascii_lowercase());
        if let Some(known) = self.known.get(&key) {
            return Some(known);
        }
        let (endpoints, discovery) = self.providers.get(id.0)?;
        let vouched = Vouched { blueprint: blueprint.clone(), agent: key.1.clone() };
        let Ports { upstream, network, cache, clock, random, sessions } = &self.ports;
        let mut builder = Client::builder(endpoints.clone(), &key.1)
            .profile(GrantProfile::Entra)
            .upstream(*upstream)
            .cache(Arc::clone(cache))
            .cut_off_with(blueprint)
            .long_running(sessions.clone())
            .assertion(Arc::new(vouched));
        if let Some(url) = discovery {
            builder = builder.discover(url);
        }
        let client = builder.build(Arc::clone(network), Arc::clone(clock), Arc::clone(random));
        self.known.insert(key, client.clone());
        Some(client)
    }
}

/// The blueprint's word for an agent.
struct Vouched {
    blueprint: Client,
    agent: String,
}

impl AssertionSource for Vouched {
    fn name(&self) -> String {
        format!("agent:{}", self.agent)
    }

    fn assertion(&self) -> Pending<'_, Result<Secret, Error>> {
        Box::pin(async {
            let answered = self.blueprint.ask(&Ask::application(EXCHANGE).fmi_path(&self.agent)).await?;
            Ok(answered.token.access_token.clone())
        })
    }
}
