//! `sign_in`: a person who signed in at the edge. What a session is, and how one begins, is in [`crate::sign_in`].
use super::{Decided, Part, Pending, Phase, Policy};
use crate::call::Call;
use crate::denial::Denial;
use crate::settings::{SettingsError, Spanned, World, fault};
use crate::sign_in::{By, Origin, Provider, Session, SignIn, Signed, Stale, is_from_elsewhere, login, navigation};
use decision::CheckId;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use oauth::challenge::Challenge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Calls of people who signed in at the edge, by `[sign_in]`. Their service is told who they are in App Service's fields. Beside
/// `validate_jwt` and the like the session's access token is what those look at, where a request brings none of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "sign_in")]
pub(crate) struct Table {
    /// Who signs them in; by default the first provider.
    provider: Option<Spanned<String>>,
    /// What becomes of a request without a session.
    #[serde(default)]
    unauthenticated: Unauthenticated,
    /// Whether the service is sent the tokens (`X-MS-TOKEN-AAD-*`), the refresh token included.
    #[serde(default)]
    forward_tokens: bool,
}

/// What becomes of a request without a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Unauthenticated {
    /// A person who waits for a page is sent to sign in; all others are refused with 401.
    #[default]
    Redirect,
    /// It is refused with 401.
    #[serde(rename = "401")]
    Refuse,
    /// It goes on, and the service sees nobody.
    Allow,
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        let sign_in = world.sign_in().ok_or_else(|| {
            let hint = "add `[sign_in]` with `origins`, `keys` and a `[[sign_in.provider]]`";
            fault(at, "nobody signs users in", hint)
        })?;
        let provider = match &self.provider {
            None => sign_in.usual().cloned(),
            Some(name) => Some(sign_in.provider(name.get_ref()).cloned().ok_or_else(|| {
                let problem = format!("there is no provider `{}`", name.get_ref());
                fault(&name.span(), problem, "name one of `[[sign_in.provider]]`")
            })?),
        };
        let provider = provider.ok_or_else(|| fault(at, "nobody signs users in", "add a `[[sign_in.provider]]`"))?;
        Ok(Part::SignIn(Arc::new(Check {
            sign_in,
            provider,
            unauthenticated: self.unauthenticated,
            forwards_tokens: self.forward_tokens,
        })))
    }

    fn identifies(&self) -> bool {
        self.unauthenticated != Unauthenticated::Allow
    }

    fn told(&self) -> String {
        let provider = self.provider.as_ref().map(|name| format!(" by `{}`", name.get_ref())).unwrap_or_default();
        let others = match self.unauthenticated {
            Unauthenticated::Redirect => "others are sent to sign in",
            Unauthenticated::Refuse => "others are refused",
            Unauthenticated::Allow => "others are nobody, and go on",
        };
        let tokens = if self.forward_tokens { "; the service is sent the tokens" } else { "" };
        format!("people who signed in{provider}; {others}{tokens}")
    }
}

/// What is checked, whatever else applies.
pub(crate) struct Check {
    sign_in: Arc<SignIn>,
    provider: Arc<Provider>,
    unauthenticated: Unauthenticated,
    pub(crate) forwards_tokens: bool,
}

/// The same among the policies of an operation.
pub(crate) struct SignedIn {
    check: Arc<Check>,
    /// Whether another policy looks at a token in `Authorization`.
    looked_at: bool,
}

impl SignedIn {
    pub(crate) fn new(check: Arc<Check>, looked_at: bool) -> Self {
        Self { check, looked_at }
    }

