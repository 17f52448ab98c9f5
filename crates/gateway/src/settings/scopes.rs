//! The policies of scopes, put together: narrower ones after wider ones, which they take away only by name.
use super::world::World;
use super::{SettingsError, fault};
use crate::policy::cors::Cors;
use crate::policy::{self, Bearer, Part, Phase, SignInCheck, SignedIn, SubscriptionKey, Tables, TokenCheck};
use crate::routes::{Asked, Rules, Told};
use decision::contract::Route;
use guard::Dpop;
use std::ops::Range;
use std::sync::Arc;

/// The policies of one scope, each read once.
pub(super) struct Read<'a> {
    label: String,
    tables: &'a Tables,
    pub(super) parts: Vec<Placed>,
}

#[derive(Clone)]
pub(super) struct Placed {
    name: &'static str,
    pub(super) at: Range<usize>,
    pub(super) part: Part,
    identifies: bool,
    text: String,
}

/// What a scope demands of a token.
struct Demanded {
    route: Arc<Route>,
    at: Range<usize>,
    /// Whether a condition comes with it, which is about the last token that was checked.
    is_conditional: bool,
    /// So many token checks stand in its own scope and in wider ones. It is about the last of them: that a narrower scope checks
    /// another token does not settle it.
    checks: usize,
}

/// What the scopes of one operation come to.
pub(super) struct Applied {
    pub(super) rules: Rules,
    pub(super) subscription: Option<Arc<SubscriptionKey>>,
    pub(super) tokens: Vec<Arc<TokenCheck>>,
    pub(super) identifies: bool,
    /// The same for a call without a key.
    pub(super) identifies_without_key: bool,
    pub(super) cors: Option<Arc<Cors>>,
    pub(super) dpop: Option<Arc<Dpop>>,
    /// Whether a session's token is among what the service would be sent with `passthrough`, and must not be.
    pub(super) hides_tokens: bool,
}

impl<'a> Read<'a> {
    pub(super) fn scope(label: String, tables: &'a Tables, world: &mut World<'_>) -> Result<Self, SettingsError> {
        world.place.clone_from(&label);
        let mut parts = Vec::new();
        for entry in tables.entries() {
            parts.push(Placed {
                name: entry.name,
                part: entry.table.part(&entry.at, world)?,
                identifies: entry.table.identifies(),
                text: entry.table.told(),
                at: entry.at,
            });
        }
        for name in &tables.mandatory {
            if !parts.iter().any(|placed| placed.name == name.get_ref()) {
                let problem = format!("`{}` is mandatory, and is not among the policies here", name.get_ref());
                return Err(fault(&name.span(), problem, "add it, or take it out of `mandatory`"));
            }
        }
        Ok(Self { label, tables, parts })
    }
}

