//! From a token's text to what is established about it. Nothing is decided here but what cryptography decides.
use crate::cut_offs::Facets;
use crate::judge::Asked;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decision::contract::{Claims, Contract, Presented, decide_claims, issuer_matches, shown};
use decision::{CheckId, Silent, Timestamp};
use fetch::{IssuerKeys, Lookup};
use jose::Token;
use oauth::Secret;
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};

/// A token whose signature an issuer's key confirms, and its claims.
pub(crate) struct Proven {
    pub(crate) claims: Claims,
    pub(crate) typ: Option<Box<str>>,
    /// The contract's issuer entry.
    pub(crate) issuer: usize,
    /// The key set's generation. A withdrawn key takes its tokens with it.
    pub(crate) generation: u64,
    pub(crate) kid: Option<Box<str>>,
    pub(crate) token: Secret,
    /// All that the issuer said of it, where it was asked.
    pub(crate) told: Option<Map<String, Value>>,
    /// What cut-offs find it by.
    pub(crate) facets: OnceLock<Facets>,
}

impl Proven {
    pub(crate) fn weight(&self) -> u64 {
        // The digest, the counters and the table's slots stand beside the texts.
        let facets = self.facets.get().map_or(size_of::<Facets>() + 96, Facets::weight);
        // The texts again, and the table's own.
        let told = self.told.as_ref().map_or(0, |told| 3 * serde_json::to_string(told).map_or(0, |text| text.len()));
        (self.claims.weight() + told + facets + self.token.expose().len() + size_of::<Self>() + 160) as u64
    }
}

/// What is established about a request's token.
pub(crate) enum Evidence {
    /// There is none, or none that can be read.
    Unreadable(Fault),
    /// Its claims can be read, and nobody vouches for them.
    Unproven { claims: Box<Claims>, typ: Option<Box<str>>, issuer: Option<usize>, fault: Fault },
    /// Its claims refuse it whoever vouches for them, so nobody was asked.
    Hopeless { claims: Box<Claims>, typ: Option<Box<str>>, issuer: usize },
    /// The issuer vouches for it.
    Proven(Arc<Proven>),
}

/// The check that cryptography failed, and what was found.
pub(crate) struct Fault {
    pub(crate) check: CheckId,
    pub(crate) found: String,
}

impl Fault {
    pub(crate) fn new(check: CheckId, found: impl Into<String>) -> Self {
        Self { check, found: found.into() }
    }
}

/// Keys have to be fetched first, of this issuer entry.
pub(crate) struct NeedsKeys {
    pub(crate) issuer: usize,
    claims: Box<Claims>,
    typ: Option<Box<str>>,
}

impl NeedsKeys {
    /// What is established without them, where the claims alone refuse the token on every route: then nothing need be fetched,
    /// whoever made it up.
    pub(crate) fn unless_hopeless(
        self,
        contract: &Contract,
        asked: Asked<'_>,
        now: Timestamp,
    ) -> Result<Evidence, Self> {
        let Self { issuer, claims, typ } = self;
        let entry = contract.issuers.get(issuer);
        let Asked { certificate, key, .. } = asked;
        let token = Presented { typ: typ.as_deref(), issuer: entry, claims: &claims, certificate, key };
        match decide_claims(&token, contract, None, asked.at(&claims, now), &mut Silent) {
            Err(check) if check != CheckId::RouteKnown => Ok(Evidence::Hopeless { claims, typ, issuer }),
            _ => Err(Self { issuer, claims, typ }),
        }
    }
}

