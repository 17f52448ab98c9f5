//! The one decision over a token's claims and a route.
use super::claims::{Confirmation, State};
use super::{Claims, Contract, Profile, Route, Subject, SubjectKind, TrustedIssuer};
use crate::{Check, CheckId, Observe, Timestamp};
use std::borrow::Cow;
use std::fmt::Write as _;

#[cfg(test)]
mod tests;

/// What a token presents to the decision. That its signature is valid has been checked elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The header's `typ`.
    pub typ: Option<&'a str>,
    /// The contract's entry for the token's issuer ([`Contract::issuer_of`]); without one nothing passes.
    pub issuer: Option<&'a TrustedIssuer>,
    /// The claims.
    pub claims: &'a Claims,
    /// The SHA-256 thumbprint, in base64url, of the certificate with which its bearer opened the connection, if it is known that
    /// it did.
    pub certificate: Option<&'a str>,
    /// The SHA-256 thumbprint, in base64url, of the key that its bearer has proved to hold for this request, where the token was
    /// presented as one that is bound to it (RFC 9449).
    pub key: Option<&'a str>,
}

/// Makes checks one after the other: an observer that is not exhaustive ends the decision at the first failure.
#[derive(Debug)]
pub struct Steps<'o, O> {
    observer: &'o mut O,
    first: Option<CheckId>,
}

impl<'o, O: Observe> Steps<'o, O> {
    /// Starts a decision.
    pub fn new(observer: &'o mut O) -> Self {
        Self { observer, first: None }
    }

    /// Makes one check. `say` gives what was expected, what was found, and advice more exact than the catalogue's; it is
    /// only called by observers that keep it, so that a check which nobody reads allocates nothing.
    ///
    /// # Errors
    /// If it fails and the observer wants no more.
    pub fn check(
        &mut self,
        id: CheckId,
        holds: bool,
        say: impl FnOnce() -> (String, String, Option<String>),
    ) -> Result<(), CheckId> {
        self.observer.saw(|| {
            let (expected, actual, fix) = say();
            let check = if holds { Check::pass(id, expected, actual) } else { Check::fail(id, expected, actual) };
            match fix {
                Some(fix) if !holds => check.fix(fix),
                _ => check,
            }
        });
        if holds {
            return Ok(());
        }
        self.first = self.first.or(Some(id));
        if O::EXHAUSTIVE { Ok(()) } else { Err(id) }
    }

    /// Notes a check that cannot be made, and why.
    pub fn skip(&mut self, id: CheckId, why: &str) {
        self.observer.saw(|| Check::skipped(id, why));
    }

    /// The end: the first check that failed, if one did.
    ///
    /// # Errors
    /// That check.
    pub fn end(self) -> Result<(), CheckId> {
        self.first.map_or(Ok(()), Err)
    }
}

