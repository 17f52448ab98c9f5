//! Users' tokens that come in: what they are held to before anything is done with them.
use crate::introspect::{Inactive, introspect, still_counts};
use crate::problem::Problem;
use crate::provider::Provider;
use crate::{Settings, Sidecar};
use decision::contract::{Contract, Disclosure, Profile, Route, Subject, TENANT_TEMPLATE, Tenants, TrustedIssuer};
use guard::{Guard, SetupError};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use oauth::Secret;
use oauth::challenge::Challenge;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Checks tokens that are for the application: by its contract, where its provider is one like Entra or it has stated one,
/// else as introspection does.
pub(crate) struct Inbound {
    sidecar: Arc<Sidecar>,
    provider: String,
    /// Of which a token has to have one, where no contract says it.
    scopes: Vec<String>,
    guard: Option<Guard>,
    /// The contract that the application has stated, with its routes: for explanations.
    stated: Option<Guard>,
}

/// A token that holds.
pub(crate) struct Admitted {
    pub(crate) token: Secret,
    /// All that it says, as it says it.
    pub(crate) claims: Map<String, Value>,
}

impl Inbound {
    pub(crate) fn new(sidecar: &Arc<Sidecar>, settings: &Settings) -> Result<Self, SetupError> {
        let told = &settings.inbound;
        let provider = sidecar.providers().named(&told.provider).filter(|provider| provider.is_enabled());
        // Which of the application's routes a token was sent to, only the application knows: here it has to be for it.
        let admitting = |stated: Contract| Contract { routes: vec![route(&told.scopes)], ..stated };
        let derived = || {
            let provider = provider.filter(|provider| provider.is_entra())?;
            contract(provider, &told.audiences, &told.scopes, told.by_list)
        };
        let made = |contract: Option<Contract>| contract.map(|contract| guard(sidecar, contract)).transpose();
        Ok(Self {
            sidecar: Arc::clone(sidecar),
            provider: told.provider.clone(),
            scopes: told.scopes.clone(),
            guard: made(told.contract.clone().map(admitting).or_else(derived))?,
            stated: made(told.contract.clone())?,
        })
    }

    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// What tokens for the application are explained by.
    pub(crate) fn explaining(&self) -> Option<&Guard> {
        self.stated.as_ref().or(self.guard.as_ref())
    }

    /// The token of a request, if it holds for the application.
    pub(crate) async fn admit(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Admitted, Problem> {
        if let Some(guard) = &self.guard {
            let admitted = guard.check_head(headers, query, "GET", "/").await;
            let caller = admitted.map_err(|refused| Problem::refused(&refused))?;
            let provider = self.sidecar.providers().named(&self.provider);
            let now = self.sidecar.clock().now();
            let counts = provider.map_or(Ok(()), |provider| still_counts(provider, caller.token().expose(), now));
            counts.map_err(|reason| inactive(&reason))?;
            return Ok(Admitted { token: caller.token().clone(), claims: caller.all_claims() });
        }
        let missing = || challenge("send the user's token as `Authorization: Bearer`", Challenge::bearer());
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else { return Err(missing()) };
        let token = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or_else(missing)?.1;
        let provider = self.sidecar.providers().named(&self.provider).filter(|provider| provider.is_enabled());
        let Some(provider) = provider else {
            let detail = format!("identity provider '{}' is not enabled", self.provider);
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        };
        let now = self.sidecar.clock().now();
        introspect(provider, token, self.sidecar.seen(), now).await.map_err(|reason| inactive(&reason))?;
        let claims = jose::Token::parse(token).and_then(|token| token.peek()).unwrap_or_default();
        let has = |scope: &String| scopes(&claims).any(|known| known == scope);
        if !self.scopes.is_empty() && !self.scopes.iter().any(has) {
            let wanted = self.scopes.join(" ");
            let detail = format!("the token has none of the scopes `{wanted}`; ask for one that has");
            let challenge = Challenge::bearer().with("error", "insufficient_scope").with("scope", &wanted);
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).challenges(&[challenge]));
        }
        Ok(Admitted { token: Secret::new(token), claims })
    }
}

fn challenge(detail: &str, challenge: Challenge) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).challenges(&[challenge])
}

/// A token that is not active. That nobody can say whether it was cut off is no fault of the token.
fn inactive(reason: &Inactive) -> Problem {
    match reason {
        Inactive::Unheard => Problem::unavailable(reason.to_string(), None),
        reason => challenge(&reason.to_string(), Challenge::bearer().with("error", "invalid_token")),
    }
}

/// A guard that has its keys from the providers, where it is one of theirs.
pub(crate) fn guard(sidecar: &Arc<Sidecar>, contract: Contract) -> Result<Guard, SetupError> {
    let known: Vec<_> = contract
        .issuers
        .iter()
        .filter_map(|entry| {
            let provider = sidecar
                .providers()
                .iter()
                .find(|p| p.is_enabled() && p.known_issuer().as_ref() == Some(&entry.issuer))?;
            Some((entry.issuer.clone(), Arc::clone(provider.keys())))
        })
        .collect();
    let builder = Guard::builder(contract, sidecar.shared_clock()).key_sets(sidecar.key_sets());
    known.into_iter().fold(builder, |builder, (issuer, keys)| builder.shared_keys(issuer, keys)).build()
}

/// The scopes of a token, as RFC 9068 has them or as Entra does.
fn scopes(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let texts = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    texts.flat_map(|value| {
        let one = value.as_str().into_iter().flat_map(|text| text.split(' '));
        one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_str))
    })
}

/// What the application's own API asks of tokens, where it has not written a contract: that they are for it.
fn contract(provider: &Provider, audiences: &[String], scopes: &[String], by_list: bool) -> Option<Contract> {
    let (issuer, client_id) = (provider.known_issuer()?, provider.client_id()?);
    let mut accepted = vec![format!("api://{client_id}"), client_id.to_owned()];
    accepted.extend(audiences.iter().cloned());
    let tenants = issuer.contains(TENANT_TEMPLATE).then(|| Tenants::Listed(provider.tenants().to_vec()));
    let issuer = TrustedIssuer {
        // Where its keys are, the provider knows; here it only has to be said for a template.
        metadata: tenants.as_ref().and(provider.discovery()).map(str::to_owned),
        issuer,
        jwks_uri: None,
        foreign_keys_host: true,
        tenants,
        profile: Profile::Entra,
        algorithm: None,
    };
    Some(Contract {
        name: None,
        audiences: accepted,
        issuers: vec![issuer],
        clients: None,
        routes: vec![route(scopes)],
        skew: 60,
        max_token_bytes: 16 << 10,
        max_lifetime: None,
        fail_static: 60,
        authorized_by_list: by_list,
        disclosure: Disclosure::default(),
        authorization_uri: None,
    })
}

/// Everything, with one of these scopes.
fn route(scopes: &[String]) -> Route {
    Route {
        method: "*".to_owned(),
        path: "/*".to_owned(),
        scopes: scopes.to_vec(),
        subject: Some(Subject::Either),
        authenticated_suffices: scopes.is_empty(),
        ..Route::default()
    }
}
