//! Tokens of calls: where they are, and what verifies them.
use super::required_claims::ClaimRule;
use super::{Decided, Pending, Phase, Policy, dpop};
use crate::Canonical;
use crate::call::Call;
use crate::canonical::query;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World, credential_field, fault, parameter_name};
use client::{Introspected, Introspections};
use decision::contract::Route;
use decision::{CheckId, Timestamp};
use guard::{Dpop, Guard, Held, Principal, Proof, ProofFault, Refused, SharedKeys, Told};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, StatusCode};
use oauth::Secret;
use serve::subscriber;
use std::borrow::Cow;
use std::sync::Arc;

/// Where a token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Authorization,
    Field(HeaderName),
    Parameter(String),
}

impl Place {
    pub(super) fn read(
        field: Option<&Spanned<String>>,
        parameter: Option<&Spanned<String>>,
        world: &mut World<'_>,
    ) -> Result<Self, SettingsError> {
        Ok(match (field, parameter) {
            (Some(_), Some(name)) => {
                return Err(fault(&name.span(), "the token is looked for in two places", "keep one of them"));
            }
            (None, Some(name)) => Self::Parameter(parameter_name(name)?),
            (Some(name), None) => match credential_field(name)? {
                AUTHORIZATION => Self::Authorization,
                name => {
                    world.secret(name.as_str());
                    Self::Field(name)
                }
            },
            (None, None) => Self::Authorization,
        })
    }

    /// In words, where it is not where tokens usually are.
    fn elsewhere(&self) -> Option<String> {
        match self {
            Self::Authorization => None,
            Self::Field(name) => Some(format!("the field `{name}`")),
            Self::Parameter(name) => Some(format!("the parameter `{name}`")),
        }
    }

    /// As a guard reads it: an `Authorization` value.
    fn presented<'a>(&self, request: &'a Canonical) -> Presented<'a> {
        let bearer = |token: &str| Presented::Value(Cow::Owned(format!("Bearer {token}")));
        match self {
            Self::Authorization => match request.headers().get(AUTHORIZATION).map(http::HeaderValue::to_str) {
                None => Presented::Nothing,
                Some(Ok(text)) => Presented::Value(Cow::Borrowed(text)),
                // Not ASCII, so no token: as something that is none.
                Some(Err(_)) => Presented::Value(Cow::Borrowed("")),
            },
            Self::Field(name) => {
                let mut lines = request.headers().get_all(name).iter();
                match (lines.next(), lines.next()) {
                    (None, _) => Presented::Nothing,
                    (Some(line), None) => bearer(line.to_str().unwrap_or_default()),
                    (Some(_), Some(_)) => Presented::Several,
                }
            }
            Self::Parameter(name) => match query::value(request.query(), name) {
                Ok(None) => Presented::Nothing,
                Ok(Some(value)) => bearer(&query::decoded(value).unwrap_or_default()),
                Err(query::Several) => Presented::Several,
            },
        }
    }
}

enum Presented<'a> {
    Nothing,
    Value(Cow<'a, str>),
    Several,
}

/// A guard, and where its tokens are.
pub(crate) struct TokenCheck {
    pub(super) guard: Guard,
    /// Who says what tokens are worth, where they cannot be read.
    pub(super) asks: Option<Arc<Introspections<Told>>>,
    /// Keys that the issuer shares, in place of its public ones.
    pub(super) shared: Option<Arc<SharedKeys>>,
    pub(super) place: Place,
    pub(super) claims: Vec<ClaimRule>,
    pub(super) status: Option<StatusCode>,
    pub(super) message: Option<String>,
}

impl TokenCheck {
    /// Whether it is told which tokens were cut off.
    pub(crate) fn hears_of_cut_offs(&self) -> bool {
        !self.guard.events().is_empty()
    }

    /// Who says what tokens are worth, where they cannot be read.
    pub(crate) fn asks(&self) -> Option<&Arc<Introspections<Told>>> {
        self.asks.as_ref()
    }

