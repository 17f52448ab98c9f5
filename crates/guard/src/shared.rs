//! Tokens that their issuer signs with a key that it shares with one API (HMAC, RFC 7518 section 3.2). Such a key stands in a policy
//! and in no key set, and has a verifier of its own: no public key can be taken for one.
use crate::evidence::{Evidence, Fault, Proven, claims_of};
use crate::judge::Asked;
use crate::{Guard, Held, Principal, Refused, bearer, completed};
use decision::contract::{Claims, Route};
use decision::{CheckId, Timestamp, Verdict};
use jose::Token;
use jose::symmetric::SymmetricKey;
use oauth::Secret;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The keys that an issuer and one API share: several, while they are replaced.
pub struct SharedKeys(Vec<(Option<String>, SymmetricKey)>);

impl SharedKeys {
    /// Each with the `kid` of the tokens that it is for, or for all.
    pub fn new(keys: Vec<(Option<String>, SymmetricKey)>) -> Self {
        Self(keys)
    }

    /// What the keys say of a token.
    fn verify(&self, token: &Token<'_>) -> Result<Map<String, Value>, Fault> {
        let kid = token.header().kid.as_deref();
        let mut fault = Fault::new(CheckId::TokenKey, "none of the shared keys has its name");
        for (name, key) in &self.0 {
            if name.is_some() && kid.is_some() && name.as_deref() != kid {
                continue;
            }
            match key.verify(token).and_then(|verified| verified.map()) {
                Ok(claims) => return Ok(claims),
                Err(refusal) => fault = Fault::new(refusal.check(), refusal.to_string()),
            }
        }
        Err(fault)
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedKeys").field(&self.0.len()).finish()
    }
}

impl Guard {
    /// Decides as [`check_for`](Self::check_for) does, on a token that one of these keys signed: its claims are those of the
    /// contract's only issuer, and what it leaves out but `iss`, `aud` and `exp` goes without saying.
    ///
    /// # Errors
    /// If the request is refused.
    pub fn check_shared(
        &self,
        keys: &SharedKeys,
        authorization: Option<&str>,
        route: &Route,
        held: Held<'_>,
    ) -> Result<Principal, Refused> {
        let (evidence, asked) = self.shared(keys, authorization, route, held, self.now());
        self.decide(&evidence, asked)
    }

    /// Every check of such a token, as [`explain_for`](Self::explain_for) tells them.
    pub fn explain_shared(
        &self,
        keys: &SharedKeys,
        authorization: Option<&str>,
        route: &Route,
        held: Held<'_>,
    ) -> Verdict {
        let now = self.now();
        let (evidence, asked) = self.shared(keys, authorization, route, held, now);
        self.observe(&evidence, asked, now)
    }

    fn shared<'a>(
        &self,
        keys: &SharedKeys,
        authorization: Option<&str>,
        route: &'a Route,
        held: Held<'a>,
        now: Timestamp,
    ) -> (Evidence, Asked<'a>) {
        let mut asked = Asked::by(Some(route), held);
        let evidence = match bearer::token(authorization, asked.key) {
            Ok((text, key)) => {
                asked.key = key;
                self.examine_shared(keys, text, now).unwrap_or_else(Evidence::Unreadable)
            }
            Err(found) => Evidence::Unreadable(Fault::new(CheckId::TokenPresent, found)),
        };
        (evidence, asked)
    }

    fn examine_shared(&self, keys: &SharedKeys, text: &str, now: Timestamp) -> Result<Evidence, Fault> {
        let most = self.contract().max_token_bytes;
        if text.len() > most {
            return Err(Fault::new(CheckId::TokenSize, format!("{} bytes; at most {most} are read", text.len())));
        }
        let token = Token::parse(text).map_err(|refusal| Fault::new(refusal.check(), refusal.to_string()))?;
        let unread = || Fault::new(CheckId::TokenForm, "the payload is no JSON object that names each claim once");
        let claims = claims_of(text).ok_or_else(unread)?;
        let typ: Option<Box<str>> = token.header().typ.as_deref().map(Into::into);
        let issuer = self.contract().issuer_index(&claims);
        let unproven = |fault| Evidence::Unproven { claims: Box::new(claims.clone()), typ: typ.clone(), issuer, fault };
        let Some(issuer) = issuer else {
            let found = claims.issuer().unwrap_or("no issuer").to_owned();
            return Ok(unproven(Fault::new(CheckId::TokenIssuer, decision::contract::shown(&found))));
        };
        let told = match keys.verify(&token) {
            Ok(told) => told,
            Err(fault) => return Ok(Evidence::Unproven { claims: Box::new(claims), typ, issuer: Some(issuer), fault }),
        };
        let token = Secret::new(text);
        let completed = completed(told.clone(), None, &token, now);
        let claims: Claims = serde_json::from_value(Value::Object(completed)).map_err(|_| unread())?;
        let (kid, facets) = (None, OnceLock::new());
        let proven = Proven { claims, typ, issuer, generation: 0, kid, token, facets, told: Some(told) };
        Ok(Evidence::Proven(Arc::new(proven)))
    }
}
