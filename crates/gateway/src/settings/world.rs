//! What the parts of a file refer to by name, and what they leave for all of it to know.
mod parties;
mod sources;

use super::doors::told_in;
use super::file::AuthorityTable;
use super::outbound::{Origin, Outbound};
use super::vaults::Vault;
use super::{File, Lasting, SettingsError, Spanned, fault};
use crate::canonical::identity::is_alias;
use crate::cut_offs::{AllHeard, Heard, Source as Told};
use crate::gateway::Ports;
use crate::limits::{Limits, Shared};
use crate::rotating::Rotates;
use crate::routes::Routes;
use crate::secrets::Fetched;
use crate::sign_in::SignIn;
use crate::telemetry::Telemetry;
use crate::told_certificate::CertificateField;
use client::managed_identity::ManagedIdentity;
use client::{Client, Transport};
use decision::contract::{Contract, ContractError, TENANT_TEMPLATE, Tenants, TrustedIssuer};
use fetch::IssuerKeys;
use guard::Guard;
use http::HeaderName;
use jose::KeySet;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How many bytes of verified tokens each guard keeps.
const VERIFIED_BYTES: u64 = 8 << 20;

/// An environment variable, by its name.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is fetched, by all that says what it is.
pub(crate) type AllFetched = BTreeMap<String, Arc<Fetched>>;

/// What a policy looks at in a call, which another policy has to find first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A claim of a verified token.
    Claim,
    /// The subscription whose key was shown.
    Subscription,
}

/// Everything that policies are made of.
pub(crate) struct World<'a> {
    variable: Variables<'a>,
    beside: &'a Path,
    ports: &'a Ports,
    limits: &'a Arc<Limits>,
    /// The scope whose policies are read.
    pub(super) place: String,
    issuers: HashMap<String, (TrustedIssuer, Option<KeySet>)>,
    authorities: HashMap<String, Client>,
    /// Those whose metadata is known.
    with_metadata: HashSet<String>,
    pub(super) sign_in: Option<Arc<SignIn>>,
    pub(super) vaults: HashMap<String, Vault>,
    /// What the configuration of before leaves.
    pub(super) before: &'a Lasting,
    pub(super) shared_limits: Option<Arc<Shared>>,
    pub(super) fetched: RefCell<AllFetched>,
    guards: HashMap<String, Guard>,
    /// What authorities tell of cut-offs, as the file says it: where, and all that is said of the authority.
    tellers: HashMap<String, (Option<String>, String)>,
    pub(super) heard: AllHeard,
    pub(super) injected: Vec<HeaderName>,
    pub(super) secrets: Vec<String>,
    pub(super) rotating: Vec<Arc<dyn Rotates>>,
    /// Where policies may send requests of their own.
    outbound: Option<Outbound>,
    /// What is sound, and yet laxer than usual.
    pub(super) remarks: Vec<String>,
    /// Whether the listener asks callers for certificates.
    certificates: bool,
    /// Where proxies tell of callers' certificates.
    pub(super) told_in: Vec<CertificateField>,
    /// What policies look at in a call, by their scope and name.
    looks: Vec<(String, &'static str, Look)>,
    /// APIs, and operations of them, that policies name.
    expected: Vec<(Spanned<String>, Option<Spanned<String>>)>,
}

impl<'a> World<'a> {
    pub(super) fn read(
        file: &File,
        variable: Variables<'a>,
        beside: &'a Path,
        ports: &'a Ports,
        limits: &'a Arc<Limits>,
        before: &'a Lasting,
    ) -> Result<Self, SettingsError> {
        let mut world = Self {
            variable,
            beside,
            ports,
            limits,
            place: String::new(),
            issuers: HashMap::new(),
            authorities: HashMap::new(),
            with_metadata: HashSet::new(),
            sign_in: None,
            vaults: HashMap::new(),
            before,
            shared_limits: None,
            fetched: RefCell::default(),
            guards: HashMap::new(),
            tellers: HashMap::new(),
            heard: AllHeard::new(),
            injected: Vec::new(),
            secrets: Vec::new(),
            rotating: Vec::new(),
            outbound: None,
            remarks: Vec::new(),
            certificates: file.client_certificates.is_some(),
            told_in: told_in(file),
            looks: Vec::new(),
            expected: Vec::new(),
        };
        for name in world.told_in.clone().into_iter().flat_map(CertificateField::names) {
            world.secret(name.as_str());
        }
        world.outbound = file.send_request.as_ref().map(|table| Outbound::read(table, &ports.streams)).transpose()?;
        for table in &file.issuer {
            let issuer = world.read_issuer(table)?;
            let name = &table.get_ref().name;
            if world.issuers.values().any(|(other, _)| other.issuer == issuer.0.issuer) {
                return Err(fault(&table.span(), format!("`{}` is listed twice", issuer.0.issuer), "keep one"));
            }
            if world.issuers.insert(name.get_ref().clone(), issuer).is_some() {
                return Err(twice("an issuer", name));
            }
        }
        // Some open vaults, and others have their credentials there.
        let (of_vaults, others): (Vec<_>, Vec<_>) =
            file.authority.iter().partition(|table| table.get_ref().is_of_vault());
        world.read_authorities(&others)?;
        world.read_vaults(&file.vault)?;
        world.read_authorities(&of_vaults)?;
        world.share_limits(file)?;
        if let Some(table) = &file.sign_in {
            world.sign_in = Some(Arc::new(SignIn::read(table, &mut world)?));
        }
        Ok(world)
    }