/// A text of a token as it may be shown: escaped but for apostrophes, which sentences have too, and not longer than a line.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(120));
    for c in text.chars().take(120) {
        if c == '\'' {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    if text.chars().nth(120).is_some() {
        shown.push('…');
    }
    shown
}

/// Decides whether a verified token may call a route of the API. `None` for the route means that the contract has none.
///
/// The same function enforces (with [`crate::Silent`]: stops at the first failure, allocates nothing) and explains (with
/// [`crate::Collect`]: makes every check).
///
/// # Errors
/// The first check that failed.
pub fn decide_claims<O: Observe>(
    token: &Presented<'_>,
    contract: &Contract,
    route: Option<&Route>,
    now: Timestamp,
    observer: &mut O,
) -> Result<(), CheckId> {
    let mut steps = Steps::new(observer);
    let Some(issuer) = token.issuer else { return without_issuer(steps, token.claims, contract) };
    identity(&mut steps, token, contract, issuer)?;
    times(&mut steps, token.claims, contract, issuer.profile, now)?;
    audience(&mut steps, token.claims, contract)?;
    binding(&mut steps, token, route)?;
    let allowed = |client: &str| contract.clients.as_ref().is_none_or(|known| known.iter().any(|c| c == client));
    // Who asked for a token, not every provider says.
    let anybody = issuer.profile == Profile::Jwt && contract.clients.is_none();
    steps.check(CheckId::TokenClient, token.claims.client().map_or(anybody, allowed), || {
        let expected = contract.clients.as_ref().map_or("any application".into(), |known| one_of(known));
        let client = or_nothing(token.claims.client());
        let fix = format!("add the application `{client}` to `clients` of the contract, if it is meant to call");
        (expected, client, Some(fix))
    })?;
    steps.check(CheckId::RouteKnown, route.is_some(), || {
        (
            "a route of the contract".into(),
            route.map_or("none matches".into(), |r| format!("{} {}", r.method, r.path)),
            None,
        )
    })?;
    if let Some(route) = route {
        permissions(&mut steps, token.claims, contract, route, issuer.profile)?;
    }
    steps.end()
}

fn without_issuer<O: Observe>(mut steps: Steps<'_, O>, claims: &Claims, contract: &Contract) -> Result<(), CheckId> {
    steps.check(CheckId::TokenIssuer, false, || {
        let known: Vec<String> = contract.issuers.iter().map(|entry| entry.issuer.clone()).collect();
        (one_of(&known), or_nothing(claims.issuer()), None)
    })?;
    steps.skip(CheckId::TokenType, "its rules are those of an issuer that the contract does not trust");
    steps.end()
}

fn identity<O: Observe>(
    steps: &mut Steps<'_, O>,
    token: &Presented<'_>,
    contract: &Contract,
    issuer: &TrustedIssuer,
) -> Result<(), CheckId> {
    let Presented { typ, claims, .. } = token;
    let foreign = mark_of_another_kind(claims, issuer.profile);
    steps.check(CheckId::TokenType, issuer.profile.accepts_typ(*typ) && foreign.is_none(), || {
        let expected = match issuer.profile {
            Profile::Entra => "typ `JWT`, and no claim of another kind of token",
            Profile::Native => "typ `at+jwt`, and no claim of another kind of token",
            Profile::Jwt => "typ `JWT`, `at+jwt` or none, and no claim of another kind of token",
        };
        let mark = foreign.map_or(String::new(), |mark| format!(", {mark}"));
        (expected.into(), format!("typ `{}`{mark}", or_nothing(*typ)), None)
    })?;
    let flawed = flaws(claims, issuer.profile, contract.authorized_by_list).next().is_some();
    steps.check(CheckId::TokenClaims, !flawed, || {
        let found = flaws(claims, issuer.profile, contract.authorized_by_list).fold(
            String::new(),
            |mut all, (name, problem)| {
                let _ = write!(all, "{}`{name}` {problem}", if all.is_empty() { "" } else { ", " });
                all
            },
        );
        let fix =
            (!found.is_empty()).then(|| format!("send an access token of the configured issuer; in this one {found}"));
        ("every required claim, of its type".into(), if found.is_empty() { "all sound".into() } else { found }, fix)
    })?;
    let iss = claims.issuer().unwrap_or_default();
    let fits =
        super::issuer_matches(&issuer.issuer, iss, claims.tenant()) && issuer.accepts_tenant(iss, claims.tenant());
    steps.check(CheckId::TokenTenant, fits, || {
        let expected = match &issuer.tenants {
            Some(super::Tenants::Listed(known)) => one_of(known),
            Some(super::Tenants::Any(_)) => "the tenant that `iss` names".into(),
            None => format!("the tenant of `{}`", issuer.issuer),
        };
        let tid = or_nothing(claims.tenant());
        let fix = format!("sign in to an accepted tenant, or add `{tid}` to `tenants` of the issuer in the contract");
        (expected, tid, Some(fix))
    })
}

fn mark_of_another_kind(claims: &Claims, profile: Profile) -> Option<&'static str> {
    let has_rights = claims.scopes().next().is_some() || claims.roles().next().is_some();
    let is_to_its_client = || claims.client().is_some_and(|client| claims.audiences().any(|aud| aud == client));
    let marks = [
        // Older Keycloaks write it into access tokens too.
        ("with `nonce`", claims.nonce.0 && !(profile == Profile::Jwt && claims.scopes().next().is_some())),
        ("with `events`", claims.events.0),
        ("with `token_introspection`", claims.token_introspection.0),
        ("with `at_hash`", claims.at_hash.0),
        ("with `c_hash`", claims.c_hash.0),
        (
            "for the application that asked for it, as ID tokens are",
            profile == Profile::Jwt && !has_rights && is_to_its_client(),
        ),
    ];
    marks.into_iter().find(|(_, is_there)| *is_there).map(|(mark, _)| mark)
}