/// Parses a token and verifies it with its issuer's key. With `settled`, keys that are not at hand are not asked for.
pub(crate) fn examine(
    text: &str,
    contract: &Contract,
    issuers: &[Arc<IssuerKeys>],
    now: Timestamp,
    settled: bool,
) -> Result<Evidence, NeedsKeys> {
    if text.len() > contract.max_token_bytes {
        let found = format!("{} bytes; at most {} are read", text.len(), contract.max_token_bytes);
        return Ok(Evidence::Unreadable(Fault::new(CheckId::TokenSize, found)));
    }
    let parsed = match Token::parse(text) {
        Ok(token) => token,
        Err(refusal) => return Ok(Evidence::Unreadable(Fault::new(refusal.check(), refusal.to_string()))),
    };
    // Read before they are proven because they name the issuer, whose keys are to prove them; believed only afterwards.
    let Some(claims) = claims_of(text) else {
        let found = "the payload is not canonical base64url of a JSON object that names each claim once";
        return Ok(Evidence::Unreadable(Fault::new(CheckId::TokenForm, found)));
    };
    let typ: Option<Box<str>> = parsed.header().typ.as_deref().map(Into::into);
    let issuer = contract.issuer_index(&claims);
    let fault = match issuer.and_then(|at| issuers.get(at).map(|keys| (at, keys))) {
        None => Fault::new(CheckId::TokenIssuer, claims.issuer().map_or("no issuer".into(), shown)),
        Some((at, keys)) => match verify(&parsed, &claims, keys, now, settled) {
            Ok(generation) => {
                let token = Secret::new(text);
                let kid = parsed.header().kid.as_deref().map(Into::into);
                let facets = OnceLock::new();
                return Ok(Evidence::Proven(Arc::new(Proven {
                    claims,
                    typ,
                    issuer: at,
                    generation,
                    kid,
                    token,
                    facets,
                    told: None,
                })));
            }
            Err(None) => return Err(NeedsKeys { issuer: at, claims: Box::new(claims), typ }),
            Err(Some(fault)) => fault,
        },
    };
    Ok(Evidence::Unproven { claims: Box::new(claims), typ, issuer, fault })
}

/// The generation of the key set that confirms the token; `None` in the error if keys have to be fetched first.
fn verify(
    token: &Token<'_>,
    claims: &Claims,
    keys: &Arc<IssuerKeys>,
    now: Timestamp,
    settled: bool,
) -> Result<u64, Option<Fault>> {
    let Some(kid) = token.header().kid.as_deref() else {
        return Err(Some(Fault::new(CheckId::TokenKey, "the header names no key")));
    };
    let mut found = keys.find(kid, now);
    if !settled && !matches!(found, Lookup::Found(..)) {
        if keys.may_refresh(now) {
            return Err(None);
        }
        // A fetch may have landed since the first look.
        found = keys.find(kid, now);
    }
    let (key, generation) = match found {
        Lookup::Found(key, generation) => (key, generation),
        Lookup::Unknown => {
            return Err(Some(Fault::new(
                CheckId::TokenKey,
                format!("`{}`, which the issuer does not have", shown(kid)),
            )));
        }
        Lookup::NoKeys => {
            let reason = keys.status().fault.map_or("none has been fetched".into(), |fault| fault.to_string());
            return Err(Some(Fault::new(CheckId::KeysAvailable, reason)));
        }
    };
    let iss = claims.issuer().unwrap_or_default();
    if key.issuer().is_some_and(|of| !key_serves(of, iss, claims.tenant())) {
        return Err(Some(Fault::new(CheckId::TokenKey, format!("`{}`, which is another tenant's", shown(kid)))));
    }
    match token.verify(&key) {
        Ok(_) => Ok(generation),
        Err(refusal) => Err(Some(Fault::new(refusal.check(), refusal.to_string()))),
    }
}

/// Whether a key that Entra published for an issuer (`{tenantid}` for all tenants) may sign for `iss`. The key sets of
/// both versions are one; the key names the v2 issuer also where the token is v1 (spec/entra.md section 2.3).
fn key_serves(of: &str, iss: &str, tid: Option<&str>) -> bool {
    let v1 = of.strip_suffix("v2.0").is_some_and(|of| issuer_matches(of, iss, tid));
    v1 || issuer_matches(of, iss, tid)
}

pub(crate) fn claims_of(text: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
