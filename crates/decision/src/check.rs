//! Checks, who can mend them, and the observers of a decision.
use crate::CheckId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Who can mend a failed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fixer {
    /// The party that made the request: its developer, or the person who uses it.
    Caller,
    /// Who administers the calling application's registration and credentials.
    CallerAdmin,
    /// Who owns the API that was called.
    ApiOwner,
    /// An administrator of the tenant: consent, assignments, policies, users.
    TenantAdmin,
    /// Who operates deputize or the network around it.
    Operator,
}

impl Fixer {
    /// The name in words, as shown to people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Caller => "the caller",
            Self::CallerAdmin => "the owner of the calling application",
            Self::ApiOwner => "the owner of the API",
            Self::TenantAdmin => "an administrator of the tenant",
            Self::Operator => "the operator",
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// What was found is what was expected.
    Pass,
    /// It is not; the request is refused.
    Fail,
    /// Not evaluated, because something it rests on failed or because it does not apply.
    Skipped,
}

/// One question that a decision asked, and the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which question.
    pub id: CheckId,
    /// How it ended.
    pub outcome: Outcome,
    /// What would pass.
    pub expected: String,
    /// What was found. Never a secret or a token.
    pub actual: String,
    /// Who can mend it.
    pub fixer: Fixer,
    /// What to change, as an instruction to that party.
    pub fix: Cow<'static, str>,
}

impl Check {
    /// A failed check, with the catalogue's fixer and advice.
    pub fn fail(id: CheckId, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::with(id, Outcome::Fail, expected.into(), actual.into())
    }

    /// A passed check.
    pub fn pass(id: CheckId, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::with(id, Outcome::Pass, expected.into(), actual.into())
    }

    /// A check that was not evaluated; `why` stands in place of what was found.
    pub fn skipped(id: CheckId, why: impl Into<String>) -> Self {
        Self::with(id, Outcome::Skipped, String::new(), why.into())
    }

    /// This check with advice more exact than the catalogue's.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.fix = fix.into();
        self
    }

    fn with(id: CheckId, outcome: Outcome, expected: String, actual: String) -> Self {
        let entry = id.entry();
        Self { id, outcome, expected, actual, fixer: entry.fixer, fix: Cow::Borrowed(entry.fix) }
    }
}

/// All that a decision found: allowed if and only if no check failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The checks in the order they were made.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Whether every check that was made passed.
    pub fn allowed(&self) -> bool {
        self.failed().is_none()
    }

    /// The first check that failed: the reason of the refusal.
    pub fn failed(&self) -> Option<&Check> {
        self.checks.iter().find(|c| c.outcome == Outcome::Fail)
    }
}

/// Watches a decision being made. The same function decides for enforcement ([`Silent`]) and for explanation ([`Collect`]).
pub trait Observe {
    /// Whether the decision goes on after a failed check, to find all of them.
    const EXHAUSTIVE: bool;

    /// Told of a check; the closure that describes it is only called by observers that keep it.
    fn saw(&mut self, check: impl FnOnce() -> Check);
}

/// The hot path's observer: keeps nothing, and stops the decision at the first failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observe for Silent {
    const EXHAUSTIVE: bool = false;
    fn saw(&mut self, _: impl FnOnce() -> Check) {}
}

/// Explain's observer: keeps every check, passed and failed.
#[derive(Clone, Debug, Default)]
pub struct Collect(pub Verdict);

impl Observe for Collect {
    const EXHAUSTIVE: bool = true;
    fn saw(&mut self, check: impl FnOnce() -> Check) {
        self.0.checks.push(check());
    }
}
