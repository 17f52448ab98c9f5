//! `validate_jwt`: a token of one of these issuers, for one of these audiences. Guard verifies it; this says with what.
use super::{Decided, Part, Pending, Phase, Policy, dpop};
use crate::Canonical;
use crate::call::Call;
use crate::canonical::query;
use crate::denial::Denial;
use crate::settings::{SettingsError, Source, Spanned, World, fault, field_name, refusal_status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Introspected, Introspections};
use decision::contract::{Contract, Disclosure, Profile, Route, TrustedIssuer};
use decision::{CheckId, Timestamp};
use guard::{Dpop, Guard, Held, Principal, Proof, ProofFault, Refused, SharedKeys, Told};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, StatusCode};
use jose::symmetric::{HmacAlgorithm, SymmetricKey};
use oauth::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Calls with a token of one of these issuers, for one of these audiences.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "validate_jwt")]
pub(crate) struct Table {
    /// The issuers, by the names that the file gives them.
    #[serde(default)]
    issuers: Vec<Spanned<String>>,
    /// In place of `issuers`: the one whose tokens are signed with `issuer_signing_keys`, as `iss` in them.
    issuer: Option<Spanned<String>>,
    /// Keys that `issuer` shares with this API (HMAC): several, while they are replaced. Public keys belong to an `[[issuer]]`.
    #[serde(default)]
    issuer_signing_keys: Vec<Spanned<SharedKeyTable>>,
    /// The values of `aud` of which any one will do.
    audiences: Vec<String>,
    /// The only applications that may call; by default any.
    client_application_ids: Option<Vec<String>>,
    /// Claims that the token has, all of them.
    #[serde(default)]
    required_claims: Vec<Spanned<ClaimTable>>,
    /// How far clocks may differ, in seconds.
    #[serde(default = "sixty")]
    clock_skew: i64,
    /// The longest life of a token, in seconds; by default what is sane for its issuer.
    max_lifetime: Option<i64>,
    /// Who tells which tokens were cut off before their end (sessions that were ended, users who were disabled, consents that were
    /// withdrawn), by the name that the file gives it: the authority, with the client id of the application that these tokens are
    /// for, which has the app role `Events.Read` there. By default nobody, and a token is good until its end.
    cut_offs: Option<Spanned<String>>,
    /// The field that carries the token; by default `Authorization`, with `Bearer` before it.
    header_name: Option<Spanned<String>>,
    /// The parameter that carries it, in its place.
    query_parameter_name: Option<Spanned<String>>,
    /// The status of refusals; by default 401, and what the check that failed says where that is another.
    failed_validation_httpcode: Option<Spanned<u16>>,
    /// The text of refusals; by default what failed, and how to mend it.
    failed_validation_error_message: Option<String>,
}

/// What the policies about tokens share: what is taken, where it is, and what refusals say.
pub(super) struct Common<'a> {
    pub(super) audiences: Vec<String>,
    pub(super) issuers: Vec<TrustedIssuer>,
    pub(super) clients: Option<&'a [String]>,
    pub(super) claims: &'a [Spanned<ClaimTable>],
    pub(super) skew: i64,
    pub(super) max_lifetime: Option<i64>,
    pub(super) cut_offs: Option<&'a Spanned<String>>,
    /// Keys that the issuer shares, in place of its public ones.
    pub(super) shared: Option<Arc<SharedKeys>>,
    pub(super) header_name: Option<&'a Spanned<String>>,
    pub(super) query_parameter_name: Option<&'a Spanned<String>>,
    pub(super) failed_validation_httpcode: Option<&'a Spanned<u16>>,
    pub(super) failed_validation_error_message: Option<&'a str>,
}

/// A key that an issuer shares with this API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "issuer_signing_key")]
pub(crate) struct SharedKeyTable {
    /// The `kid` of the tokens that it is for; by default those of any, and of none.
    id: Option<String>,
    /// Where it is, in Base64.
    key: Spanned<Source>,
    /// The algorithm that it is bound to.
    #[serde(default)]
    algorithm: Hmac,
}

/// HMAC with a hash.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
enum Hmac {
    #[default]
    HS256,
    HS384,
    HS512,
}

impl From<Hmac> for HmacAlgorithm {
    fn from(algorithm: Hmac) -> Self {
        match algorithm {
            Hmac::HS256 => Self::HS256,
            Hmac::HS384 => Self::HS384,
            Hmac::HS512 => Self::HS512,
        }
    }
}