    /// What guard decides on a token, unless keys have to be fetched first.
    fn at_once(
        &self,
        presented: Option<&str>,
        said: Option<&Introspected<Told>>,
        demand: &Route,
        held: Held<'_>,
    ) -> Option<Result<Principal, Refused>> {
        match (said, &self.shared) {
            (Some(said), _) => Some(self.guard.check_told(presented, told(said), demand, held)),
            (None, Some(keys)) => Some(self.guard.check_shared(keys, presented, demand, held)),
            (None, None) => self.guard.try_check_for(presented, demand, held),
        }
    }

    /// Whose tokens it takes.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &str> {
        self.guard.contract().issuers.iter().map(|entry| entry.issuer.as_str())
    }

    /// Whether the token is where tokens usually are.
    pub(crate) fn is_in_authorization(&self) -> bool {
        self.place == Place::Authorization
    }

    /// How callers send the token, where there is a word for it (RFC 9728 section 2).
    pub(crate) fn method(&self) -> Option<&'static str> {
        match &self.place {
            Place::Authorization => Some("header"),
            Place::Parameter(_) => Some("query"),
            Place::Field(_) => None,
        }
    }

    /// Takes the token out of what the service is sent, where it is not in `Authorization`: that is the onward credential's.
    pub(crate) fn take_out(&self, request: &mut Canonical) {
        match &self.place {
            Place::Authorization => {}
            Place::Field(name) => drop(request.headers_mut().remove(name)),
            Place::Parameter(name) => request.take_parameter(name),
        }
    }

    /// As the configuration wants refusals told. That keys are missing is nobody's fault who calls.
    fn as_configured(&self, denial: Denial) -> Denial {
        // A client that is told of a nonce tries again by itself, and one that is told to wait waits.
        let is_told = denial.check == CheckId::DpopNonce || denial.check == CheckId::DpopCapacity;
        if denial.status == StatusCode::SERVICE_UNAVAILABLE || is_told {
            return denial;
        }
        let ours = matches!(denial.check, CheckId::TokenClient).then_some(StatusCode::UNAUTHORIZED);
        let denial = match self.status.or(ours) {
            Some(status) => denial.status(status),
            None => denial,
        };
        match &self.message {
            Some(message) => denial.message(message.clone()),
            None => denial,
        }
    }

    fn accept(&self, call: &mut Call, principal: Principal) -> Result<(), Box<Denial>> {
        if !self.claims.is_empty() {
            let all = principal.all_claims();
            for rule in &self.claims {
                rule.judge(all.get(&rule.name)).map_err(|check| {
                    let text = format!("the claim `{}` of the token does not have what this API requires", rule.name);
                    let challenge = oauth::challenge::Challenge::bearer()
                        .with("error", check.entry().error)
                        .with("error_description", &text);
                    self.as_configured(Denial::of(check).message(text).challenge(&challenge).whose(principal.claims()))
                })?;
            }
        }
        call.principal = Some((principal, self.guard.clone()));
        Ok(())
    }
}

/// A route that any valid token may call.
pub(crate) fn any_valid_token() -> Route {
    Route { method: "*".into(), path: "/*".into(), authenticated_suffices: true, ..Route::default() }
}

/// A token check with all that one operation demands of the token.
pub(crate) struct Bearer {
    check: Arc<TokenCheck>,
    demands: Vec<Arc<Route>>,
    /// Where tokens can come with a proof of possession.
    dpop: Option<Arc<Dpop>>,
}

impl Bearer {
    /// Demands may be empty: then any valid token will do.
    pub(crate) fn new(check: Arc<TokenCheck>, mut demands: Vec<Arc<Route>>, dpop: Option<Arc<Dpop>>) -> Self {
        let key_bound = dpop.as_ref().is_some_and(|dpop| dpop.is_required());
        if demands.is_empty() || key_bound {
            demands.push(Arc::new(Route { key_bound, ..any_valid_token() }));
        }
        Self { check, demands, dpop }
    }

    /// The proof that the token comes with.
    fn proof(&self, call: &Call) -> Result<Option<Arc<Proof>>, Box<Denial>> {
        let Some(dpop) = &self.dpop else { return Ok(None) };
        dpop::proof(dpop, call).map_err(|fault| self.unproven(dpop, &fault))
    }