    fn read_authorities(&mut self, tables: &[&Spanned<AuthorityTable>]) -> Result<(), SettingsError> {
        for table in tables {
            let client = self.read_authority(table)?;
            let name = &table.get_ref().name;
            let said = (table.get_ref().events_endpoint.clone(), format!("{:?}", table.get_ref()));
            self.tellers.insert(name.get_ref().clone(), said);
            if table.get_ref().metadata.is_some() {
                self.with_metadata.insert(name.get_ref().clone());
            }
            if self.authorities.insert(name.get_ref().clone(), client).is_some() {
                return Err(twice("an authority", name));
            }
        }
        Ok(())
    }

    /// The managed identities of the host.
    pub(crate) fn host(&self) -> ManagedIdentity {
        self.ports.host.clone()
    }

    /// The network on which vaults are.
    pub(super) fn network(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.ports.tokens)
    }

    /// The issuer of this name.
    pub(crate) fn issuer(&self, name: &Spanned<String>) -> Result<TrustedIssuer, SettingsError> {
        let found = self.issuers.get(name.get_ref());
        found.map(|(issuer, _)| issuer.clone()).ok_or_else(|| unknown("issuer", name, self.issuers.keys()))
    }

    /// The issuer that the file says more of, by its `iss`.
    pub(crate) fn issuer_called(&self, iss: &str) -> Option<TrustedIssuer> {
        self.issuers.values().map(|(issuer, _)| issuer).find(|issuer| issuer.issuer == iss).cloned()
    }

    /// What asks the authority of this name for tokens.
    pub(crate) fn authority(&self, name: &Spanned<String>) -> Result<Client, SettingsError> {
        let found = self.authorities.get(name.get_ref());
        found.cloned().ok_or_else(|| unknown("authority", name, self.authorities.keys()))
    }

    /// Whether the authority of this name has metadata to learn from.
    pub(crate) fn has_metadata(&self, name: &Spanned<String>) -> bool {
        self.with_metadata.contains(name.get_ref())
    }

    /// Who signs users in, where somebody does.
    pub(crate) fn sign_in(&self) -> Option<Arc<SignIn>> {
        self.sign_in.clone()
    }

    /// What asks services that the configuration names; redirects are not followed, and some addresses are never reached.
    pub(crate) fn fetch(&self) -> fetch::Fetch {
        self.ports.streams.clone()
    }

    /// What sends requests to this host, if the file lists it.
    pub(crate) fn outbound(&self, origin: &Origin, at: &Range<usize>) -> Result<fetch::Fetch, SettingsError> {
        self.outbound.as_ref().and_then(|outbound| outbound.to(origin)).ok_or_else(|| {
            let hint = format!("add `\"{origin}\"` to `allowed_hosts` of `[send_request]`");
            fault(at, "requests are not sent to this host", hint)
        })
    }

    /// Something that is sound, and yet laxer than usual.
    pub(crate) fn remark(&mut self, what: String) {
        self.remarks.push(what);
    }

    /// Unpredictable bytes.
    pub(crate) fn random(&self) -> Arc<dyn client::Random> {
        Arc::clone(&self.ports.random)
    }

    /// The scope that is read, in words: `api orders`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Notes that a policy of the scope that is read looks at this.
    pub(crate) fn looks_at(&mut self, policy: &'static str, what: Look) {
        self.looks.push((self.place.clone(), policy, what));
    }

    /// Whether a policy of this scope looks at that.
    pub(super) fn does_look(&self, scope: &str, policy: &str, what: Look) -> bool {
        self.looks.iter().any(|(place, name, look)| place == scope && *name == policy && *look == what)
    }

    /// Notes that a policy names an API, or an operation of it.
    pub(crate) fn expect(&mut self, api: &Spanned<String>, operation: Option<&Spanned<String>>) {
        let named = |name: &Spanned<String>| Spanned::new(name.span(), name.get_ref().clone());
        self.expected.push((named(api), operation.map(named)));
    }

    /// Whether all that policies name is there.
    pub(super) fn is_there(&self, routes: &Routes) -> Result<(), SettingsError> {
        for (api, operation) in &self.expected {
            let all = routes.all().iter().filter(|known| *known.api_name == **api.get_ref());
            let Some(operation) = operation else {
                if all.count() == 0 {
                    let mut known: Vec<&str> = routes.all().iter().map(|operation| &*operation.api_name).collect();
                    known.dedup();
                    let problem = format!("there is no API `{}` with operations", api.get_ref());
                    return Err(fault(&api.span(), problem, format!("name one of them: {}", known.join(", "))));
                }
                continue;
            };
            let known: Vec<&str> =
                all.filter_map(|known| known.name.strip_prefix(&format!("{}/", api.get_ref()))).collect();
            if !known.contains(&operation.get_ref().as_str()) {
                let problem = format!("the API `{}` has no operation `{}`", api.get_ref(), operation.get_ref());
                return Err(fault(&operation.span(), problem, format!("name one of them: {}", known.join(", "))));
            }
        }
        Ok(())
    }

    /// Where relative paths begin.
    pub(super) fn beside(&self) -> &'a Path {
        self.beside
    }

    /// What counts everything.
    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.ports.telemetry
    }

    /// What counts calls.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(self.limits)
    }

    /// What this authority tells of cut-offs of tokens of these issuers: the same as before, where it is the same authority.
    fn heard(&mut self, name: &Spanned<String>, issuers: &[TrustedIssuer]) -> Result<Arc<Heard>, SettingsError> {
        let client = self.authority(name)?;
        let tenant = issuers.iter().find_map(tenant_of);
        let (issuer, tenant) = tenant.ok_or_else(|| {
            let hint = "name issuers of one tenant, `https://id.example/{tenant id}/v2.0`, or drop `cut_offs`";
            fault(&name.span(), "no issuer of this check tells of cut-offs of one tenant", hint)
        })?;
        let (url, said) = self.tellers.get(name.get_ref()).cloned().unwrap_or_default();
        let key = format!("{tenant} {said}");
        if let Some(heard) = self.heard.get(&key).or(self.before.heard.get(&key)) {
            let heard = Arc::clone(heard);
            self.heard.insert(key, Arc::clone(&heard));
            return Ok(heard);
        }
        let given = self.issuers.values().find(|(known, _)| known.issuer == issuer.issuer);
        let keys = if let Some(keys) = given.and_then(|(_, keys)| keys.clone()) {
            IssuerKeys::fixed(keys)
        } else {
            let wrong = |error: guard::SetupError| fault(&name.span(), error.to_string(), "correct the issuer");
            self.ports.key_sets.issuer(guard::key_source(issuer).map_err(wrong)?)
        };
        let (fetch, clock) = (self.ports.streams.clone(), Arc::clone(&self.ports.clock));
        let heard = Heard::begin(Told { tenant, url, client, keys, fetch, clock });
        self.heard.insert(key, Arc::clone(&heard));
        Ok(heard)
    }

    /// A guard by this contract, one for all who have the same, that hears of cut-offs from this authority.
    pub(crate) fn guard(
        &mut self,
        contract: Contract,
        cut_offs: Option<&Spanned<String>>,
        at: &Range<usize>,
    ) -> Result<Guard, SettingsError> {
        contract.validate().map_err(|error| wrong(&error, at))?;
        let mut key = serde_json::to_string(&contract).map_err(|error| told(&error.to_string(), at))?;
        key.extend(cut_offs.map(|name| name.get_ref().as_str()));
        if let Some(guard) = self.guards.get(&key) {
            return Ok(guard.clone());
        }
        let heard = cut_offs.map(|name| self.heard(name, &contract.issuers)).transpose()?;
        let ids = Arc::clone(&self.ports.ids);
        let mut builder = Guard::builder(contract.clone(), Arc::clone(&self.ports.clock))
            .key_sets(Arc::clone(&self.ports.key_sets))
            .cache_bytes(VERIFIED_BYTES)
            .decision_ids(move || ids.next());
        if let Some(heard) = heard {
            builder = builder.subscription(Arc::clone(&heard.subscription));
        }
        for (issuer, keys) in self.issuers.values() {
            let named = contract.issuers.iter().any(|entry| entry.issuer == issuer.issuer);
            if let Some(keys) = keys.as_ref().filter(|_| named) {
                builder = builder.keys(issuer.issuer.clone(), keys.clone());
            }
        }
        let guard = builder.build().map_err(|error| told(&error.to_string(), at))?;
        self.guards.insert(key, guard.clone());
        Ok(guard)
    }

    /// A guard over what issuers say when they are asked: it knows no keys.
    pub(crate) fn guard_of_told(&self, contract: Contract, at: &Range<usize>) -> Result<Guard, SettingsError> {
        contract.validate().map_err(|error| wrong(&error, at))?;
        let issuers: Vec<String> = contract.issuers.iter().map(|entry| entry.issuer.clone()).collect();
        let ids = Arc::clone(&self.ports.ids);
        let builder =
            Guard::builder(contract, Arc::clone(&self.ports.clock)).cache_bytes(0).decision_ids(move || ids.next());
        let builder =
            issuers.into_iter().fold(builder, |builder, issuer| builder.keys(issuer, KeySet::from_keys(Vec::new())));
        builder.build().map_err(|error| told(&error.to_string(), at))
    }

    /// Unpredictable bytes.
    pub(crate) fn fill(&self, bytes: &mut [u8]) {
        self.ports.random.fill(bytes);
    }

    /// The clock.
    pub(crate) fn clock(&self) -> Arc<dyn decision::Clock> {
        Arc::clone(&self.ports.clock)
    }

    /// Every guard there is.
    pub(super) fn guards(&self) -> Vec<Guard> {
        self.guards.values().cloned().collect()
    }

    /// A field that a policy sets, so that no caller may send it.
    pub(crate) fn inject(&mut self, name: HeaderName) {
        if !self.injected.contains(&name) {
            self.injected.push(name);
        }
    }

    /// Whether a field of this name may go on to services: one that another server takes for what proxies tell may not.
    pub(crate) fn may_forward(&self, name: &HeaderName) -> bool {
        let mut told = self.told_in.iter().flat_map(|field| field.names());
        told.all(|told| told == name || !is_alias(name.as_str(), told.as_str()))
    }

    /// A field, in lower case, that carries a credential.
    pub(crate) fn secret(&mut self, name: &str) {
        if !self.secrets.iter().any(|known| known == name) {
            self.secrets.push(name.to_owned());
        }
    }

    /// What files hold that may change while the gateway runs.
    pub(crate) fn keep_up_to_date(&mut self, rotating: Arc<dyn Rotates>) {
        self.rotating.push(rotating);
    }

    /// For what looks at callers' certificates.
    pub(crate) fn asks_for_certificates(&self, at: &Range<usize>) -> Result<(), SettingsError> {
        if self.certificates || !self.told_in.is_empty() {
            return Ok(());
        }
        let hint = "write `client_certificates = \"optional\"` at the beginning of the file, or `\"required\"`; \
            behind a proxy that ends TLS, `client_certificate_header` in its `[[listener]]`";
        Err(fault(at, "callers are not asked for certificates", hint))
    }
}

