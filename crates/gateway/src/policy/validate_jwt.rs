//! `validate_jwt`: a token of one of these issuers, for one of these audiences. Guard verifies it; this says with what.
use super::Part;
use super::bearer::{Place, TokenCheck};
use super::required_claims::{self, ClaimRule, ClaimTable};
use crate::settings::{SettingsError, Source, Spanned, World, fault, refusal_status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use decision::contract::{Any, Contract, Disclosure, Profile, Tenants, TrustedIssuer};
use guard::SharedKeys;
use jose::symmetric::{HmacAlgorithm, SymmetricKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    /// In place of `issuers`: the one whose tokens are signed with `issuer_signing_keys`, as `iss` in them. They are read as those of an
    /// issuer of the profile `jwt`.
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
        let more = required_claims::told(
            &self.required_claims,
            self.header_name.as_ref(),
            self.query_parameter_name.as_ref(),
            self.failed_validation_httpcode.as_ref(),
        );
        let clients = self.client_application_ids.as_ref().map(|ids| format!(", of {}", ids.join(" or ")));
        let (issuers, clients) = (issuers.join(" or "), clients.unwrap_or_default());
        format!("a token of {issuers} for {audiences}{clients}, give or take {} s{more}", self.clock_skew)
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
                // Whoever signs with the key says what its claims are worth.
                tenants: Some(Tenants::Any(Any::Any)),
                profile: Profile::Jwt,
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
