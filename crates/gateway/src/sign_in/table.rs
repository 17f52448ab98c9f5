//! Sign-in as it is written in the file.
use super::provider::TokenFields;
use super::{Keys, Origin, Provider, SignIn, landing};
use crate::limits::Rate;
use crate::settings::{SettingsError, Source, Spanned, World, fault};
use decision::contract::{Contract, Disclosure};
use oauth::Scopes;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// Sign-in for browsers: who signs users in, and how their sessions are kept. Operations demand one with the policy `sign_in`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "sign_in_settings")]
pub(crate) struct Table {
    /// Where browsers find the gateway, such as `https://app.example`; below each, `/.auth/…` is the gateway's. Plain HTTP is for
    /// `localhost` only.
    origins: Vec<Spanned<String>>,
    /// 32 random octets in base64. Sessions are sealed with the first key; those that the others sealed are good too, so that a key can
    /// be replaced. All gateways of a site have the same.
    keys: Vec<Spanned<Source>>,
    /// Hours that a session lasts.
    #[serde(default = "eight")]
    session_hours: Spanned<u32>,
    /// Hours after its end that `/.auth/refresh` still makes a new one of it.
    #[serde(default = "seventy_two")]
    grace_hours: Spanned<u32>,
    /// How often a minute one address may sign in, refresh and sign out; each takes one or two requests. By default 600, so that offices
    /// behind one address can.
    #[serde(default = "six_hundred")]
    requests_per_minute: Spanned<u32>,
    /// Addresses elsewhere that a sign-in or a sign-out may go on to, exactly, save for a query; by default none.
    #[serde(default)]
    redirect_uris: Vec<Spanned<String>>,
    /// Who signs users in. The first is meant where a policy names none.
    provider: Vec<Spanned<ProviderTable>>,
}

fn eight() -> Spanned<u32> {
    Spanned::new(0..0, 8)
}

fn seventy_two() -> Spanned<u32> {
    Spanned::new(0..0, 72)
}

fn six_hundred() -> Spanned<u32> {
    Spanned::new(0..0, 600)
}

/// An OpenID provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "provider")]
pub(crate) struct ProviderTable {
    /// Its name in paths and fields: `aad` for Entra ID, as App Service has it, or another in lower case. The redirect URI that it
    /// knows is `ORIGIN/.auth/login/NAME/callback`, and the one for signing out `ORIGIN/.auth/logout/done`.
    name: Spanned<String>,
    /// The gateway as its client, by the name that the file gives the authority; that has `metadata`, of one tenant.
    authority: Spanned<String>,
    /// What is asked for beside `openid` and `profile`: with `offline_access` sessions can be refreshed, and the scope of an API gets
    /// the session an access token for it.
    #[serde(default)]
    scopes: Vec<Spanned<String>>,
    /// Whether applications that signed a user in by themselves get a session for the ID token (`POST /.auth/login/NAME`).
    #[serde(default)]
    client_directed: bool,
    /// The access tokens that they may sign in with too.
    access_tokens: Option<Spanned<AccessTokensTable>>,
}

/// Access tokens that applications may sign in with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "access_tokens")]
pub(crate) struct AccessTokensTable {
    /// The issuers, by the names that the file gives them.
    issuers: Vec<Spanned<String>>,
    /// The values of `aud` of which any one will do.
    audiences: Vec<String>,
}