/// A claim, and what it says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "required_claim")]
pub(crate) struct ClaimTable {
    /// Its name.
    name: String,
    /// Whether every value has to be there, or one.
    #[serde(default, rename = "match")]
    matches: Match,
    /// What stands between the values of a text.
    separator: Option<String>,
    /// The values; without any, the claim has to be there.
    #[serde(default)]
    value: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Match {
    #[default]
    All,
    Any,
}

pub(super) const fn sixty() -> i64 {
    60
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let common = Common {
            audiences: self.audiences.clone(),
            issuers: self.trusted(at, world)?,
            shared: self.shared(world)?,
            clients: self.client_application_ids.as_deref(),
            claims: &self.required_claims,
            skew: self.clock_skew,
            max_lifetime: self.max_lifetime,
            cut_offs: self.cut_offs.as_ref(),
            header_name: self.header_name.as_ref(),
            query_parameter_name: self.query_parameter_name.as_ref(),
            failed_validation_httpcode: self.failed_validation_httpcode.as_ref(),
            failed_validation_error_message: self.failed_validation_error_message.as_deref(),
        };
        common.check(at, world)
    }

    fn identifies(&self) -> bool {
        true
    }

    fn told(&self) -> String {
        let issuers = self.issuers.iter().chain(&self.issuer).map(|name| name.get_ref().as_str());
        let issuers: Vec<&str> = issuers.collect();
        let audiences = self.audiences.join(" or ");
        format!("a token of {} for {audiences}, give or take {} s", issuers.join(" or "), self.clock_skew)
    }
}

impl Table {
    /// Whose tokens pass.
    fn trusted(&self, at: &Range<usize>, world: &World<'_>) -> Result<Vec<TrustedIssuer>, SettingsError> {
        let hint = "name `issuers`; or `issuer` and `issuer_signing_keys`, where it shares keys with this API";
        match (&self.issuer, self.issuer_signing_keys.is_empty(), self.issuers.is_empty()) {
            (None, true, false) => self.issuers.iter().map(|name| world.issuer(name)).collect(),
            (Some(issuer), false, true) if self.cut_offs.is_none() => Ok(vec![TrustedIssuer {
                issuer: issuer.get_ref().clone(),
                metadata: None,
                // Nothing that is signed with a public key is taken here.
                jwks_uri: Some("https://keys.invalid/".to_owned()),
                foreign_keys_host: false,
                tenants: None,
                profile: Profile::Native,
                algorithm: None,
            }]),
            (Some(_), false, true) => {
                Err(fault(at, "an issuer that shares keys tells of no cut-offs", "drop `cut_offs`"))
            }
            (None, true, true) => Err(fault(at, "nothing says whose tokens pass", hint)),
            _ => Err(fault(at, "it is not clear whose tokens pass", hint)),
        }
    }

    fn shared(&self, world: &World<'_>) -> Result<Option<Arc<SharedKeys>>, SettingsError> {
        if self.issuer_signing_keys.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for table in &self.issuer_signing_keys {
            let SharedKeyTable { id, key, algorithm } = table.get_ref();
            let text = world.read_secret(key)?;
            let wrong = |problem: String| {
                fault(&key.span(), problem, "give at least as many random bytes as the hash has, in Base64")
            };
            let bytes = STANDARD.decode(text.expose()).map_err(|_| wrong("the key is no Base64".to_owned()))?;
            let key = SymmetricKey::new((*algorithm).into(), &bytes).map_err(|error| wrong(error.to_string()))?;
            keys.push((id.clone(), key));
        }
        Ok(Some(Arc::new(SharedKeys::new(keys))))
    }
}

