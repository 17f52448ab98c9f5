//! Refusals as HTTP answers: challenges (RFC 6750, RFC 9470, Entra's claims challenge) and a problem body (RFC 9457).
use crate::Principal;
use crate::bearer::MISSING;
use crate::dpop::{DPOP_NONCE, Dpop};
use axum::Json;
use axum::response::{IntoResponse, Response};
use decision::contract::{Claims, Contract, Disclosure, Route, shown};
use decision::{Check, CheckId, Entry, Outcome, Timestamp, Verdict};
use http::{HeaderValue, StatusCode, header};
use oauth::ClaimsRequest;
use oauth::challenge::{Challenge, encode_claims};
use serde_json::{Value, json};
use std::fmt;

/// A request that was refused, and all that its answer says.
#[derive(Clone, Debug)]
pub struct Refused(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    check: CheckId,
    verdict: Verdict,
    disclosure: Disclosure,
    decision_id: Option<String>,
    authorization_uri: Option<String>,
    /// The scopes of the route, as a client would ask for them.
    scopes: Vec<String>,
    acrs: Vec<String>,
    claims: Option<String>,
    dpop: Option<Proofs>,
    /// Whose token it is, where its issuer vouches for it.
    bearer: Option<Principal>,
}

/// What is told of proofs of possession (RFC 9449 section 7.1), where they are taken.
#[derive(Clone, Debug)]
struct Proofs {
    algs: String,
    /// Whether a token would have to come with one.
    instead: bool,
    nonce: Option<String>,
}

impl Refused {
    pub(crate) fn new(
        check: CheckId,
        verdict: Verdict,
        contract: &Contract,
        route: Option<&Route>,
        decision_id: String,
        authorization_uri: Option<String>,
    ) -> Self {
        let audience = contract.audience();
        let named =
            |scope: &String| if audience.contains("://") { format!("{audience}/{scope}") } else { scope.clone() };
        let scopes = route.into_iter().flat_map(|r| r.scopes.iter().chain(&r.scopes_all)).map(named).collect();
        let acrs = route.map_or(Vec::new(), |r| r.acrs.clone());
        let wanted = (check == CheckId::ContextSufficient).then(|| match acrs.as_slice() {
            [one] => json!({"access_token": {"acrs": {"essential": true, "value": one}}}),
            all => json!({"access_token": {"acrs": {"essential": true, "values": all}}}),
        });
        let claims = wanted.map(|claims| claims.to_string());
        let disclosure = contract.disclosure;
        Self(Box::new(Details {
            check,
            verdict,
            disclosure,
            decision_id: Some(decision_id),
            authorization_uri,
            scopes,
            acrs,
            claims,
            dpop: None,
            bearer: None,
        }))
    }

    /// The answer of an API whose own exchange was refused with a claims challenge: the caller must meet it, so it is
    /// passed on (spec/entra.md section 12). `claims` is the `claims` member of the token endpoint's error.
    ///
    /// ```
    /// # use deputize_guard as guard;
    /// let refused = guard::Refused::from_claims_challenge(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);
    /// assert_eq!(refused.status(), 401);
    /// assert!(refused.challenges()[0].to_string().contains(r#"error="insufficient_claims", claims="eyJhY2Nlc3N"#));
    /// ```
    pub fn from_claims_challenge(claims: &str) -> Self {
        let asked = ClaimsRequest::parse(claims);
        let acrs = asked.as_ref().and_then(|c| c.access_token("acrs")).map_or(Vec::new(), |acrs| acrs.values.clone());
        let check = Check::fail(
            CheckId::ContextSufficient,
            "the claims of the challenge",
            "an exchange downstream was refused",
        );
        Self(Box::new(Details {
            check: CheckId::ContextSufficient,
            verdict: Verdict { checks: vec![check] },
            disclosure: Disclosure::Dev,
            decision_id: None,
            authorization_uri: None,
            scopes: Vec::new(),
            acrs,
            claims: asked.map(|_| claims.to_owned()),
            dpop: None,
            bearer: None,
        }))
    }