/// What is wrong with the claims' presence and shape, by name.
fn flaws(claims: &Claims, profile: Profile, by_list: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (entra, native, jwt) = (profile == Profile::Entra, profile == Profile::Native, profile == Profile::Jwt);
    let by_list = by_list || jwt;
    let v1 = claims.version() == Some("1.0");
    let states = [
        ("iss", claims.iss.state(), true),
        ("sub", claims.sub.state(), true),
        ("aud", claims.aud.state(), true),
        ("exp", claims.exp.state(), true),
        ("iat", claims.iat.state(), !jwt),
        ("nbf", claims.nbf.state(), false),
        ("tid", claims.tid.state(), entra),
        ("oid", claims.oid.state(), entra),
        // Some write a number.
        ("ver", if jwt { State::Absent } else { claims.ver.state() }, entra),
        ("azp", claims.azp.state(), entra && !v1),
        ("appid", claims.appid.state(), entra && v1),
        ("client_id", claims.client_id.state(), native),
        ("cid", claims.cid.state(), false),
        ("uti", claims.uti.state(), entra && claims.jti.state() == State::Absent),
        ("jti", claims.jti.state(), native),
        ("scp", claims.scp.of_scopes(jwt), false),
        ("scope", claims.scope.of_scopes(jwt), false),
        ("roles", claims.roles.of_roles(jwt), false),
        ("acrs", claims.acrs.state(), false),
        ("idtyp", claims.idtyp.state(), false),
        ("act", claims.act.state(), false),
    ];
    let shapes = states.into_iter().filter_map(|(name, state, required)| match state {
        State::Malformed => Some((name, "is malformed")),
        State::Absent if required => Some((name, "is missing")),
        _ => None,
    });
    let kind = claims.subject_kind();
    let scoped = claims.scopes().next().is_some();
    let named = [&claims.azp, &claims.appid, &claims.client_id];
    let clients_agree = named.iter().filter_map(|c| c.value()).all(|client| Some(client.as_ref()) == claims.client());
    let sense = [
        // An ID token has neither, and a token without rights calls nothing.
        (
            kind.is_none() && !(by_list && claims.idtyp.state() == State::Absent),
            "idtyp",
            "is not `user` or `app`, and neither `scp` nor `roles` says which",
        ),
        (
            kind.is_some() && !by_list && !scoped && claims.roles().next().is_none(),
            "scp",
            "is missing, and `roles` too",
        ),
        (entra && kind == Some(SubjectKind::User) && !scoped, "scp", "is missing in a user's token"),
        (
            claims.idtyp.state() == State::Sound && kind == Some(SubjectKind::App) && scoped,
            "scp",
            "stands in an app-only token",
        ),
        (entra && !v1 && claims.version().is_some_and(|ver| ver != "2.0"), "ver", "is neither `1.0` nor `2.0`"),
        (!clients_agree, "azp", "disagrees with `appid` or `client_id`"),
    ];
    shapes.chain(sense.into_iter().filter(|(wrong, ..)| *wrong).map(|(_, name, problem)| (name, problem)))
}

fn times<O: Observe>(
    steps: &mut Steps<'_, O>,
    claims: &Claims,
    contract: &Contract,
    profile: Profile,
    now: Timestamp,
) -> Result<(), CheckId> {
    let skew = contract.skew;
    let exp = claims.expires();
    // As late as can be, where it may be left out.
    let latest = || exp.filter(|_| profile == Profile::Jwt).map(|exp| now.min(exp.plus(-1)));
    let (Some(exp), Some(iat)) = (exp, claims.issued_at().or_else(latest)) else {
        for id in [CheckId::TokenLifetime, CheckId::TokenNotBefore, CheckId::TokenExpired] {
            steps.skip(id, "`exp` or `iat` cannot be read");
        }
        return Ok(());
    };
    let nbf = claims.not_before();
    let longest = contract.max_lifetime.unwrap_or(profile.max_lifetime());
    let ordered = iat < exp && nbf.is_none_or(|nbf| nbf < exp) && iat <= now.plus(skew);
    steps.check(CheckId::TokenLifetime, ordered && exp.since(iat) <= longest, || {
        (
            format!("issued before now, and at most {longest} s before its end"),
            format!("issued {iat}, ends {exp}"),
            None,
        )
    })?;
    steps.check(CheckId::TokenNotBefore, nbf.is_none_or(|nbf| nbf <= now.plus(skew)), || {
        (
            format!("valid at {now}, give or take {skew} s"),
            nbf.map_or("no `nbf`".into(), |nbf| format!("valid from {nbf}")),
            None,
        )
    })?;
    steps.check(CheckId::TokenExpired, exp.plus(skew) > now, || {
        let fix = format!("renew the token; it ended {} s ago", now.since(exp));
        // Within the skew a token passes that has ended.
        let ends = if exp > now { "ends" } else { "ended" };
        (format!("valid at {now}, give or take {skew} s"), format!("{ends} {exp}"), Some(fix))
    })
}