    /// The session of a request, and where that was asked.
    fn session<'a>(&'a self, call: &Call) -> Option<(Session, &'a Origin)> {
        let Check { sign_in, provider, .. } = &*self.check;
        let origin = sign_in.origin(&call.request)?;
        let (session, by) = sign_in.session(&call.request, origin, call.now)?;
        let is_good = call.now < session.ends && session.provider == provider.name;
        // What a page elsewhere has the browser change is nobody's wish.
        let is_theirs = by == By::Field || !is_from_elsewhere(&call.request, origin, call.operation.cors.as_deref());
        (is_good && is_theirs).then_some((session, origin))
    }

    /// Whether a session is there, and another site's page uses it.
    fn is_used_elsewhere(&self, call: &Call) -> bool {
        let sign_in = &self.check.sign_in;
        let found = sign_in.origin(&call.request).and_then(|origin| {
            let (_, by) = sign_in.session(&call.request, origin, call.now)?;
            Some(by == By::Cookie && is_from_elsewhere(&call.request, origin, call.operation.cors.as_deref()))
        });
        found.unwrap_or(false)
    }

    fn nobody(&self, call: &Call) -> Result<(), Box<Denial>> {
        if self.is_used_elsewhere(call) {
            return Err(Box::new(Denial::of(CheckId::SignInSite)));
        }
        let denial = Denial::of(CheckId::SignInSession).challenge(&Challenge::bearer());
        match self.check.unauthenticated {
            Unauthenticated::Allow => Ok(()),
            Unauthenticated::Redirect
                if navigation::is_navigation(&call.request) && self.check.sign_in.origin(&call.request).is_some() =>
            {
                Err(Box::new(denial.redirect(&login(&self.check.provider.name, &call.request, None))))
            }
            Unauthenticated::Redirect | Unauthenticated::Refuse => Err(Box::new(denial)),
        }
    }

    fn accept(&self, call: &mut Call, session: Session) {
        if self.looked_at
            && let Some(token) = &session.tokens.access_token
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        {
            value.set_sensitive(true);
            call.request.headers_mut().insert(AUTHORIZATION, value);
        }
        call.signed = Some(Arc::new(Signed {
            claims: session.claims(),
            session,
            provider: Arc::clone(&self.check.provider),
            forwards_tokens: self.check.forwards_tokens,
            redirects: self.check.unauthenticated == Unauthenticated::Redirect,
            at: Arc::clone(&self.check.sign_in),
        }));
    }
}

impl Policy for SignedIn {
    fn phase(&self) -> Phase {
        Phase::Identify
    }

    fn decide(&self, call: &mut Call) -> Decided {
        // Who brings a token is who that says, and needs no session.
        if self.looked_at && call.request.headers().contains_key(AUTHORIZATION) {
            return Decided::Pass;
        }
        let decided = match self.session(call) {
            Some((session, _))
                if (self.looked_at || self.check.forwards_tokens)
                    && session.tokens.are_near_their_end(call.now)
                    && session.tokens.can_be_refreshed() =>
            {
                return Decided::Wait;
            }
            Some((session, _)) => {
                self.accept(call, session);
                Ok(())
            }
            None => self.nobody(call),
        };
        decided.map_or_else(Decided::Deny, |()| Decided::Pass)
    }

    fn settle<'a>(&'a self, call: &'a mut Call) -> Pending<'a, Result<(), Box<Denial>>> {
        Box::pin(async move {
            let Some((session, origin)) = self.session(call) else { return self.nobody(call) };
            match self.check.provider.refreshed(&session, false).await {
                Ok(session) => {
                    let cookies = self.check.sign_in.cookies(&session, origin, &call.request);
                    let cookies = cookies.ok_or_else(|| Box::new(Denial::of(CheckId::SignInSize)))?;
                    call.after.cookies.extend(cookies);
                    self.accept(call, session);
                    Ok(())
                }
                // It is good for a while yet, and the next request tries again.
                Err(Stale::Unavailable(_) | Stale::NoRefreshToken) if !session.tokens.are_over(call.now) => {
                    self.accept(call, session);
                    Ok(())
                }
                Err(Stale::Unavailable(seconds)) => {
                    Err(Box::new(Denial::of(CheckId::SignInAvailable).retry_after(seconds.unwrap_or(5))))
                }
                Err(Stale::Refused | Stale::NoRefreshToken) => self.nobody(call),
            }
        })
    }
}