    fn unproven(&self, dpop: &Dpop, fault: &ProofFault) -> Box<Denial> {
        Box::new(self.check.as_configured(Denial::from(self.check.guard.refuse_proof(fault, dpop, None))))
    }

    /// What guard refuses, as it is told where proofs are taken.
    fn refused(&self, refused: Refused, proof: Option<&Arc<Proof>>, now: Timestamp) -> Box<Denial> {
        if let Some(place) = self.check.place.elsewhere().filter(|_| refused.check() == CheckId::TokenPresent) {
            return Box::new(self.check.as_configured(missing(&refused, &place)));
        }
        let refused = match &self.dpop {
            Some(dpop) => refused.with_dpop(dpop, proof.is_some(), now),
            None => refused,
        };
        Box::new(self.check.as_configured(Denial::from(refused)))
    }

    /// Lets the caller in, and the proof never again.
    fn accept(&self, call: &mut Call, principal: Principal, proof: Option<Arc<Proof>>) -> Result<(), Box<Denial>> {
        self.check.accept(call, principal)?;
        let (Some(dpop), Some(proof), None) = (&self.dpop, proof, &call.proof) else { return Ok(()) };
        dpop.spend(&proof, call.now).map_err(|fault| self.unproven(dpop, &fault))?;
        let nonce = dpop.next_nonce(&proof, call.now).and_then(|nonce| HeaderValue::try_from(nonce).ok());
        call.after.fields.extend(nonce.map(|nonce| (guard::DPOP_NONCE, nonce)));
        call.proof = Some(proof);
        Ok(())
    }

    /// The token whose issuer has to be asked, and who asks.
    fn token_to_ask_about<'a>(
        &'a self,
        presented: Option<&'a str>,
        proof: Option<&Arc<Proof>>,
        now: Timestamp,
    ) -> Option<ToAsk<'a>> {
        let asks = self.check.asks.as_ref()?;
        let demand = self.demands.first()?;
        let token = self.check.guard.token_of(presented, demand, dpop::held(None, proof));
        Some(token.map(|token| (asks, token)).map_err(|refused| self.refused(refused, proof, now)))
    }

    fn several(&self) -> Denial {
        let challenge = oauth::challenge::Challenge::bearer().with("error", "invalid_request");
        let denial = Denial::of(CheckId::GatewayCredentialSingle).challenge(&challenge);
        self.check.as_configured(match self.check.place.elsewhere() {
            Some(place) => denial.message(format!("the token stands in {place} more than once; send it once")),
            None => denial,
        })
    }
}

/// Guard takes every token for one of `Authorization`: where it is looked for elsewhere, that is said.
fn missing(refused: &Refused, place: &str) -> Denial {
    let text = format!("JWT not present. Send the token in {place}, once, and nothing beside it.");
    let challenges = refused.challenges();
    let found = |name: &str| challenges.iter().find_map(|challenge| challenge.param(name));
    let mut challenge = oauth::challenge::Challenge::bearer().with("realm", "");
    for name in ["authorization_uri", "error"] {
        challenge = found(name).into_iter().fold(challenge, |challenge, value| challenge.with(name, value));
    }
    if found("error").is_some() {
        challenge = challenge.with("error_description", &text);
    }
    let mut denial = Denial::of(refused.check()).status(refused.status()).message(text).challenge(&challenge);
    denial.decision_id = refused.decision_id().map(str::to_owned);
    denial
}

type ToAsk<'a> = Result<(&'a Arc<Introspections<Told>>, &'a str), Box<Denial>>;

fn told(said: &Introspected<Told>) -> Option<&Told> {
    match said {
        Introspected::Active(told) => Some(told),
        Introspected::Inactive => None,
    }
}

/// Without an answer nobody is let in.
fn unsaid(error: &client::Error) -> Denial {
    tracing::warn!(
        error.status = error.status(),
        error.code = error.body().map(|body| body.error.as_str()),
        reason = %error,
        "an issuer does not say what a token is worth"
    );
    Denial::of(CheckId::IntrospectionAvailable).retry_after(error.retry_after().unwrap_or(5))
}

