//! Issuers, whose tokens are accepted, and authorities, which tokens are asked of.
use super::World;
use crate::secrets::Material;
use crate::settings::file::{AuthorityTable, CertificateTable, Exchange, IssuerTable, Pem, Source, SubjectTokenType};
use crate::settings::{SettingsError, Spanned, fault};
use client::{AssertionOfIdentity, Client, Endpoints, GrantProfile};
use decision::contract::TrustedIssuer;
use fetch::{KeySource, Location};
use jose::{Algorithm, KeySet};
use std::ops::Range;
use std::sync::Arc;

impl World<'_> {
    /// What would never be fetched is a mistake of the file.
    fn can_be_fetched(&self, urls: [Option<&String>; 4], at: &Range<usize>) -> Result<(), SettingsError> {
        for url in urls.into_iter().flatten() {
            self.ports.streams.admits(url).map_err(|error| {
                let text = error.to_string();
                let (problem, hint) = text.split_once("; ").unwrap_or((&text, "see the guide of the gateway"));
                fault(at, problem, hint)
            })?;
        }
        Ok(())
    }

    pub(super) fn read_issuer(
        &self,
        table: &Spanned<IssuerTable>,
    ) -> Result<(TrustedIssuer, Option<KeySet>), SettingsError> {
        let read = table.get_ref();
        self.can_be_fetched([read.metadata.as_ref(), read.jwks_uri.as_ref(), None, None], &table.span())?;
        let issuer = TrustedIssuer {
            issuer: read.issuer.clone(),
            metadata: read.metadata.clone(),
            jwks_uri: read.jwks_uri.clone(),
            foreign_keys_host: read.foreign_keys_host,
            tenants: read.tenants.clone(),
            profile: read.profile,
            algorithm: read.algorithm.clone(),
        };
        let algorithm = match &read.algorithm {
            None => Algorithm::RS256,
            Some(name) => name.parse::<Algorithm>().map_err(|_| {
                let problem = format!("`{name}` is no algorithm of public keys");
                fault(&table.span(), problem, "write another `algorithm`, such as `RS256` or `ES256`")
            })?,
        };
        // Read back, since reading validates; a template with keys in a file needs no address.
        let checked = match &read.jwks {
            Some(_) => {
                TrustedIssuer { jwks_uri: Some("https://keys.invalid/".into()), metadata: None, ..issuer.clone() }
            }
            None => issuer.clone(),
        };
        let valid: Result<TrustedIssuer, _> = serde_json::to_value(&checked).and_then(serde_json::from_value);
        if let Err(error) = valid {
            let text = error.to_string();
            let (problem, hint) = text.split_once(": ").unwrap_or((&text, "see the guide of the gateway"));
            return Err(fault(&table.span(), problem, hint));
        }
        let Some(path) = &read.jwks else { return Ok((issuer, None)) };
        if read.metadata.is_some() || read.jwks_uri.is_some() {
            let hint = "keep `jwks`, or drop it and keep the other";
            return Err(fault(&path.span(), "its keys are in a file and elsewhere too", hint));
        }
        let text = self.text(path.get_ref(), &path.span())?;
        let (keys, skipped) = KeySet::parse(text.as_bytes(), Some(algorithm))
            .map_err(|error| fault(&path.span(), error.to_string(), "give a JSON Web Key Set"))?;
        if let Some(key) = skipped.first() {
            let problem = format!("key {} of the file cannot be used: {}", key.index, key.reason);
            return Err(fault(&path.span(), problem, "remove it, or correct it"));
        }
        if keys.is_empty() {
            return Err(fault(&path.span(), "the file holds no key", "give the issuer's public keys"));
        }
        Ok((TrustedIssuer { jwks_uri: checked.jwks_uri, ..issuer }, Some(keys)))
    }

    pub(super) fn read_authority(&self, table: &Spanned<AuthorityTable>) -> Result<Client, SettingsError> {
        let at = table.span();
        let read = table.get_ref();
        if read.metadata.is_none() && read.token_endpoint.is_none() {
            return Err(fault(&at, "nothing says where the authority is", "set `metadata` or `token_endpoint`"));
        }
        let own = [&read.metadata, &read.token_endpoint, &read.introspection_endpoint, &read.events_endpoint];
        self.can_be_fetched(own.map(Option::as_ref), &at)?;
        let endpoints = Endpoints {
            token: read.token_endpoint.clone().unwrap_or_default(),
            issuer: read.issuer.clone(),
            introspection: read.introspection_endpoint.clone(),
            ..Endpoints::default()
        };
        let profile = match (read.exchange, &read.subject_token_type) {
            (Exchange::OnBehalfOf, None) => GrantProfile::Entra,
            (Exchange::OnBehalfOf, Some(kind)) => {
                let hint = "set `exchange = \"token-exchange\"`, or drop it";
                return Err(fault(&kind.span(), "On-Behalf-Of does not say what the user's token is", hint));
            }
            (Exchange::TokenExchange, Some(kind)) if *kind.get_ref() == SubjectTokenType::AccessToken => {
                GrantProfile::AccessTokenExchange
            }
            (Exchange::TokenExchange, _) => GrantProfile::TokenExchange,
        };
        let mut builder =
            Client::builder(endpoints, &read.client_id).profile(profile).cache(Arc::clone(&self.ports.token_cache));
        if let Some(url) = &read.metadata {
            // For the ID tokens of sign-ins.
            let source = KeySource {
                issuer: read.issuer.clone().unwrap_or_else(|| url.clone()),
                location: match &read.issuer {
                    Some(_) => Location::Metadata(url.clone()),
                    None => Location::Announced(url.clone()),
                },
                default_algorithm: Some(Algorithm::RS256),
                foreign_keys_host: false,
            };
            builder = builder.discover(url).identity_keys(self.ports.key_sets.issuer(source));
        }
        let unusable = |error: &dyn std::fmt::Display| fault(&at, error.to_string(), "give another credential");
        let choices = "set one of `secret`, `certificate`, `key`, `federated_token_file` and `managed_identity`";
        let given = (&read.secret, &read.certificate, &read.key, &read.federated_token_file, &read.managed_identity);
        let builder = match given {
            (Some(source), None, None, None, None) => builder.secret_of(self.material(source)?),
            (None, Some(CertificateTable { certificate, key }), None, None, None) => {
                builder.certificate_of(self.pair(certificate, key.as_ref(), &at)?.turned())
            }
            (None, None, Some(key), None, None) => {
                let key = self.pem(key, &at, "value")?;
                builder.key_of(Material::from(key), client::AssertionAudience::Issuer)
            }
            (None, None, None, Some(path), None) => Ok(builder.assertion_file(self.beside.join(path))),
            (None, None, None, None, Some(table)) => {
                let (host, identity) = (self.host(), table.identity()?);
                let audience = table.audience.clone();
                Ok(builder.assertion(Arc::new(AssertionOfIdentity { host, identity, audience })))
            }
            (None, None, None, None, None) => {
                return Err(fault(&at, "nothing proves to the authority who asks", choices));
            }
            _ => return Err(fault(&at, "the authority has more than one credential", choices)),
        };
        let builder = builder.map_err(|error| unusable(&error))?;
        let ports = self.ports;
        Ok(builder.build(Arc::clone(&ports.tokens), Arc::clone(&ports.clock), Arc::clone(&ports.random)))
    }
}

impl AuthorityTable {
    /// Whether its credential is in a vault.
    pub(super) fn is_of_vault(&self) -> bool {
        let of_vault = |source: &Source| matches!(source, Source::Vault { .. });
        let pem = |pem: &Pem| matches!(pem, Pem::Elsewhere(source) if of_vault(source));
        let pair = |pair: &CertificateTable| pem(&pair.certificate) || pair.key.as_ref().is_some_and(pem);
        self.secret.as_ref().is_some_and(|secret| of_vault(secret.get_ref()))
            || self.certificate.as_ref().is_some_and(pair)
            || self.key.as_ref().is_some_and(pem)
    }
}