impl Common<'_> {
    /// The check.
    pub(super) fn check(self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let contract = Contract {
            name: None,
            audiences: self.audiences,
            issuers: self.issuers,
            clients: self.clients.map(<[String]>::to_vec),
            routes: Vec::new(),
            skew: self.skew,
            max_token_bytes: 16_384,
            max_lifetime: self.max_lifetime,
            fail_static: 60,
            // Whoever has the key is the party that it is shared with.
            authorized_by_list: self.shared.is_some(),
            disclosure: Disclosure::default(),
            authorization_uri: None,
        };
        let claims = self.claims.iter().map(ClaimRule::read).collect::<Result<_, _>>()?;
        let place = Place::read(self.header_name, self.query_parameter_name, world)?;
        Ok(Part::Token(Arc::new(TokenCheck {
            guard: match &self.shared {
                Some(_) => world.guard_of_told(contract, at)?,
                None => world.guard(contract, self.cut_offs, at)?,
            },
            asks: None,
            shared: self.shared,
            place,
            claims,
            status: self.failed_validation_httpcode.map(refusal_status).transpose()?,
            message: self.failed_validation_error_message.map(str::to_owned),
        })))
    }
}

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
            (None, Some(name)) => Self::Parameter(name.get_ref().clone()),
            (Some(name), None) => match field_name(name)? {
                AUTHORIZATION => Self::Authorization,
                name => {
                    world.secret(name.as_str());
                    Self::Field(name)
                }
            },
            (None, None) => Self::Authorization,
        })
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
                    self.as_configured(Denial::of(check).message(text).challenge(&challenge))
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
        self.check.as_configured(Denial::of(CheckId::GatewayCredentialSingle).challenge(&challenge))
    }
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
                    Some(asks.ask(&Secret::new(token)).await.map_err(|error| Box::new(unsaid(&error)))?)
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

/// A claim that has to be there.
pub(crate) struct ClaimRule {
    name: String,
    matches: Match,
    separator: Option<String>,
    values: Vec<String>,
}

impl ClaimRule {
    pub(super) fn read(table: &Spanned<ClaimTable>) -> Result<Self, SettingsError> {
        let ClaimTable { name, matches, separator, value } = table.get_ref();
        if name.is_empty() || separator.as_deref() == Some("") {
            return Err(fault(&table.span(), "a name or a separator is empty", "say what it is, or leave it out"));
        }
        Ok(Self { name: name.clone(), matches: *matches, separator: separator.clone(), values: value.clone() })
    }

    fn judge(&self, claim: Option<&Value>) -> Result<(), CheckId> {
        let claim = claim.filter(|claim| !claim.is_null()).ok_or(CheckId::ClaimPresent)?;
        let has = |wanted: &String| match claim {
            Value::Array(items) => items.iter().any(|item| is(item, wanted)),
            Value::String(text) => match &self.separator {
                Some(separator) => text.split(separator.as_str()).any(|part| part == wanted),
                None => text == wanted,
            },
            other => is(other, wanted),
        };
        let holds = match self.matches {
            Match::All => self.values.iter().all(has),
            Match::Any => self.values.is_empty() || self.values.iter().any(has),
        };
        if holds { Ok(()) } else { Err(CheckId::ClaimAllowed) }
    }
}

/// Whether one value of a claim is this text.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => wanted == if *truth { "true" } else { "false" },
        Value::Number(number) => *wanted == *number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(matches: Match, separator: Option<&str>, values: &[&str], claim: Option<Value>) -> Result<(), CheckId> {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        let rule = ClaimRule { name: "c".into(), matches, separator: separator.map(str::to_owned), values };
        rule.judge(claim.as_ref())
    }

    #[test]
    fn a_required_claim_has_all_or_any_of_its_values() {
        use Match::{All, Any};
        for (matches, separator, values, claim, expected) in [
            (All, None, &["a", "b"][..], Some(json!(["a", "b", "c"])), Ok(())),
            (All, None, &["a", "b"], Some(json!(["a"])), Err(CheckId::ClaimAllowed)),
            (Any, None, &["a", "b"], Some(json!(["b"])), Ok(())),
            (Any, None, &["a", "b"], Some(json!(["c"])), Err(CheckId::ClaimAllowed)),
            (All, Some(" "), &["a", "b"], Some(json!("b a")), Ok(())),
            (All, Some(" "), &["a"], Some(json!("ab")), Err(CheckId::ClaimAllowed)),
            (All, None, &["a"], Some(json!("a b")), Err(CheckId::ClaimAllowed)),
            (All, None, &[], Some(json!("anything")), Ok(())),
            (Any, None, &[], Some(json!(0)), Ok(())),
            (All, None, &["7"], Some(json!(7)), Ok(())),
            (All, None, &["true"], Some(json!(true)), Ok(())),
            (All, None, &["a"], Some(json!({"a": 1})), Err(CheckId::ClaimAllowed)),
            (All, None, &["a"], None, Err(CheckId::ClaimPresent)),
            (Any, None, &[], None, Err(CheckId::ClaimPresent)),
            (All, None, &[], Some(json!(null)), Err(CheckId::ClaimPresent)),
        ] {
            assert_eq!(
                judged(matches, separator, values, claim.clone()),
                expected,
                "{matches:?} {values:?} of {claim:?}"
            );
        }
    }
}