/// What is wrong with a contract, by the names that its parts have in the file.
fn wrong(error: &ContractError, at: &Range<usize>) -> SettingsError {
    match error {
        ContractError::Range("skew") => fault(at, "`clock_skew` is out of range", "write 0 to 600, in seconds"),
        ContractError::Range("max_lifetime") => {
            fault(at, "`max_lifetime` is out of range", "write 1 or more, in seconds")
        }
        ContractError::Empty("clients") => told(&ContractError::Empty("client_application_ids").to_string(), at),
        error => told(&error.to_string(), at),
    }
}

/// What is wrong, as it is told elsewhere: the problem, a colon, the hint.
fn told(text: &str, at: &Range<usize>) -> SettingsError {
    let (problem, hint) = text.split_once(": ").unwrap_or((text, "see the guide of the gateway"));
    fault(at, problem, hint)
}

/// The tenant of an issuer that tells of cut-offs, if it is one tenant's: `https://HOST/{tenant id}`.
fn tenant_of(issuer: &TrustedIssuer) -> Option<(&TrustedIssuer, String)> {
    let written = match &issuer.tenants {
        Some(Tenants::Listed(tenants)) => match tenants.as_slice() {
            [tenant] => issuer.issuer.replace(TENANT_TEMPLATE, tenant),
            _ => issuer.issuer.clone(),
        },
        _ => issuer.issuer.clone(),
    };
    let tenant = written.trim_end_matches('/').trim_end_matches("/v2.0");
    let (_, after) = tenant.split_once("://")?;
    (after.split('/').count() == 2 && !tenant.contains('{')).then(|| (issuer, tenant.to_owned()))
}

/// One name, two things.
pub(super) fn twice(what: &str, name: &Spanned<String>) -> SettingsError {
    let problem = format!("there is {what} `{}` already", name.get_ref());
    fault(&name.span(), problem, "choose another name")
}

/// A name of nothing.
pub(super) fn unknown<'n>(
    what: &str,
    name: &Spanned<String>,
    known: impl Iterator<Item = &'n String>,
) -> SettingsError {
    let mut known: Vec<&str> = known.map(String::as_str).collect();
    known.sort_unstable();
    let problem = format!("there is no {what} `{}`", name.get_ref());
    let hint = match known.as_slice() {
        [] => format!("add one: `[[{what}]]` with this `name`"),
        known => format!("the file has {}; name one of them, or add `[[{what}]]`", known.join(", ")),
    };
    fault(&name.span(), problem, hint)
}