impl SignIn {
    pub(crate) fn read(table: &Spanned<Table>, world: &mut World<'_>) -> Result<Self, SettingsError> {
        let read = table.get_ref();
        let at = table.span();
        let origins = read.origins.iter().map(Origin::read).collect::<Result<Vec<_>, _>>()?;
        if origins.is_empty() {
            return Err(fault(
                &at,
                "nothing says where browsers find the gateway",
                "add `origins = [\"https://app.example\"]`",
            ));
        }
        if read.keys.is_empty() {
            return Err(fault(
                &at,
                "sessions have no key",
                "add `keys = [{ file = \"sign-in.key\" }]`, with what `openssl rand -base64 32` prints",
            ));
        }
        for text in &read.redirect_uris {
            if !landing::is_address(text.get_ref()) {
                let hint = "write `https://shop.example/welcome`, with a path and without a query";
                return Err(fault(&text.span(), "this is no address to go on to", hint));
            }
        }
        let hours = |hours: &Spanned<u32>, most: u32| match *hours.get_ref() {
            hours if hours <= most => Ok(i64::from(hours) * 3_600),
            _ => Err(fault(&hours.span(), "this is too long", format!("write at most {most}"))),
        };
        if *read.session_hours.get_ref() == 0 {
            return Err(fault(&read.session_hours.span(), "a session would be over at once", "write at least 1"));
        }
        let per_minute = *read.requests_per_minute.get_ref();
        if per_minute == 0 {
            return Err(fault(&read.requests_per_minute.span(), "nobody could sign in at all", "write 1 or more"));
        }
        let mut providers: Vec<Arc<Provider>> = Vec::new();
        for provider in &read.provider {
            let provider = provider.get_ref().read(world)?;
            if providers.iter().any(|other| other.name == provider.name) {
                return Err(fault(&at, format!("there are two providers `{}`", provider.name), "choose another name"));
            }
            providers.push(Arc::new(provider));
        }
        if providers.is_empty() {
            return Err(fault(&at, "nobody signs users in", "add `[[sign_in.provider]]` with `name` and `authority`"));
        }
        // Whoever shows a session there is believed, so no service sees it.
        world.inject(super::ZUMO);
        world.secret(super::ZUMO.as_str());
        Ok(Self {
            keys: Keys::read(&read.keys, world)?,
            origins,
            providers,
            elsewhere: read.redirect_uris.iter().map(|text| text.get_ref().clone()).collect(),
            lasts: hours(&read.session_hours, 24 * 30)?,
            grace: hours(&read.grace_hours, 24 * 30)?,
            random: world.random(),
            limits: world.limits(),
            rate: Rate { calls: u64::from(per_minute), period: 60 },
        })
    }
}

impl ProviderTable {
    fn read(&self, world: &mut World<'_>) -> Result<Provider, SettingsError> {
        let name = self.name.get_ref();
        let is_name = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name.starts_with(|c: char| c.is_ascii_lowercase());
        let fields = TokenFields::of(name).filter(|_| is_name);
        let fields = fields.ok_or_else(|| {
            let hint = "use at most 32 small letters, digits and `-`, and begin with a letter: `aad`";
            fault(&self.name.span(), "a path cannot have this name", hint)
        })?;
        let client = world.authority(&self.authority)?;
        if !world.has_metadata(&self.authority) {
            let problem = format!("nothing says where users of `{}` sign in", self.authority.get_ref());
            return Err(fault(&self.authority.span(), problem, "add `metadata` to that `[[authority]]`"));
        }
        let mut scopes = vec!["openid".to_owned(), "profile".to_owned()];
        for scope in &self.scopes {
            if Scopes::parse(scope.get_ref()).is_none_or(|read| read.iter().count() != 1) {
                return Err(fault(&scope.span(), "this is not one scope", "write each scope by itself"));
            }
            if !scopes.contains(scope.get_ref()) {
                scopes.push(scope.get_ref().clone());
            }
        }
        let guard = match &self.access_tokens {
            Some(table) if !self.client_directed => {
                let hint = "add `client_directed = true`, or remove `access_tokens`";
                return Err(fault(&table.span(), "no application signs in with tokens", hint));
            }
            Some(table) => {
                let read = table.get_ref();
                let contract = Contract {
                    name: None,
                    audiences: read.audiences.clone(),
                    issuers: read.issuers.iter().map(|name| world.issuer(name)).collect::<Result<_, _>>()?,
                    clients: None,
                    routes: Vec::new(),
                    skew: 60,
                    max_token_bytes: 16_384,
                    max_lifetime: None,
                    fail_static: 60,
                    authorized_by_list: false,
                    disclosure: Disclosure::default(),
                    authorization_uri: None,
                };
                Some(world.guard(contract, None, &table.span())?)
            }
            None => None,
        };
        Ok(Provider { name: name.clone(), client, scopes, client_directed: self.client_directed, guard, fields })
    }
}
