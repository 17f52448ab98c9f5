//! What a sidecar understood, for people: everything but secrets.
use super::{Bind, Credential, EventStream, ProviderSettings, Settings};
use ::telemetry::Collector;
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use url::Url;

impl Settings {
    /// What was understood, as JSON. Of a key it has the name, of a secret that there is one.
    pub fn shown(&self) -> Value {
        let providers: Map<String, Value> =
            self.providers.iter().map(|provider| (provider.name.clone(), provider.shown())).collect();
        json!({
            "bind": self.bind.to_string(),
            "probe": self.probe.map(|address| address.to_string()),
            "metrics": self.metrics.map(|address| address.to_string()),
            "admin": self.admin.as_ref().map(ToString::to_string),
            "push": self.push.as_ref().map(|push| json!({
                "metrics": push.metrics.as_ref().map(collector),
                "traces": push.spans.as_ref().map(collector),
                "protocol": push.protocol.as_str(),
                "every_millis": millis(push.every),
                "certificate": push.authorities,
            })),
            "callers": {
                "token": self.callers.bearer.as_ref().map(|_| "(set)"),
                "uids": self.callers.uids,
                "hosts": self.callers.hosts,
                "tls": self.callers.tls.as_ref().map(|mutual| {
                    let (certificate, client_authorities) = mutual.shown();
                    let clients = mutual.peers().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
                    json!({ "certificate": certificate, "client_authorities": client_authorities, "clients": clients })
                }),
            },
            "outbound": if self.outbound.is_restricted() { "only what is listed" } else { "any target" },
            "upstream": {
                "retries": self.upstream.retries,
                "connect_millis": millis(self.upstream.connect),
                "read_millis": millis(self.upstream.read),
                "overall_millis": millis(self.upstream.total),
                "pool_max_idle": self.upstream.idle,
            },
            "proxy": self.proxy.as_ref().map(|_| "(set)"),
            "authorities": self.authorities,
            "key_set_seconds": self.key_seconds,
            "check_user_tokens": self.user_tokens_checked,
            "explanations": self.explanations,
            "cache_bytes": self.cache_bytes,
            "cut_offs": { "fail_static": self.cut_offs.fail_static, "closed": self.cut_offs.closed },
            "long_running": {
                "life_seconds": self.sessions.life,
                "bytes": self.sessions.bytes,
                "directory": self.sessions.place.as_ref().map(|(directory, _)| directory),
                "key": self.sessions.place.as_ref().map(|_| "(set)"),
            },
            "providers": providers,
            "entra": self.entra.as_ref().map(|entra| json!({
                "bind": entra.bind.to_string(),
                "overrides": entra.overrides.iter().map(|route| format!("{route:?}")).collect::<Vec<_>>(),
            })),
            "native": self.native.as_ref().map(|native| json!({ "bind": native.bind.to_string() })),
            "identity": self.identity.as_ref().map(|identity| json!({
                "bind": identity.bind.to_string(), "provider": identity.provider, "header": "(set)", "metadata": identity.metadata,
            })),
            "inbound": {
                "provider": self.inbound.provider,
                "audiences": self.inbound.audiences,
                "scopes": self.inbound.scopes,
                "allow_web_api_to_be_authorized_by_acl": self.inbound.by_list,
                "contract": self.inbound.contract,
            },
            "apis": self.apis.shown(),
            "for_the_application": self.for_the_application(),
        })
    }

    /// The variables that tell an application where the APIs are; those that are on Unix sockets have none.
    pub fn for_the_application(&self) -> Map<String, Value> {
        let mut told = Map::new();
        if let Some(identity) = &self.identity {
            told.insert("IDENTITY_ENDPOINT".to_owned(), format!("http://{}/msi/token", identity.bind).into());
            if identity.metadata {
                let host = format!("http://{}", identity.bind);
                told.insert("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), host.into());
            }
        }
        let Bind::Tcp(mut address) = self.bind else { return told };
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        let scheme = if self.callers.mutual(&self.bind).is_some() { "https" } else { "http" };
        let texas = [
            ("NAIS_TOKEN_ENDPOINT", "/api/v1/token"),
            ("NAIS_TOKEN_EXCHANGE_ENDPOINT", "/api/v1/token/exchange"),
            ("NAIS_TOKEN_INTROSPECTION_ENDPOINT", "/api/v1/introspect"),
        ];
        told.extend(texas.map(|(name, path)| (name.to_owned(), format!("{scheme}://{address}{path}").into())));
        told
    }
}

impl ProviderSettings {
    fn shown(&self) -> Value {
        if !self.enabled {
            return "not enabled".into();
        }
        json!({
            "issuer": self.issuer,
            "tenants": self.tenants,
            "discovery": self.discovery.as_deref().map(address),
            "token_endpoint": self.token_endpoint.as_deref().map(address),
            "jwks_uri": self.jwks_uri.as_deref().map(address),
            "client_id": self.client_id,
            "audience": self.audience,
            "events": self.events.as_ref().map(|events| match events {
                EventStream::Issuer => "at the issuer".to_owned(),
                EventStream::Url(url) => address(url),
            }),
            "token": self.grants.token.map(|grant| format!("{grant:?}")),
            "exchange": self.grants.exchange.map(|grant| format!("{grant:?}")),
            "credential": self.credential.as_ref().map(Credential::shown),
        })
    }
}

impl Credential {
    fn shown(&self) -> Value {
        match self {
            Self::Key(key) => json!({ "key": { "kid": key.kid(), "alg": key.algorithm().as_str() } }),
            Self::KeyFile(path) => json!({ "key_file": path }),
            Self::Secret(_) => json!({ "secret": "(set)" }),
            Self::SecretFile(path) => json!({ "secret_file": path }),
            Self::Certificate { certificate, .. } => json!({ "certificate": certificate }),
            Self::Federated(path) => json!({ "federated_token_file": path }),
            Self::Identity(client_id) => json!({ "managed_identity": client_id.as_deref().unwrap_or("of the host") }),
        }
    }
}

/// An address, without the secret that somebody put before its host. (It is of no use there: such addresses are not fetched.)
fn address(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let _ = (url.set_username("withheld"), url.set_password(None));
            url.into()
        }
        _ => text.to_owned(),
    }
}

/// Where something is pushed to; of headers there are the names.
fn collector(collector: &Collector) -> Value {
    let headers: Map<String, Value> =
        collector.headers.keys().map(|name| (name.as_str().to_owned(), "(set)".into())).collect();
    json!({ "url": collector.url, "headers": headers, "timeout_millis": millis(collector.patience) })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
