//! `require`: what a verified token has to allow. The rules are guard's; this says which of them apply.
use super::{Part, Policy};
use crate::expression::{Expression, VARIABLES};
use crate::settings::{SettingsError, Spanned, World, fault};
use decision::contract::{Route, Subject};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::sync::Arc;

/// What the token of `validate_jwt` or `validate_azure_ad_token` has to allow, all of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
#[schemars(rename = "require")]
pub(crate) struct Table {
    /// Delegated scopes of which any one suffices.
    scopes: Vec<String>,
    /// Delegated scopes that are needed all together.
    scopes_all: Vec<String>,
    /// App roles of the user of which any one suffices, beside the scope.
    roles: Vec<String>,
    /// App roles of an application that calls as itself, of which any one suffices.
    app_roles: Vec<String>,
    /// Authentication contexts of which the user must have satisfied any one; who has not is challenged to (RFC 9470, and Entra's
    /// claims challenge). They can stand alone, where a wider scope says what else the token has to allow.
    acrs: Vec<String>,
    /// Whether the token is bound to the certificate that the connection was opened with (RFC 8705). One that is bound is always
    /// good with its certificate alone.
    certificate_bound: bool,
    /// Whether nobody is let in while it is not known what was cut off in the last minute, by the `cut_offs` of the token's check.
    live_cut_offs: bool,
    /// A condition in CEL, the Common Expression Language, over `claims`, `request` (`method`, `host`, `path`, `query`, `headers`, `ip`),
    /// `operation`, `subscription`, `product` and `certificate`; what cannot be decided is refused.
    expression: Option<Spanned<String>>,
    /// Who may call; by default users where there are scopes or roles, applications where there are app roles.
    #[schemars(with = "Option<crate::settings::schema::Subject>")]
    subject: Option<Subject>,
}

impl Table {
    /// Any of these scopes, and all of those.
    pub(super) fn of_scopes(scopes: Vec<String>, scopes_all: Vec<String>) -> Self {
        Self { scopes, scopes_all, ..Self::default() }
    }
}

impl super::Table for Table {
    fn part(&self, at: &Range<usize>, world: &mut World<'_>) -> Result<Part, SettingsError> {
        if self.certificate_bound {
            world.asks_for_certificates(at)?;
        }
        let route = Route {
            scopes: self.scopes.clone(),
            scopes_all: self.scopes_all.clone(),
            roles: self.roles.clone(),
            app_roles: self.app_roles.clone(),
            acrs: self.acrs.clone(),
            // Applications have no contexts: where nothing else is said, that is a demand on users.
            subject: self.subject.or((self.is_of_no_rights() && !self.acrs.is_empty()).then_some(Subject::User)),
            certificate_bound: self.certificate_bound,
            live_cut_offs: self.live_cut_offs,
            ..Route { authenticated_suffices: self.is_of_no_rights(), ..super::any_valid_token() }
        };
        let condition = match &self.expression {
            None => None,
            Some(text) => {
                let expression = Expression::read(text, VARIABLES)?;
                // Of what no token says, none need be there.
                if !expression.uses("claims") && self.is_of_nothing_else() {
                    return Ok(Part::Rule(Arc::new(expression)));
                }
                let condition: Arc<dyn Policy> = Arc::new(expression);
                Some(condition)
            }
        };
        // Read back, since reading validates.
        let read: Result<Route, _> = serde_json::to_value(&route).and_then(serde_json::from_value);
        match read {
            Ok(route) => Ok(Part::Demand(Arc::new(route), condition)),
            Err(error) => {
                let text = error.to_string();
                let (problem, hint) = text.split_once(": ").unwrap_or((&text, "see the guide"));
                Err(fault(
                    at,
                    problem.replace("the route `* /*`", "`require`"),
                    hint.replace(
                        NAME,
                        "name `scopes`, `roles`, `app_roles`, `acrs`, an `expression`, or `user` or `app` as `subject`",
                    ),
                ))
            }
        }
    }

    fn told(&self) -> String {
        let lists = [
            ("any scope of", &self.scopes),
            ("the scopes", &self.scopes_all),
            ("any role of", &self.roles),
            ("any app role of", &self.app_roles),
            ("any context of", &self.acrs),
        ];
        let told =
            lists.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| format!("{what} {}", list.join(" ")));
        let subject = match self.subject {
            Some(Subject::User) => Some("users alone".to_owned()),
            Some(Subject::App) => Some("applications alone".to_owned()),
            Some(Subject::Either) | None => None,
        };
        let bound = self.certificate_bound.then(|| "bound to the caller's certificate".to_owned());
        let live = self.live_cut_offs.then(|| "while cut-offs are told".to_owned());
        let line = |text: &Spanned<String>| text.get_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        let condition = self.expression.as_ref().map(|text| format!("where `{}`", line(text)));
        told.chain(subject).chain(bound).chain(live).chain(condition).collect::<Vec<_>>().join(", ")
    }
}

/// What a contract's route is told that demands nothing, of which a policy can demand more.
const NAME: &str = "name `scopes`, `roles` or `app_roles`, or write `authenticated_suffices = true`";

impl Table {
    /// Whether there is nothing beside the condition.
    fn is_of_nothing_else(&self) -> bool {
        let shown = self.certificate_bound || self.live_cut_offs || self.subject.is_some();
        self.is_of_no_rights() && self.acrs.is_empty() && !shown
    }

    /// Whether it is about who calls, how they signed in, how they show the token, or about a condition, and about nothing that the token
    /// allows: what it has to allow, a wider scope may say.
    fn is_of_no_rights(&self) -> bool {
        let rights = [&self.scopes, &self.scopes_all, &self.roles, &self.app_roles];
        let of_some = matches!(self.subject, Some(Subject::User | Subject::App));
        let shown = self.certificate_bound || self.live_cut_offs;
        let other = of_some || shown || !self.acrs.is_empty() || self.expression.is_some();
        other && rights.iter().all(|list| list.is_empty())
    }
}