impl Policy for Bearer {
    fn phase(&self) -> Phase {
        Phase::Identify
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let check = &*self.check;
        let mut accepted = None;
        let proof = match self.proof(call) {
            Ok(proof) => proof,
            Err(denial) => return Decided::Deny(denial),
        };
        let certificate = call.certificate.clone();
        let held = dpop::held(certificate.as_ref().and_then(|certificate| certificate.x5t_s256()), proof.as_ref());
        {
            let presented = match check.place.presented(&call.request) {
                Presented::Nothing => None,
                Presented::Value(text) => Some(text),
                Presented::Several => return Decided::Deny(Box::new(self.several())),
            };
            let said = match self.token_to_ask_about(presented.as_deref(), proof.as_ref(), call.now) {
                None => None,
                Some(Err(denial)) => return Decided::Deny(denial),
                Some(Ok((asks, token))) => match asks.known(token) {
                    None => return Decided::Wait,
                    said => said,
                },
            };
            for demand in &self.demands {
                match check.at_once(presented.as_deref(), said.as_ref(), demand, held) {
                    None => return Decided::Wait,
                    Some(Ok(principal)) => accepted = Some(principal),
                    Some(Err(refused)) => return Decided::Deny(self.refused(refused, proof.as_ref(), call.now)),
                }
            }
        }
        match accepted.map(|principal| self.accept(call, principal, proof)) {
            Some(Ok(())) => Decided::Pass,
            Some(Err(denial)) => Decided::Deny(denial),
            // There is always a demand, so this is a defect: and a defect denies.
            None => Decided::Deny(Box::new(Denial::of(CheckId::TokenPresent))),
        }
    }

    fn checks(&self, call: &Call) -> Vec<decision::Check> {
        let presented = match self.check.place.presented(&call.request) {
            Presented::Value(text) => Some(text),
            Presented::Nothing | Presented::Several => None,
        };
        let proof = self.dpop.as_ref().and_then(|dpop| dpop::proof(dpop, call).ok().flatten());
        let certificate = call.certificate.as_ref().and_then(|certificate| certificate.x5t_s256());
        let held = dpop::held(certificate, proof.as_ref());
        let mut all = Vec::new();
        // What an issuer said is not made of checks.
        for demand in self.demands.iter().filter(|_| self.check.asks.is_none()) {
            let found = match &self.check.shared {
                None => self.check.guard.explain_for(presented.as_deref(), demand, held),
                Some(keys) => self.check.guard.explain_shared(keys, presented.as_deref(), demand, held),
            };
            let found = found.checks;
            all.extend(found.into_iter().filter(|check| !all.contains(check)).collect::<Vec<_>>());
        }
        all
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let presented = match self.check.place.presented(&call.request) {
                Presented::Nothing => None,
                Presented::Value(text) => Some(text.into_owned()),
                Presented::Several => return Err(Box::new(self.several())),
            };
            let mut decided = None;
            let proof = self.proof(call)?;
            let certificate = call.certificate.clone();
            let held = dpop::held(certificate.as_ref().and_then(|certificate| certificate.x5t_s256()), proof.as_ref());
            let said = match self.token_to_ask_about(presented.as_deref(), proof.as_ref(), call.now) {
                None => None,
                Some(token) => {
                    let (asks, token) = token?;
                    let asker = call.caller.known().map(subscriber);
                    Some(asks.ask(&Secret::new(token), asker).await.map_err(|error| Box::new(unsaid(&error)))?)
                }
            };
            for demand in &self.demands {
                let principal = match self.check.at_once(presented.as_deref(), said.as_ref(), demand, held) {
                    None => self.check.guard.check_for(presented.as_deref(), demand, held).await,
                    Some(decided) => decided,
                };
                decided = Some(principal.map_err(|refused| self.refused(refused, proof.as_ref(), call.now))?);
            }
            let principal = decided.ok_or_else(|| Box::new(Denial::of(CheckId::TokenPresent)))?;
            self.accept(call, principal, proof)
        })
    }
}