    /// A handler wants a principal on a route that no guard stands before.
    pub(crate) fn unguarded() -> Self {
        let check = Check::fail(CheckId::RouteKnown, "the guard's layer on this route", "none")
            .fix("add `guard.layer()` to the router");
        Self(Box::new(Details {
            check: CheckId::RouteKnown,
            verdict: Verdict { checks: vec![check] },
            disclosure: Disclosure::Public,
            decision_id: None,
            authorization_uri: None,
            scopes: Vec::new(),
            acrs: Vec::new(),
            claims: None,
            dpop: None,
            bearer: None,
        }))
    }

    /// This refusal of a token that its issuer vouches for.
    pub(crate) fn with_bearer(mut self, bearer: Principal) -> Self {
        self.0.bearer = Some(bearer);
        self
    }

    /// This refusal with a challenge for a token from this moment on (Entra's continuous access evaluation).
    pub(crate) fn with_not_before(mut self, moment: Timestamp) -> Self {
        let claims = json!({"access_token": {"nbf": {"essential": true, "value": moment.0.to_string()}}});
        self.0.claims = Some(claims.to_string());
        self
    }

    /// This refusal under another id, such as the `trace_id` of the refusal that it passes on.
    pub fn with_decision_id(mut self, id: impl Into<String>) -> Self {
        self.0.decision_id = Some(id.into());
        self
    }

    /// This refusal with the address where the user can sign in again.
    pub fn with_authorization_uri(mut self, uri: impl Into<String>) -> Self {
        self.0.authorization_uri = Some(uri.into());
        self
    }

    /// This refusal where proofs of possession are taken: `proven` says whether the token came with a good one.
    pub fn with_dpop(mut self, dpop: &Dpop, proven: bool, now: Timestamp) -> Self {
        let check = self.0.check;
        let instead = proven || dpop.is_required() || check == CheckId::TokenBinding;
        let nonce = dpop.nonce(now).filter(|_| check == CheckId::DpopNonce);
        self.0.dpop = Some(Proofs { algs: dpop.algs(), instead, nonce });
        self
    }

    /// The nonce to make the next proof with: the answer's `DPoP-Nonce`.
    pub fn nonce(&self) -> Option<&str> {
        self.0.dpop.as_ref()?.nonce.as_deref()
    }

    /// The check that failed first.
    pub fn check(&self) -> CheckId {
        self.0.check
    }

    /// Every check that was made: for logs and diagnostics of the API itself.
    pub fn verdict(&self) -> &Verdict {
        &self.0.verdict
    }

    /// The claims of the token, where its issuer vouches for it: for logs, which then say whose call was refused. Nobody is to be let
    /// in by them.
    pub fn token_claims(&self) -> Option<&Claims> {
        self.0.bearer.as_ref().map(Principal::claims)
    }

    /// The id under which the refusal can be found.
    pub fn decision_id(&self) -> Option<&str> {
        self.0.decision_id.as_deref()
    }