/// A token that is bound to a certificate comes over a connection that was opened with it (RFC 8705 section 3); one that is bound
/// to a key comes with a proof of it, and no other token does (RFC 9449 section 7.1); one that is bound to something else never
/// comes.
fn binding<O: Observe>(steps: &mut Steps<'_, O>, token: &Presented<'_>, route: Option<&Route>) -> Result<(), CheckId> {
    let demanded = route.is_some_and(|route| route.certificate_bound);
    let key_demanded = route.is_some_and(|route| route.key_bound);
    let holds = match &token.claims.cnf {
        Confirmation::Nothing => !demanded && !key_demanded && token.key.is_none(),
        Confirmation::Certificate(bound) => {
            !key_demanded && token.key.is_none() && token.certificate == Some(bound.as_ref())
        }
        Confirmation::Key(bound) => !demanded && token.key == Some(bound.as_ref()),
        Confirmation::Unknown => false,
    };
    steps.check(CheckId::TokenBinding, holds, || {
        let (found, fix) = match (&token.claims.cnf, token.certificate, token.key) {
            (Confirmation::Nothing, _, Some(_)) => {
                ("absent, and a proof".to_owned(), "send this token as `Bearer`: it is bound to no key")
            }
            (Confirmation::Nothing, ..) if key_demanded => {
                ("absent".to_owned(), "ask for a token that is bound to your key, and send it as `DPoP` with a proof")
            }
            (Confirmation::Nothing, ..) => {
                ("absent".to_owned(), "ask for a token that is bound to the certificate of the connection")
            }
            (Confirmation::Certificate(bound), _, _) if key_demanded || token.key.is_some() => (
                format!("`x5t#S256` {}", shown(bound)),
                "ask for a token that is bound to your key, and send it as `DPoP` with a proof",
            ),
            (Confirmation::Certificate(bound), None, _) => {
                (format!("`x5t#S256` {}, and no certificate", shown(bound)), "open the connection with the certificate")
            }
            (Confirmation::Certificate(bound), Some(other), _) => (
                format!("`x5t#S256` {}, and the certificate {other}", shown(bound)),
                "open the connection with the certificate that the token is bound to",
            ),
            (Confirmation::Key(bound), _, None) => (
                format!("`jkt` {}, and no proof", shown(bound)),
                "send the token as `DPoP`, with a proof of the key that it is bound to, where the API takes proofs",
            ),
            (Confirmation::Key(bound), _, Some(other)) => (
                format!("`jkt` {}, and a proof of the key {other}", shown(bound)),
                "make the proof with the key that the token is bound to",
            ),
            (Confirmation::Unknown, ..) => {
                ("present".to_owned(), "ask for a bearer token: this API verifies no such proof of possession")
            }
        };
        let expected = match (demanded, key_demanded || token.key.is_some(), token.certificate) {
            (true, true, _) => "`cnf` with a certificate and a key, which no token has",
            (true, false, _) => "`cnf` with the connection's certificate",
            (false, true, _) => "`cnf` with the key of the proof",
            (false, false, Some(_)) => "no `cnf`, or one with the connection's certificate",
            (false, false, None) => "no `cnf`",
        };
        (expected.into(), found, Some(fix.into()))
    })
}

fn audience<O: Observe>(steps: &mut Steps<'_, O>, claims: &Claims, contract: &Contract) -> Result<(), CheckId> {
    let ours = claims.audiences().any(|aud| contract.audiences.iter().any(|known| known == aud));
    steps.check(CheckId::TokenAudience, ours, || {
        let found = claims.audiences().map(shown).collect::<Vec<_>>().join(" ");
        let us = contract.audience();
        let fix = if found.is_empty() {
            format!("ask for a token for `{us}`")
        } else {
            let by = claims.client().map_or(String::new(), |client| format!(" to application `{}`", shown(client)));
            format!(
                "this token was issued{by} for `{found}` and forwarded here; as `{found}`, exchange it on behalf of the user \
                 for one for `{us}`; as a client, ask for a token for `{us}`"
            )
        };
        (one_of(&contract.audiences), if found.is_empty() { "nothing".into() } else { found }, Some(fix))
    })
}