/// Puts scopes together, the widest first.
pub(super) fn applied(scopes: &[&Read<'_>]) -> Result<Applied, SettingsError> {
    let mut kept: Vec<(&Read<'_>, &Placed)> = Vec::new();
    for scope in scopes {
        for name in &scope.tables.remove {
            let is = |placed: &Placed| placed.name == name.get_ref();
            if !policy::NAMES.contains(&name.get_ref().as_str()) {
                let problem = format!("`{}` is no policy", name.get_ref());
                return Err(fault(&name.span(), problem, format!("expected one of: {}", policy::NAMES.join(", "))));
            }
            let wider = kept.iter().find(|(_, placed)| is(placed)).map(|(scope, _)| *scope);
            let Some(wider) = wider else {
                let problem = format!("no wider scope has `{}`", name.get_ref());
                return Err(fault(&name.span(), problem, "take it out of `remove`"));
            };
            let demands = |scope: &&Read<'_>| scope.tables.mandatory.iter().any(|m| m.get_ref() == name.get_ref());
            if kept.iter().any(|(scope, placed)| is(placed) && demands(scope)) {
                let problem = format!("`{}` of {} is mandatory", name.get_ref(), wider.label);
                return Err(fault(&name.span(), problem, "keep it, or take it out of `mandatory` there"));
            }
            kept.retain(|(_, placed)| !is(placed));
        }
        kept.extend(scope.parts.iter().map(|placed| (*scope, placed)));
    }
    let mut all: Vec<Asked> = Vec::new();
    let mut tokens: Vec<(&'static str, Arc<TokenCheck>)> = Vec::new();
    let mut demands: Vec<Demanded> = Vec::new();
    // The first scope that checks tokens, and how many checks stand there.
    let mut first: Option<(&Read<'_>, usize)> = None;
    let (mut subscription, mut cors, mut dpop) = (None, None, None);
    let mut sign_in: Option<Arc<SignInCheck>> = None;
    for (scope, placed) in &kept {
        match &placed.part {
            Part::Rule(rule) => all.push(Asked { name: placed.name, policy: Arc::clone(rule) }),
            Part::Token(check) => {
                tokens.push((placed.name, Arc::clone(check)));
                if first.is_none_or(|(first, _)| std::ptr::eq(first, *scope)) {
                    first = Some((*scope, tokens.len()));
                }
            }
            // In the table of policies, what checks a token stands before what demands something of it.
            Part::Demand(route, condition) => {
                demands.push(Demanded {
                    route: Arc::clone(route),
                    at: placed.at.clone(),
                    is_conditional: condition.is_some(),
                    checks: tokens.len(),
                });
                all.extend(condition.iter().map(|rule| Asked { name: placed.name, policy: Arc::clone(rule) }));
            }
            Part::Subscription(key) if subscription.is_none() => subscription = Some(Arc::clone(key)),
            Part::Subscription(_) => {
                let hint = "add `remove = [\"subscription_key\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already where the key is", hint));
            }
            Part::SignIn(check) if sign_in.is_none() => sign_in = Some(Arc::clone(check)),
            Part::SignIn(_) => {
                let hint = "add `remove = [\"sign_in\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already that people sign in", hint));
            }
            Part::Cors(rule) if cors.is_none() => cors = Some(Arc::clone(rule)),
            Part::Cors(_) => {
                let hint = "add `remove = [\"cors\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already which origins may call", hint));
            }
            Part::Dpop(proofs) if dpop.is_none() => dpop = Some((Arc::clone(proofs), placed.at.clone())),
            Part::Dpop(_) => {
                let hint = "add `remove = [\"dpop\"]` beside this one, or drop it";
                return Err(fault(&placed.at, "a wider scope says already which proofs are taken", hint));
            }
        }
    }
    let dpop = dpop.map(|(dpop, at)| proofs(dpop, &at, &tokens, &demands)).transpose()?;
    if let Some(demanded) = demands.first().filter(|_| tokens.is_empty()) {
        let hint = "add `validate_jwt` or `validate_azure_ad_token`";
        return Err(fault(&demanded.at, "`require` has no token to look at", hint));
    }
    // Where neither its own scope nor a wider one checks a token, a narrower one does.
    for demanded in demands.iter_mut().filter(|demanded| demanded.checks == 0) {
        demanded.checks = first.map_or(0, |(_, checks)| checks);
    }
    if let Some(demanded) = demands.iter().find(|demanded| demanded.is_conditional && demanded.checks < tokens.len()) {
        let hint = "write `expression` in the `require` of that scope, or take the check of the wider one away there";
        let problem = "a narrower scope checks another token, which the condition would be about";
        return Err(fault(&demanded.at, problem, hint));
    }
    let is_deaf = |demanded: &Demanded| {
        let check = demanded.checks.checked_sub(1).and_then(|at| tokens.get(at));
        check.is_some_and(|(_, check)| !check.hears_of_cut_offs())
    };
    if let Some(demanded) = demands.iter().find(|demanded| demanded.route.live_cut_offs && is_deaf(demanded)) {
        let hint = "add `cut_offs` to the check of the token, or drop `live_cut_offs`";
        return Err(fault(&demanded.at, "nobody tells what was cut off, so nobody would be let in", hint));
    }
    let looked_at = tokens.iter().any(|(_, check)| check.is_in_authorization());
    let hides_tokens = looked_at && sign_in.as_ref().is_some_and(|check| !check.forwards_tokens);
    // Before the token checks: these look at the session's token.
    all.extend(sign_in.map(|check| Asked { name: "sign_in", policy: Arc::new(SignedIn::new(check, looked_at)) }));
    for (at, (name, check)) in tokens.iter().enumerate() {
        let of_this = demands.iter().filter(|demanded| demanded.checks == at + 1);
        let of_this = of_this.map(|demanded| Arc::clone(&demanded.route)).collect();
        all.push(Asked { name, policy: Arc::new(Bearer::new(Arc::clone(check), of_this, dpop.clone())) });
    }
    all.sort_by_key(|asked| asked.policy.phase());
    let (before, rewrites): (Vec<_>, Vec<_>) = all.into_iter().partition(|asked| asked.policy.phase() < Phase::Rewrite);
    let told = |(scope, placed): &(&Read<'_>, &Placed)| Told {
        scope: scope.label.clone(),
        policy: placed.name,
        text: placed.text.clone(),
    };
    Ok(Applied {
        rules: Rules {
            before,
            rewrites: rewrites.into_iter().map(|asked| asked.policy).collect(),
            told: kept.iter().map(told).collect(),
        },
        subscription,
        cors,
        dpop,
        hides_tokens,
        tokens: tokens.into_iter().map(|(_, check)| check).collect(),
        identifies: kept.iter().any(|(_, placed)| placed.identifies),
        identifies_without_key: kept.iter().any(|(_, p)| p.identifies && !matches!(p.part, Part::Subscription(_))),
    })
}

/// Proofs of possession, where the tokens of an operation can come with some.
fn proofs(
    dpop: Arc<Dpop>,
    at: &Range<usize>,
    tokens: &[(&'static str, Arc<TokenCheck>)],
    demands: &[Demanded],
) -> Result<Arc<Dpop>, SettingsError> {
    if tokens.is_empty() {
        let hint = "add `validate_jwt`, `validate_azure_ad_token` or `introspect`";
        return Err(fault(at, "`dpop` has no token to look at", hint));
    }
    if tokens.iter().any(|(_, check)| !check.is_in_authorization()) {
        let hint = "take the token from `Authorization`, or drop `dpop`";
        return Err(fault(at, "proofs come with tokens in `Authorization` alone", hint));
    }
    if dpop.is_required() && demands.iter().any(|demanded| demanded.route.certificate_bound) {
        let hint = "drop `certificate_bound` of `require`, or say `required = false` here";
        return Err(fault(at, "no token is bound to a key and to a certificate", hint));
    }
    Ok(dpop)
}