    /// The status: 401 where another token would help, 403 where other rights would, 503 where neither can be told.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.check.entry().status).unwrap_or(StatusCode::FORBIDDEN)
    }

    /// The challenges, one for each `WWW-Authenticate` header.
    pub fn challenges(&self) -> Vec<Challenge> {
        let bearer = self.bearer_challenges();
        let Some(proofs) = &self.0.dpop else { return bearer };
        let bound = bearer.iter().map(|challenge| challenge.clone().under("DPoP").with("algs", &proofs.algs));
        if proofs.instead {
            return bound.collect();
        }
        // Who shows nothing learns of both ways.
        let also: Vec<Challenge> = bound.filter(|_| self.is_anonymous()).collect();
        bearer.into_iter().chain(also).collect()
    }

    fn bearer_challenges(&self) -> Vec<Challenge> {
        let entry = self.0.check.entry();
        if matches!(entry.status, 429 | 503) {
            return Vec::new();
        }
        let base = || {
            let bearer = Challenge::bearer().with("realm", "");
            self.0.authorization_uri.iter().fold(bearer, |c, uri| c.with("authorization_uri", uri))
        };
        if self.0.check == CheckId::ContextSufficient {
            // Two families of clients: Microsoft's read `insufficient_claims`, those of RFC 9470 the other.
            let microsoft = base().with("error", "insufficient_claims");
            let microsoft = self.0.claims.iter().fold(microsoft, |c, claims| c.with("claims", encode_claims(claims)));
            let rfc = Challenge::bearer().with("error", entry.error).with("error_description", failure(entry));
            let rfc = if self.0.acrs.is_empty() { rfc } else { rfc.with("acr_values", self.0.acrs.join(" ")) };
            return vec![microsoft, rfc];
        }
        if let (CheckId::TokenRevoked, Some(claims)) = (self.0.check, &self.0.claims) {
            return vec![base().with("error", "insufficient_claims").with("claims", encode_claims(claims))];
        }
        if self.0.disclosure == Disclosure::Public {
            let hidden = entry.status == 401 && !is_about_proof(self.0.check);
            return vec![base().with("error", if hidden { "invalid_token" } else { entry.error })];
        }
        if self.is_anonymous() {
            return vec![base()];
        }
        let told = base().with("error", entry.error).with("error_description", self.detail());
        let scoped =
            matches!(self.0.check, CheckId::ScopeSufficient | CheckId::UserRequired) && !self.0.scopes.is_empty();
        vec![if scoped { told.with("scope", self.0.scopes.join(" ")) } else { told }]
    }

    /// The body.
    pub fn problem(&self) -> Value {
        let entry = self.0.check.entry();
        let id = &self.0.decision_id;
        if self.0.disclosure == Disclosure::Public {
            let code = if entry.status == 401 { "invalid_token" } else { entry.error };
            return json!({"type": "about:blank", "title": "the request was refused", "status": entry.status, "code": code, "decision_id": id});
        }
        json!({
            "type": format!("urn:deputize:check:{}", entry.id),
            "title": failure(entry),
            "status": entry.status,
            "code": entry.id,
            "detail": self.detail(),
            "decision_id": id,
            "checks": self.told().map(|check| self.told_of(check)).collect::<Vec<_>>(),
        })
    }

    /// Without a credential there is nothing to explain, and no error (RFC 6750 section 3.1).
    fn is_anonymous(&self) -> bool {
        self.0.verdict.failed().is_some_and(|c| c.id == CheckId::TokenPresent && c.actual == MISSING)
    }

    /// Whether the token is the issuer's: only then does its bearer learn what was expected of it. A proof is its maker's own.
    fn is_proven(&self) -> bool {
        let signed = |c: &Check| c.id == CheckId::TokenSignature && c.outcome == Outcome::Pass;
        self.0.disclosure == Disclosure::Dev || is_about_proof(self.0.check) || self.0.verdict.checks.iter().any(signed)
    }

    fn told(&self) -> impl Iterator<Item = &Check> {
        let proven = self.is_proven();
        self.0.verdict.checks.iter().filter(move |c| c.outcome == Outcome::Fail && (proven || c.id == self.0.check))
    }

    fn told_of(&self, check: &Check) -> Value {
        if self.is_proven() {
            return json!(check);
        }
        json!({"id": check.id, "outcome": check.outcome, "fixer": check.fixer, "fix": check.id.entry().fix})
    }

    fn detail(&self) -> String {
        let entry = self.0.check.entry();
        match self.0.verdict.failed().filter(|_| self.is_proven()) {
            Some(check) => format!(
                "{}: expected {}, found {}; {} can mend it: {}",
                failure(entry),
                shown(&check.expected),
                shown(&check.actual),
                check.fixer.words(),
                check.fix
            ),
            None => format!("{}; {} can mend it: {}", failure(entry), entry.fixer.words(), entry.fix),
        }
    }
}

fn is_about_proof(check: CheckId) -> bool {
    matches!(check, CheckId::DpopProof | CheckId::DpopNonce | CheckId::DpopOnce | CheckId::DpopCapacity)
}

/// A check's title says what holds when it passes.
fn failure(entry: Entry) -> String {
    format!("not met: {}", entry.title)
}

/// For logs of the API itself, whatever the caller is told.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.check, self.detail())
    }
}

impl std::error::Error for Refused {}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        headers.extend(self.nonce().and_then(|nonce| Some((DPOP_NONCE, HeaderValue::from_str(nonce).ok()?))));
        for challenge in self.challenges() {
            if let Ok(value) = HeaderValue::from_str(&challenge.to_string()) {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}