fn permissions<O: Observe>(
    steps: &mut Steps<'_, O>,
    claims: &Claims,
    contract: &Contract,
    route: &Route,
    profile: Profile,
) -> Result<(), CheckId> {
    let by_list = contract.authorized_by_list || profile == Profile::Jwt;
    let Some(kind) = claims.subject_kind() else {
        let demands = [&route.scopes, &route.scopes_all, &route.roles, &route.app_roles, &route.acrs];
        if by_list && demands.iter().any(|list| !list.is_empty()) {
            return steps.check(CheckId::ScopeSufficient, false, || {
                (demand(&route.scopes, &route.scopes_all), "neither scopes nor roles".into(), None)
            });
        }
        let unmet = match route.subject() {
            Subject::User => Some((CheckId::UserRequired, "a user's token")),
            Subject::App => Some((CheckId::AppOnlyRequired, "an app-only token")),
            Subject::Either => None,
        };
        if let Some((id, wanted)) = unmet.filter(|_| by_list) {
            steps.check(id, false, || (wanted.into(), "a token that does not say whose it is".into(), None))?;
        }
        for id in [CheckId::UserRequired, CheckId::ScopeSufficient, CheckId::RoleSufficient, CheckId::ContextSufficient]
        {
            steps.skip(id, "the token says neither that it is a user's nor that it is an application's");
        }
        return Ok(());
    };
    let user = kind == SubjectKind::User;
    let (user_token, app_token) = ("a user's token", "an app-only token");
    let meant = match route.subject() {
        Subject::User => Some((CheckId::UserRequired, user, user_token)),
        Subject::App => Some((CheckId::AppOnlyRequired, !user, app_token)),
        Subject::Either => None,
    };
    if let Some((id, holds, wanted)) = meant {
        let found = if user { user_token } else { app_token };
        steps.check(id, holds, || (wanted.into(), found.into(), None))?;
        if !holds {
            // No right of such a token would help here, so none is asked for.
            for id in [CheckId::ScopeSufficient, CheckId::RoleSufficient, CheckId::ContextSufficient] {
                steps.skip(id, &format!("this route is for {wanted}, and this is {found}"));
            }
            return Ok(());
        }
    }
    let audience = contract.audience();
    // Entra's app-only tokens have no scopes; other issuers give applications scopes where a route names no app roles.
    if user || route.app_roles.is_empty() {
        let has = |scope: &String| claims.scopes().any(|s| s == scope);
        let enough = (route.scopes.is_empty() || route.scopes.iter().any(has)) && route.scopes_all.iter().all(has);
        steps.check(CheckId::ScopeSufficient, enough, || {
            let wanted = route.scopes.first().into_iter().filter(|_| !route.scopes.iter().any(has));
            let missing: Vec<_> = wanted.chain(route.scopes_all.iter().filter(|s| !has(s))).collect();
            let named = missing.iter().map(|s| format!("`{audience}/{s}`")).collect::<Vec<_>>().join(" and ");
            let fix = format!("ask for a token with scope {named}; from another API exchange it on behalf of the user");
            (demand(&route.scopes, &route.scopes_all), list(claims.scopes()), Some(fix))
        })?;
    }
    let roles = if user { &route.roles } else { &route.app_roles };
    let enough = roles.is_empty() || roles.iter().any(|role| claims.roles().any(|r| r == role));
    steps.check(CheckId::RoleSufficient, enough, || {
        let role = roles.first().map_or("", String::as_str);
        let whom = if user {
            format!("user `{}`", or_nothing(claims.object_id().or_else(|| claims.subject())))
        } else {
            format!("application `{}`", or_nothing(claims.client()))
        };
        let fix = format!("assign {whom} the app role `{role}` at `{audience}`, then get a new token");
        (demand(roles, &[]), list(claims.roles()), Some(fix))
    })?;
    if !user {
        return Ok(());
    }
    // As RFC 9470 section 3 and `values` of a claims request mean it: a challenge with several is met by one of them.
    let strong = route.acrs.is_empty() || claims.contexts(profile).any(|met| route.acrs.iter().any(|acr| acr == met));
    steps.check(CheckId::ContextSufficient, strong, || {
        let fix = format!("sign in again with the authentication context of the challenge: {}", one_of(&route.acrs));
        (demand(&route.acrs, &[]), list(claims.contexts(profile)), Some(fix))
    })
}

fn or_nothing(text: Option<&str>) -> String {
    text.map_or("nothing".into(), shown)
}

fn one_of(known: &[String]) -> String {
    match known {
        [one] => one.clone(),
        _ => format!("one of {}", known.join(" ")),
    }
}

fn demand(any: &[String], all: &[String]) -> String {
    match (any, all) {
        ([], []) => "none".into(),
        ([], all) => all.join(" "),
        (any, []) => one_of(any),
        (any, all) => format!("{}, and {}", one_of(any), all.join(" ")),
    }
}

fn list<'a>(found: impl Iterator<Item = &'a str>) -> String {
    let found: Vec<Cow<'_, str>> = found.map(|s| Cow::Owned(shown(s))).collect();
    if found.is_empty() { "none".into() } else { found.join(" ") }
}
