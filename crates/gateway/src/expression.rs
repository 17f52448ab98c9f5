//! Expressions in CEL, the Common Expression Language: conditions over a call that no other policy has words for.
//!
//! An expression is compiled when the file is read, and refused there if it could not decide or could take long: it knows its
//! variables and functions, nests no loops and builds no lists or texts in them. What cannot be decided of a call is a refusal.
mod read;
#[cfg(test)]
mod tests;
mod values;

use crate::call::Call;
use crate::denial::Denial;
use crate::policy::{Decided, Phase, Policy};
use crate::settings::{SettingsError, Spanned, fault};
use cel::{Context, Env, Program, Value};
use decision::CheckId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use values::Unusable;

/// What every evaluation knows: its making is a hundred times the work of one.
static FUNCTIONS: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition that was compiled.
pub(crate) struct Expression {
    /// On one line, for people.
    text: Box<str>,
    program: Program,
    /// The variables that it looks at.
    uses: Vec<&'static str>,
    /// Which parameters and which fields of a request it looks at.
    query: Looks,
    headers: Looks,
    /// Whether it goes through lists.
    loops: bool,
}

/// The members of a map that an expression looks at.
#[derive(Debug, Default)]
struct Looks {
    /// Those that it names.
    names: Vec<String>,
    /// Whether it can look at all of them.
    all: bool,
}

impl Looks {
    fn is_at_none(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

/// What an expression over a call can look at.
pub(crate) const VARIABLES: &[&str] = &["claims", "request", "operation", "subscription", "product", "certificate"];

/// Why a condition lets nobody by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// It says no.
    False,
    /// It says something else than yes or no, or nothing.
    Undecided(String),
}

impl Expression {
    /// Compiles an expression over these variables.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &Spanned<String>, variables: &[&'static str]) -> Result<Self, SettingsError> {
        read::compile(text.get_ref(), variables).map_err(|wrong| fault(&text.span(), wrong.problem, wrong.hint))
    }

    /// Whether it looks at this variable.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.uses.contains(&variable)
    }

    /// What it says, on one line.
    pub(crate) fn told(&self) -> &str {
        &self.text
    }

    /// Whether it holds, with what `value` says of each variable that it looks at.
    ///
    /// # Errors
    /// If it does not hold, or nobody can tell.
    pub(crate) fn holds(
        &self,
        value: impl Fn(&str, &mut values::Room) -> Result<Value, Unusable>,
    ) -> Result<(), Unmet> {
        let mut room = values::Room::new(self.loops);
        let mut context = Context::with_env(Arc::clone(&FUNCTIONS));
        for variable in &self.uses {
            let value = value(variable, &mut room).map_err(|unusable| Unmet::Undecided(unusable.to_string()))?;
            context.add_variable_from_value(*variable, value);
        }
        // A defect of the evaluator decides nothing either.
        let said = catch_unwind(AssertUnwindSafe(|| self.program.execute(&context)));
        match said {
            Ok(Ok(Value::Bool(true))) => Ok(()),
            Ok(Ok(Value::Bool(false))) => Err(Unmet::False),
            Ok(Ok(other)) => Err(Unmet::Undecided(format!("it says {}, and not yes or no", other.type_of()))),
            Ok(Err(error)) => Err(Unmet::Undecided(decision::contract::shown(&error.to_string()))),
            Err(_) => Err(Unmet::Undecided("the evaluation broke off".to_owned())),
        }
    }
}

impl Expression {
    /// Whether it holds of `response`, an answer.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn of_answer(&self, status: u16, json: &serde_json::Value) -> Result<(), String> {
        let unmet = match self.holds(|_, room| values::of_answer(status, json, room)) {
            Ok(()) => return Ok(()),
            Err(Unmet::False) => "it says no".to_owned(),
            Err(Unmet::Undecided(why)) => why,
        };
        Err(format!("`{}`: {unmet}", self.told()))
    }
}

impl Policy for Expression {
    fn phase(&self) -> Phase {
        Phase::Authorize
    }

    fn decide(&self, call: &mut Call) -> Decided {
        let Err(unmet) = self.holds(|variable, room| values::of_call(call, variable, self, room)) else {
            return Decided::Pass;
        };
        let (text, operation) = (self.told(), &*call.operation.name);
        let message = match &unmet {
            Unmet::False => format!("the condition `{text}` of this API does not hold for this request"),
            Unmet::Undecided(why) => {
                format!("the condition `{text}` of this API cannot be decided for this request: {why}")
            }
        };
        tracing::info!(gateway.operation = operation, condition = text, reason = ?unmet, "a condition does not hold");
        Decided::Deny(Box::new(Denial::of(CheckId::ConditionHolds).message(message)))
    }
}
